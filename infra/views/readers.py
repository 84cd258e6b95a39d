"""Reading views: which build is served, how far it has come, and one statement per answer behind row-level security."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Set
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from infra import measured
from infra.database import AsyncConnection, pool_async
from infra.listener import Listener
from infra.settings import Settings
from infra.views.moves import Moves
from infra.views.tables import EVERYBODY, schema_of

log = logging.getLogger(__name__)

TRIES = 3
PAUSE_S, POOL_PATIENCE_S = 0.25, 2.0
SERVED = (
    "select v.context, b.build, b.position, b.changes_from from fieldlog.views v join fieldlog.builds b using (build)"
)
# The bookmark and the rows come from one statement, so they always belong together. Facts of a parked tenant are not in
# its rows, so its answers carry the position before the first of them.
ANSWER = """select at.position, at.moved, at.total, a.*
  from (select coalesce((select p.position - 1 from fieldlog.parked p where p.build = b.build), b.position) as position,
               coalesce((select m.position from {schema}.moved m), 0) as moved, ({total}) as total
          from fieldlog.builds b where b.build = {build}) at
  left join lateral ({statement}) a on true"""


class LaggingError(Exception):
    """A view has not come in time as far as was asked for."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the view is at position {position}")
        self.position = position


class UnavailableError(Exception):
    """The database does not answer."""


class Served(NamedTuple):
    """The build of a context that readers see, its bookmark, and from where former states of its rows are kept."""

    context: str
    build: int
    position: int
    changes_from: int


Watcher = Callable[[Served, Set[UUID] | None], None]


class Found(NamedTuple):
    """What a statement found: rows, the build and position they belong to, where the tenant's rows moved last, a total."""

    rows: list[tuple[Any, ...]]
    build: int
    position: int
    moved: int
    total: int | None


class Readers:
    """Reads views for one process, and knows when they move; runs in one event loop."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool
        self._served: dict[str, Served] = {}
        self._moves: dict[str, Moves] = {}
        self._ahead: dict[int, int] = {}
        self._listens = 0
        self._moved = asyncio.Event()
        self._watchers: list[Watcher] = []

    def served(self, context: str) -> Served:
        """Return the build of a context that is served."""
        return self._served[context]

    def moved(self, context: str, tenant: UUID) -> int | None:
        """Return where an organisation's rows moved last, as of the position of the served build, if that is known."""
        return self._moves[context].last(tenant)

    def missed(self) -> None:
        """Take note that this process hears from now on, and may have missed what was before."""
        self._listens += 1
        for moves in self._moves.values():
            moves.forget()

    def watch(self, watcher: Watcher) -> None:
        """Let this be called whenever the served build of a context moves, or another one is served.

        It gets the tenants whose rows may have changed, None for all of them.
        """
        self._watchers.append(watcher)

    async def refresh(self) -> None:
        """Read which builds are served and where they are."""
        listens = self._listens
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SERVED)).fetchall()
        for row in rows:
            read = Served(*row)
            known = self._served.get(read.context)
            if known is not None and known.build == read.build:
                read = read._replace(position=max(known.position, read.position))
            else:
                read = read._replace(position=max(self._ahead.pop(read.build, 0), read.position))
                self._moves[read.context] = Moves()
            if listens and listens == self._listens:  # it was read after this process had begun to hear
                self._moves[read.context].listening(read.position)
            self._note(read)

    def heard(self, payload: str) -> None:
        """Take note of a bookmark that moved: context, build, position, and whose rows changed with it (`*`: anybody's)."""
        context, build, position, whose = payload.split(" ")
        known = self._served.get(context)
        if known is not None and known.build == int(build):
            tenants = None if whose == EVERYBODY else frozenset(map(UUID, filter(None, whose.split(","))))
            self._moves[context].heard(int(position), tenants)
            self._note(known._replace(position=max(known.position, int(position))), tenants)
        else:  # it may be served soon
            self._ahead[int(build)] = int(position)

    def _note(self, served: Served, tenants: Set[UUID] | None = None) -> None:
        self._served[served.context] = served
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for watcher in self._watchers:
            watcher(served, tenants)

    async def wait(self, context: str, position: int, patience_s: float) -> None:
        """Wait until a context has come to a position. Raises LaggingError."""
        try:
            async with asyncio.timeout(patience_s):
                while self._served[context].position < position:
                    await self._moved.wait()
        except TimeoutError as error:
            raise LaggingError(self._served[context].position) from error

    async def find(
        self, tenant: UUID, context: str, statement: str, parameters: Mapping[str, Any], total: str = "null"
    ) -> Found:
        """Run one statement over a context's tables (`{schema}`) for a tenant. Raises UnavailableError."""
        for _ in range(TRIES):
            served = self._served[context]
            text = _answer(served.context, served.build, statement, total)
            try:
                rows = await self.query(tenant, text, parameters)
            except psycopg.errors.UndefinedTable:
                await self.refresh()  # that build was dropped; another one is served
                continue
            position, moved, count = rows[0][:3]
            if self._served[context].build == served.build:
                self._moves[context].read(tenant, position, moved)
            found = [row[3:] for row in rows if any(value is not None for value in row[3:])]
            return Found(found, served.build, position, moved, count)
        raise UnavailableError("the views are being replaced")

    async def plain(self, statement: LiteralString) -> list[Any]:
        """Run a statement over what belongs to no tenant."""
        with measured.query("read"):
            async with self._pool.connection(POOL_PATIENCE_S) as connection:
                return await (await connection.execute(statement)).fetchall()

    async def query(self, tenant: UUID, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement for a tenant, in a transaction that sees only its rows. Raises UnavailableError."""
        for _ in range(TRIES):
            try:
                with measured.query("read", tenant=str(tenant), statement=statement):
                    return await self._answered(tenant, statement, parameters)
            except PoolTimeout as error:
                raise UnavailableError("all connections are busy") from error
            except psycopg.errors.QueryCanceled as error:
                raise UnavailableError("the answer took too long") from error
            except psycopg.OperationalError as error:
                log.warning("read to be repeated", extra={"reason": type(error).__name__})
        raise UnavailableError("the database does not answer")

    async def _answered(self, tenant: UUID, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection(POOL_PATIENCE_S) as connection, connection.pipeline():
            await connection.execute("begin read only")
            await connection.execute("select set_config('app.tenant', %s, true)", [str(tenant)])
            cursor = await connection.execute(statement.encode(), parameters)
            await connection.execute("commit")
        return await cursor.fetchall()  # after the pipeline: within it, this would cost another round trip


@lru_cache(maxsize=1_000)
def _answer(context: str, build: int, statement: str, total: str) -> str:
    schema = schema_of(context, build)
    text = ANSWER.replace("{statement}", statement).replace("{total}", total)
    return text.replace("{schema}", schema).replace("{build}", str(build))


@asynccontextmanager
async def open_readers(settings: Settings) -> AsyncIterator[Readers]:
    """Open what reads the views of one process, and what hears of their moves."""
    url = settings.need("reader_url")
    async with pool_async(url, "fieldlog read", settings.read_connections) as pool:
        readers = Readers(pool)
        refreshing: set[asyncio.Task[None]] = set()

        async def refreshed() -> None:
            while True:
                try:
                    return await readers.refresh()
                except psycopg.OperationalError as error:  # such as idle connections that died with the database
                    log.warning("positions not read", extra={"reason": type(error).__name__})
                    await asyncio.sleep(PAUSE_S)

        def refresh(_: str = "") -> None:
            task = asyncio.get_running_loop().create_task(refreshed())
            refreshing.add(task)
            task.add_done_callback(refreshing.discard)

        channels: dict[str, Callable[[str], None]] = {
            "fieldlog_positions": readers.heard,
            "fieldlog_views": refresh,
            "fieldlog_builds": refresh,
        }

        def missed() -> None:
            readers.missed()
            refresh()

        await refreshed()
        async with Listener(url, channels, missed):
            yield readers
