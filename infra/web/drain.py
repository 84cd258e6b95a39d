"""The drain: the end of a process, announced before it comes, so that no request is lost with it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Drain:
    """From its beginning on, the process is ready for nothing new, though it still answers; long answers come to an end."""

    def __init__(self) -> None:
        self.begun = False
        self._over = 0.0
        self._endings: set[Callable[[], None]] = set()

    def begin(self, seconds: float = 0.0) -> None:
        """Announce the end, which comes in so many seconds; called in the thread of the event loop, if there is one."""
        self.begun, self._over = True, time.monotonic() + seconds
        for ending in list(self._endings):
            self._schedule(ending)

    @contextmanager
    def ending(self, ending: Callable[[], None]) -> Iterator[None]:
        """Call this if the end comes within the block."""
        self._endings.add(ending)
        if self.begun:
            self._schedule(ending)
        try:
            yield
        finally:
            self._endings.discard(ending)

    def _schedule(self, ending: Callable[[], None]) -> None:
        """Call an ending in the second half of the time that is left: its client is sent elsewhere by then, and not all of
        them come at once.
        """

        def end() -> None:
            if ending in self._endings:
                ending()

        left = max(0.0, self._over - time.monotonic())
        asyncio.get_running_loop().call_later(random.uniform(left / 2, left), end)


DRAIN = Drain()
