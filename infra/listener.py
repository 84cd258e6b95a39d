"""Wake-ups: one connection that listens to PostgreSQL's notifications, and says when it may have missed some.

A notification carries at most a position; whoever is woken reads the truth from the tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

import psycopg
from psycopg import sql

from infra.database import connect_async

log = logging.getLogger(__name__)

PAUSE_S = 0.25


class Listener:
    """Calls back for each notification of its channels; `missed` is called at every new connection, the first too."""

    def __init__(self, url: str, channels: Mapping[str, Callable[[str], None]], missed: Callable[[], None]) -> None:
        self._url, self._channels, self._missed = url, channels, missed
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except psycopg.OperationalError as error:
                log.warning("notifications lost for a moment", extra={"reason": type(error).__name__})
                await asyncio.sleep(PAUSE_S)

    async def _listen(self) -> None:
        async with await connect_async(self._url, "fieldlog listen") as connection:
            for channel in self._channels:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            self._missed()
            async for notification in connection.notifies():
                self._channels[notification.channel](notification.payload)
