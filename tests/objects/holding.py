"""A man in the middle between a process and PostgreSQL who holds one message back: before it is heard, or its answer."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

SOCKET = ".s.PGSQL.5432"


class Holding:
    """Lets everything pass until a message has these bytes; from then on, nothing passes on that connection: not even that
    message, or only the answers to it.
    """

    def __init__(self, upstream: Path, words: bytes, what: Literal["message", "answer"]) -> None:
        self._upstream, self._words, self._what = upstream, words, what
        self.directory = tempfile.mkdtemp(prefix="fieldlog-holding-")
        self.held = threading.Event()

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        server = await asyncio.start_unix_server(self._join, f"{self.directory}/{SOCKET}")
        async with server:
            await server.serve_forever()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._upstream / SOCKET)
        holds = asyncio.Event()
        passing = [self._ask(reader, upstream_writer, holds), self._answer(upstream_reader, writer, holds)]
        tasks = [asyncio.create_task(one) for one in passing]
        with contextlib.suppress(OSError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, upstream_writer):
            end.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holds: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1_048_576):
                if self._words in data:
                    holds.set()
                    self.held.set()
                    if self._what == "message":
                        continue
                writer.write(data)
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holds: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1_048_576):
                if not holds.is_set():
                    writer.write(data)
                    await writer.drain()


@contextlib.contextmanager
def holding(upstream: Path, words: bytes, what: Literal["message", "answer"]) -> Iterator[Holding]:
    """Stand in the middle, in a thread, until the end of the block."""
    between = Holding(upstream, words, what)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    task = asyncio.run_coroutine_threadsafe(between.serve(), loop)
    try:
        yield between
    finally:
        task.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        shutil.rmtree(between.directory)
