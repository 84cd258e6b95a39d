"""The ways from processes to the database: each is a man in the middle who can be slow, silent, or gone."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

SOCKET = ".s.PGSQL.5432"


class Way:
    """The way of one process: a socket in a directory of its own. Every message is late by `delay_s`; none passes while it
    is `closed`, and then whoever comes is sent away; `visitors` have come so far.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: Path) -> None:
        self._loop, self._upstream = loop, upstream
        self.directory = tempfile.mkdtemp(prefix="fieldlog-way-")
        self.delay_s = 0.0
        self.closed = False
        self.visitors = 0
        self._ends: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Begin to listen."""
        await asyncio.start_unix_server(self._join, f"{self.directory}/{SOCKET}")

    def cut(self) -> None:
        """Break every connection that there is."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self.visitors += 1
        with contextlib.suppress(OSError):
            if not self.closed:
                upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._upstream / SOCKET)
                ends.append(upstream_writer)
                self._ends.update(ends)
                passing = [self._pass(reader, upstream_writer), self._pass(upstream_reader, writer)]
                tasks = [asyncio.create_task(one) for one in passing]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        self._ends.difference_update(ends)
        for end in ends:
            end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()


class Ways:
    """All ways to one database, in a thread of their own."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ways", daemon=True)
        self._ways: list[Way] = []

    def new(self) -> Way:
        """Make another way."""
        way = Way(self._loop, self._upstream)
        asyncio.run_coroutine_threadsafe(way.open(), self._loop).result()
        self._ways.append(way)
        return way

    @contextlib.contextmanager
    def running(self) -> Iterator[Ways]:
        """Let messages pass until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            for way in self._ways:
                shutil.rmtree(way.directory)


async def _cancel_all() -> None:
    """Let nothing pass any more."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
