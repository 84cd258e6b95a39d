"""The way to Redis: every call is one script, and calls that wait together travel together, in one round trip.

Redis may be away at any time. The first call that is not answered in time says so to all; from then on every call fails at
once, until Redis answers again, which is tried beside the requests. So a server that hangs slows down a single request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any, NamedTuple

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

log = logging.getLogger(__name__)

PATIENCE_S = 0.2
PAUSE_S = 0.25
LISTEN_S = 2.0
MOST_TOGETHER = 500
LOSSES = Counter("redis_losses_total", "How often Redis did not answer in time after it had answered")
# The last two are what uvloop and redis-py say of a connection that is closed as it is written to.
FAILURES = (RedisError, OSError, TimeoutError, RuntimeError, AttributeError)


class AwayError(Exception):
    """Redis does not answer, or none is set."""


class Script:
    """A Lua script, which Redis carries out as a whole; it is sent once and named by its digest from then on."""

    def __init__(self, text: str) -> None:
        self.text, self.digest = text, sha1(text.encode(), usedforsecurity=False).hexdigest()


class _Call(NamedTuple):
    script: Script
    keys: Sequence[str]
    arguments: Sequence[Any]
    answer: asyncio.Future[Any]


class Shared:
    """One process's way to the state that it shares with others; runs in one event loop. `url` None: there is no such state."""

    def __init__(self, url: str | None) -> None:
        self.is_set = url is not None
        self._url = url
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Say whether calls fail at once now."""
        return not self.is_set or self._returning is not None

    def state(self) -> str:
        """Return what a check of this process's health says of Redis; being without it is no reason to be unready."""
        if not self.is_set:
            return "degraded: REDIS_URL is not set, so there is no shared cache, rate limit, presence or edit lock"
        return "degraded: Redis does not answer" if self.is_away else "answers"

    async def run(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """Return what a script returns. Raises AwayError; it is unknown then whether the script was carried out."""
        if self.is_away:
            raise AwayError
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(script, keys, arguments, answer))
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())
        return await answer

    async def _send(self) -> None:
        """Send what waits, until nothing does."""
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                try:
                    await self._round_trip(calls)
                except FAILURES as error:
                    self._lost(error, calls)
        finally:
            self._sending = None

    async def _round_trip(self, calls: Sequence[_Call]) -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            results = await self._results([("EVALSHA", one.script.digest, one) for one in calls])
            if unknown := [n for n, result in enumerate(results) if isinstance(result, NoScriptError)]:
                again = await self._results([("EVAL", calls[n].script.text, calls[n]) for n in unknown])
                for n, result in zip(unknown, again, strict=True):
                    results[n] = result
        for call, result in zip(calls, results, strict=True):
            if call.answer.done():  # whoever asked does not wait any more
                continue
            if isinstance(result, ResponseError):  # such as a server that is out of memory, or still loads
                log.error("Redis refuses a script", extra={"reason": str(result)})
                call.answer.set_exception(AwayError())
            elif isinstance(result, Exception):
                raise result
            else:
                call.answer.set_result(result)

    async def _results(self, calls: Sequence[tuple[str, str, _Call]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for verb, script, call in calls:
                pipeline.execute_command(verb, script, len(call.keys), *call.keys, *call.arguments)
            results: list[Any] = await pipeline.execute(raise_on_error=False)
        return results

    def _lost(self, error: Exception, calls: Sequence[_Call]) -> None:
        log.warning("Redis does not answer", extra={"reason": type(error).__name__})
        LOSSES.inc()
        waiting, self._waiting = self._waiting, []
        for call in (*calls, *waiting):
            if not call.answer.done():
                call.answer.set_exception(AwayError())
        self._returning = asyncio.get_running_loop().create_task(self._wait_for_return())

    async def _wait_for_return(self) -> None:
        while True:
            with suppress(*FAILURES):
                async with asyncio.timeout(2 * PATIENCE_S):
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                    await self._client.ping()
                break
            await asyncio.sleep(PAUSE_S)
        log.info("Redis answers again")
        self._returning = None

    async def listen(self, channel: str, heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        """Call back for each message of a channel, until cancelled; `missed` when one is lost and when there is a new one."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(channel)
                    missed()
                    while True:
                        message = await subscription.get_message(timeout=LISTEN_S)
                        if message is None:  # nothing is said, or nobody is there
                            await subscription.ping()
                            await self._client.ping()
                        elif message["type"] == "message":
                            heard(message["data"].decode())
            except FAILURES as error:
                log.warning("changes in Redis not heard for a moment", extra={"reason": type(error).__name__})
                missed()
                await asyncio.sleep(PAUSE_S)

    async def __aenter__(self) -> Shared:
        """Make ready; Redis need not be there."""
        if self._url is None:
            log.warning("no Redis", extra={"state": self.state()})
            return self
        self._client = Redis.from_url(
            self._url,
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what runs beside the requests, and hang up."""
        for task in (self._sending, self._returning):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self._url is not None:
            await self._client.aclose()
