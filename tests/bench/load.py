"""A load generator of its own process: connections that send prepared requests one after the other, and time each answer.

`python -m tests.bench.load PORT SECONDS [PAUSE]` reads from standard input, per connection, a JSON list of requests in base64 (sent
in turn, for ever) and prints answers per second and latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
import time
from collections.abc import Sequence
from typing import cast

import uvloop

SEQUENCE = b"%%%%%SEQUENCE%%%"  # stands for 16 digits that no other request has


class Connection(asyncio.Protocol):
    """Sends its requests in turn; knows just enough HTTP/1.1 to see where an answer ends."""

    def __init__(self, requests: Sequence[bytes], ends: float, pause: float) -> None:
        self._requests, self._ends, self._pause, self._next = requests, ends, pause, 0
        self._received = b""
        self._count = 0
        self._sent = 0.0
        self.latencies: list[float] = []
        self.failures = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send_after(random.random() * self._pause)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end].lower()
        start = head.find(b"content-length:") + 15
        stop = head.find(b"\r\n", start)
        length = int(head[start : stop if stop > 0 else len(head)])
        if len(self._received) < head_end + 4 + length:
            return
        self.latencies.append(time.perf_counter() - self._sent)
        self.failures += self._received[9:12] != b"200"
        self._received = b""
        if time.perf_counter() + self._pause < self._ends:
            self._send_after(self._pause)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send_after(self, seconds: float) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        request = self._requests[self._next]
        if SEQUENCE in request:
            self._count += 1
            request = request.replace(SEQUENCE, b"%08d%08d" % (id(self) % 100_000_000, self._count))
        self._transport.write(request)
        self._next = (self._next + 1) % len(self._requests)


async def load(port: int, seconds: float, requests: Sequence[Sequence[bytes]], pause: float = 0.0) -> dict[str, float]:
    """Send over one connection per list of requests; return answers per second, failures and latencies in milliseconds.

    Each connection pauses after each answer.
    """
    ends = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    connections = []
    for own in requests:
        _, connection = await loop.create_connection(lambda own=own: Connection(own, ends, pause), "127.0.0.1", port)  # type: ignore[misc]
        connections.append(connection)
    await asyncio.gather(*(connection.done for connection in connections))
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    return {
        "per_second": len(latencies) / seconds,
        "failures": sum(connection.failures for connection in connections),
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    prepared = [[base64.b64decode(one) for one in own] for own in json.load(sys.stdin)]
    print(json.dumps(uvloop.run(load(int(sys.argv[1]), float(sys.argv[2]), prepared, *map(float, sys.argv[3:])))))
