"""A man in the middle between a process and PostgreSQL who cuts connections: before a request, or after its commit."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path


class Proxy:
    """Listens on a socket in a directory of its own; cuts one exchange in `one_in`, half of them before, half after."""

    def __init__(self, upstream: str, one_in: int, seed: int) -> None:
        self._upstream, self._one_in, self._dice = upstream, one_in, random.Random(seed)
        self.directory = tempfile.mkdtemp(prefix="fieldlog-proxy-")
        self.cut_before = self.cut_after = 0

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        server = await asyncio.start_unix_server(self._join, f"{self.directory}/.s.PGSQL.5432")
        async with server:
            await server.serve_forever()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._upstream)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait(
                [
                    asyncio.create_task(self._forward(reader, upstream_writer, before=True)),
                    asyncio.create_task(self._forward(upstream_reader, writer, before=False)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for end in (writer, upstream_writer):
            end.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, before: bool) -> None:
        while data := await reader.read(65_536):
            if self._dice.randrange(self._one_in) == 0:
                self.cut_before += before
                self.cut_after += not before
                return
            writer.write(data)
            await writer.drain()


@contextlib.contextmanager
def cutting(upstream_directory: str, one_in: int, seed: int) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own."""
    proxy = Proxy(str(Path(upstream_directory) / ".s.PGSQL.5432"), one_in, seed)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    task = asyncio.run_coroutine_threadsafe(proxy.serve(), loop)
    yield proxy
    task.cancel()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    shutil.rmtree(proxy.directory)
