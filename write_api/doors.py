"""The doors: how a command comes in over HTTP, and how its outcome goes out.

They stand below the framework's routes on purpose: a command is validated once by pydantic's core, decided, appended, and
answered with bytes. What they do not serve goes to the framework behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from prometheus_client import Counter
from pydantic import ValidationError

from commands.kernel import Command
from commands.trips.locations import Acknowledged
from domain.catalog import STREAMS
from domain.kernel import Refused
from infra.log.desk import Desk
from infra.log.order import (
    BarredError,
    BusyError,
    KeyReusedError,
    NoSuchRecordError,
    NotCarriedOutError,
    Order,
    Receipt,
    StaleVersionError,
)
from infra.web.edge import App, Context, Receive, Scope, Send, context_of, header, respond
from infra.web.limiting import Limits
from infra.web.problems import (
    BUSY,
    INTERNAL,
    KEY_REUSED,
    MALFORMED_BODY,
    METHOD_NOT_ALLOWED,
    NO_SUCH_RECORD,
    NOT_CARRIED_OUT,
    STALE_VERSION,
    TOO_LARGE,
    WRONG_CONTENT_TYPE,
    ProblemError,
    encode,
    invalid,
    refusal,
)
from infra.web.tokens import Principal
from write_api.guards import Guard, Guards
from write_api.orders import ROUTES, Batch, Item, Request, Route, must_be_allowed, must_be_id, no_command

ITEMS_A_REQUEST = 10  # the largest batch is all of the default quota
COMMANDS_TOTAL = Counter("command_total", "Commands by outcome", ["name", "outcome"])


GPS_POINTS = Counter("gps_points_total", "Fixes that arrived, by what became of them", ["result"])


@lru_cache(maxsize=4096)
def _counter(name: str, outcome: str) -> Counter:
    return COMMANDS_TOTAL.labels(name, outcome)


class Door:
    """Answers `POST /{stream}/{id}/{verb}` and `POST /commands`; everything else goes on to `behind`."""

    def __init__(
        self,
        desk: Callable[[], Desk],
        authenticate: Callable[[Scope], Awaitable[Principal]],
        behind: App,
        max_body_bytes: int,
        limits: Limits,
        guards: Guards,
    ) -> None:
        self._desk, self._bearer, self._behind, self._max_body_bytes = desk, authenticate, behind, max_body_bytes
        self._limits, self._guards = limits, guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == "/commands":
                return await self._batch(scope, receive, send)
            parts = path.split("/")
            if len(parts) == 4 and parts[1] in STREAMS:
                return await self._single(scope, receive, send, parts[1], parts[2], parts[3])
        return await self._behind(scope, receive, send)

    async def _single(self, scope: Scope, receive: Receive, send: Send, stream: str, id: str, verb: str) -> None:
        route = ROUTES.get((stream, verb))
        if route is None:
            raise no_command(stream, verb)
        context = context_of(scope)
        context.route = f"/{stream}/{{id}}/{verb}"
        _must_post(scope)
        request = Request(scope, context, await self._limits.recognised(scope, self._bearer(scope)))
        must_be_allowed(route, request.principal)
        must_be_id(id)
        guard = self._guards.of(request.principal, route, id, request.lock_token())
        counts_points = _counts_points(route)
        barred = await self._admitted(scope, request.principal, guard, requests=0 if counts_points else 1)
        body = await self._body(scope, receive)
        try:
            command = route.command.model_validate_json(body or b"{}")
        except ValidationError as error:
            if counts_points:
                await self._limits.charge(scope, request.principal)
            raise invalid(error, route.command) from None
        if counts_points:
            await self._limits.charge(scope, request.principal, requests=0, points=_points(command))
        order = request.order(route, id, command)
        order.guard, order.barred = guard, barred
        receipt = await carried_out(self._desk, order, context)
        _count_points(receipt)
        headers = [(b"etag", b'"%d"' % receipt.version), (b"position", b"%d" % receipt.position)]
        await respond(send, 200, encode(receipt_document(receipt)), headers)

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        context.route = "/commands"
        _must_post(scope)
        request = Request(scope, context, await self._limits.recognised(scope, self._bearer(scope)))
        try:
            batch = Batch.model_validate_json(await self._body(scope, receive))
        except ValidationError as error:
            await self._limits.charge(scope, request.principal)
            raise invalid(error, Batch) from None
        orders = [request.tried(n, item) for n, item in enumerate(batch.items)]
        points = sum(_points(order.command) for order in orders if isinstance(order, Order))
        others = sum(not _counts_points(ROUTES.get((item.stream, item.verb))) for item in batch.items)
        await self._limits.charge(scope, request.principal, requests=-(-others // ITEMS_A_REQUEST), points=points)
        await self._guard_all(request.principal, batch.items, orders)
        outcomes = await (self._together(request, batch, orders) if batch.atomic else self._one_by_one(orders))
        items = []
        for item, outcome in zip(batch.items, outcomes, strict=True):
            name = f"{item.stream}.{item.verb}" if (item.stream, item.verb) in ROUTES else "unknown"
            if isinstance(outcome, Receipt):
                _counter(name, "accepted").inc()
                _count_points(outcome)
                items.append({"op": item.op, "status": 200, "receipt": receipt_document(outcome)})
                continue
            problem = problem_of(outcome)
            _counter(name, problem.kind.code).inc()
            items.append({"op": item.op, "status": problem.kind.status, "problem": context.document(problem)})
        context.fields |= {"items": len(items)}
        await respond(send, 200, encode({"items": items}), [])

    async def _one_by_one(self, orders: Sequence[Order | ProblemError]) -> Sequence[Receipt | Exception]:
        done = iter(await self._desk().carry_out_all([order for order in orders if isinstance(order, Order)]))
        return [next(done) if isinstance(order, Order) else order for order in orders]

    async def _together(
        self, request: Request, batch: Batch, orders: Sequence[Order | ProblemError]
    ) -> Sequence[Receipt | Exception]:
        """Carry out an atomic batch: one command, whose key is all of its ops."""
        sound = [order for order in orders if isinstance(order, Order)]
        if len(sound) < len(orders):
            return [order if isinstance(order, ProblemError) else NotCarriedOutError() for order in orders]
        fingerprint = sha256("".join(str(order.envelope.fingerprint) for order in sound).encode()).hexdigest()
        one = request.as_one("/commands", "\n".join(item.op for item in batch.items), fingerprint)
        try:
            return await self._desk().carry_out_together(
                [one(order, item.op) for order, item in zip(sound, batch.items, strict=True)]
            )
        except (BusyError, KeyReusedError) as error:
            raise problem_of(error) from error

    async def _admitted(
        self, scope: Scope, principal: Principal, guard: Guard | None, requests: int
    ) -> BarredError | None:
        """Take the request from its sender's quota; in the same round trip, look at the lock. Raises ProblemError."""
        charge = self._limits.charge(scope, principal, requests=requests)
        if guard is None:
            await charge
            return None
        return (await asyncio.gather(charge, guard()))[1]

    async def _guard_all(
        self, principal: Principal, items: Sequence[Item], orders: Sequence[Order | ProblemError]
    ) -> None:
        """Look at the locks that items of a batch depend on, all in one round trip."""
        guarded: list[Order] = []
        for item, order in zip(items, orders, strict=True):
            if isinstance(order, Order):
                order.guard = self._guards.of(principal, ROUTES[item.stream, item.verb], item.id, item.lock_token)
                if order.guard is not None:
                    guarded.append(order)
        found = await asyncio.gather(*(order.guard() for order in guarded if order.guard is not None))
        for order, barred in zip(guarded, found, strict=True):
            order.barred = barred

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read the body. Raises ProblemError: too large, or not said to be JSON."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":  # what is missing must not be taken for what was left out
                raise ProblemError(MALFORMED_BODY, "The connection ended before the body did.")
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                raise ProblemError(
                    TOO_LARGE, f"At most {self._max_body_bytes} bytes are taken.", headers={"Connection": "close"}
                )
            if not message.get("more_body"):
                break
        if body:
            content_type = (header(scope, b"content-type") or b"").split(b";")[0].strip().lower()
            if content_type != b"application/json":
                raise ProblemError(WRONG_CONTENT_TYPE)
        return bytes(body)


async def carried_out(desk: Callable[[], Desk], order: Order, context: Context) -> Receipt:
    """Carry out an order; its request's log line and the metrics say what became of it. Raises ProblemError."""
    name = order.envelope.command
    context.fields |= {"command": name, "aggregate": f"{order.stream.name}/{order.id}"}
    try:
        receipt = await desk().carry_out(order)
    except Exception as error:
        outcome = INTERNAL.code
        try:
            problem = problem_of(error)
            outcome = problem.kind.code
        finally:
            _counter(name, outcome).inc()
        raise problem from error
    _counter(name, "accepted").inc()
    context.fields |= {"version": receipt.version, "position": receipt.position}
    return receipt


def _counts_points(route: Route | None) -> bool:
    """Say whether what a command costs is counted by its fixes: phones send few or many at once."""
    return route is not None and route.command.answers is Acknowledged


def _points(command: Command) -> int:
    return len(getattr(command, "fixes", ()))


def _count_points(receipt: Receipt) -> None:
    if isinstance(receipt.answer, Acknowledged):
        GPS_POINTS.labels("accepted").inc(receipt.answer.accepted)
        GPS_POINTS.labels("duplicate").inc(receipt.answer.duplicates)
        GPS_POINTS.labels("rejected").inc(len(receipt.answer.rejected))


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as it is sent."""
    document = {"id": receipt.id, "version": receipt.version, "position": receipt.position, "facts": receipt.facts}
    return document if receipt.answer is None else document | receipt.answer.model_dump(mode="json")


def problem_of(error: Exception) -> ProblemError:
    """Return the problem of a command that has no receipt; what is no answer of ours is raised again."""
    match error:
        case ProblemError():
            return error
        case Refused():
            return refusal(error)
        case NoSuchRecordError():
            return ProblemError(NO_SUCH_RECORD)
        case StaleVersionError():
            return ProblemError(
                STALE_VERSION,
                f"The record is at version {error.current}.",
                current_version=error.current,
                current_etag=f'"{error.current}"',
                changed_fields=error.changed_fields,
            )
        case BarredError(reason=ProblemError() as problem):
            return problem
        case KeyReusedError():
            return ProblemError(KEY_REUSED)
        case NotCarriedOutError():
            return ProblemError(NOT_CARRIED_OUT)
        case BusyError():
            return ProblemError(BUSY, headers={"Retry-After": "1"})
    raise error


def _must_post(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise ProblemError(METHOD_NOT_ALLOWED, "Commands are sent with POST.", headers={"Allow": "POST"})
