"""Imports: what is asked for by a file, every row of it answered for, all of it in one append. A route written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Annotated, Literal

import fastapi
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from commands.inspections.sheets import NotTaken, Part, Plan, Row, planned
from domain.inspections.types import INSPECTION_TYPES, InspectionTypeAlreadyDefined
from domain.kernel import Refused
from infra.log.desk import Desk
from infra.log.order import BarredError, BusyError, KeyReusedError, NotCarriedOutError, Order, Receipt
from infra.web.edge import Scope, context_of, header
from infra.web.limiting import Limits
from infra.web.problems import FILE_TOO_LARGE, MALFORMED_BODY, NOT_CARRIED_OUT, TYPE_NOT_TAKEN, ProblemError
from infra.web.tokens import Principal
from write_api.doors import problem_of
from write_api.guards import Guards
from write_api.orders import ROUTES, Request, must_be_allowed
from write_api.tables import items_of_csv, sheet_of_json

PATH = "/imports/checklists"
MOST_BYTES = 5 * 2**20
BY_STREAM = {
    "inspection-types": ROUTES["inspection-types", "define"],
    "checklist-templates": ROUTES["checklist-templates", "draft"],
}
ROLES = sorted(frozenset.intersection(*(route.command.allows for route in BY_STREAM.values())))
REFUSED_BEFORE = "This was refused when the same file was imported before."
KEY = (
    "Any text of the client's, else the file itself: the same again changes nothing, and has the same answer, for ever."
)
Policy = Literal["all_or_nothing", "partial"]


class TypesImported(BaseModel):
    """What became of the inspection types of a file."""

    rows: int
    defined: list[str] = Field(description="Those that were not there")
    kept: list[str] = Field(description="Those that were there; they are as they were")


class ItemsImported(BaseModel):
    """What became of the items of a file."""

    rows: int
    drafted: dict[str, int] = Field(description="How many are the draft of each checklist now, instead of what it was")


class Imported(BaseModel):
    """What became of a file; if it was not `applied`, what would have become of it without the rows that are not taken."""

    applied: bool
    position: int | None = Field(description="The position of its last fact in the log; also the Position header")
    inspection_types: TypesImported
    items: ItemsImported
    not_taken: list[NotTaken] = Field(description="Which rows are not taken, and why")


@dataclass
class _Import:
    """A file on its way: what it asks for, what of it may be carried out, and what became of that."""

    rows: Sequence[Row]
    plan: Plan
    parts: Sequence[Part]
    kept: list[str] = field(default_factory=list)
    applied: bool = False
    position: int | None = None

    def report(self) -> Imported:
        """Return what is answered."""
        defined = [part.id for part in self.parts if part.stream is INSPECTION_TYPES]
        return Imported(
            applied=self.applied,
            position=self.position,
            inspection_types=TypesImported(
                rows=sum(row.of == "inspection_types" for row in self.rows), defined=defined, kept=self.kept
            ),
            items=ItemsImported(
                rows=sum(row.of == "items" for row in self.rows),
                drafted={part.id: len(part.rows) for part in self.parts if part.stream is not INSPECTION_TYPES},
            ),
            not_taken=sorted(self.plan.not_taken, key=lambda one: (one.of, one.row)),
        )


class Imports:
    """Carries out what files ask for."""

    def __init__(
        self,
        desk: Callable[[], Desk],
        authenticate: Callable[[Scope], Awaitable[Principal]],
        limits: Limits,
        guards: Guards,
    ) -> None:
        self._desk, self._bearer, self._limits, self._guards = desk, authenticate, limits, guards

    async def admit(self, asked: fastapi.Request) -> Request:
        """Return what the orders of a file share, once its sender may import and is charged for it. Raises ProblemError."""
        scope = asked.scope
        request = Request(scope, context_of(scope), await self._limits.recognised(scope, self._bearer(scope)))
        for route in BY_STREAM.values():
            must_be_allowed(route, request.principal)
        await self._limits.charge(scope, request.principal)
        return request

    async def take(self, asked: fastapi.Request, request: Request, *, dry_run: bool, policy: Policy) -> Imported:
        """Answer one request. Raises ProblemError."""
        body = await _body(asked)
        file = await asyncio.to_thread(_read, header(asked.scope, b"content-type"), body)
        context_of(asked.scope).fields |= {"rows": len(file.rows), "not_taken": len(file.plan.not_taken)}
        await self._carry_out(
            file, request, sha256(body).hexdigest(), dry_run=dry_run, whole=policy == "all_or_nothing"
        )
        return file.report()

    async def _carry_out(
        self, file: _Import, request: Request, fingerprint: str, *, dry_run: bool, whole: bool
    ) -> None:
        """Carry out all parts together; as long as some are refused, do so without them, unless it is all or nothing."""
        while True:
            rehearsed = dry_run or (whole and bool(file.plan.not_taken))
            outcomes = await self._together(file.parts, request, fingerprint, rehearsed=rehearsed)
            _sort_out(file, outcomes)
            receipts = [one for one in outcomes if isinstance(one, Receipt)]
            if rehearsed or len(receipts) == len(outcomes):
                file.applied = not rehearsed
                file.position = max((one.position for one in receipts), default=None)
                return

    async def _together(
        self, parts: Sequence[Part], request: Request, fingerprint: str, *, rehearsed: bool
    ) -> Sequence[Receipt | Exception]:
        """Carry out parts as one command; a rehearsal ends with an order that is never carried out, so that none takes effect."""
        orders = list(await asyncio.gather(*(self._order(part, request) for part in parts)))
        if not orders:
            return []
        try:
            if rehearsed:
                barred = BarredError(ProblemError(NOT_CARRIED_OUT))
                orders.append(replace(orders[0], guard=None, barred=barred))
                return (await self._desk().carry_out_together(orders))[:-1]
            one = request.as_one(PATH, request.key() or fingerprint, fingerprint)
            named = [one(order, f"{order.stream.name}/{order.id}") for order in orders]
            return await self._desk().carry_out_together(named)
        except (BusyError, KeyReusedError) as error:
            raise problem_of(error) from error

    async def _order(self, part: Part, request: Request) -> Order:
        route = BY_STREAM[part.stream.name]
        order = request.part(route, part.id, part.command)
        order.guard = self._guards.of(request.principal, route, part.id, None)
        if order.guard is not None:
            order.barred = await order.guard()
        return order


def with_imports(app: FastAPI, imports: Imports) -> None:
    """Let the application take files."""
    schemas = {"application/json": {"$ref": "#/components/schemas/Sheet"}, "text/csv": {"type": "string"}}

    @app.post(
        PATH,
        tags=["imports"],
        operation_id="imports.checklists",
        openapi_extra={
            "security": [{"bearer": []}],
            "x-roles": ROLES,
            "requestBody": {"content": {kind: {"schema": one} for kind, one in schemas.items()}, "required": True},
        },
    )
    async def import_checklists(
        asked: fastapi.Request,
        answer: fastapi.Response,
        request: Request = Depends(imports.admit),
        idempotency_key: Annotated[str | None, fastapi.Header(description=KEY)] = None,  # noqa: ARG001
        dry_run: Annotated[bool, Query(description="Only say what would become of it")] = False,
        policy: Annotated[
            Policy, Query(description="Whether rows that are not taken stop those that could be")
        ] = "all_or_nothing",
    ) -> Imported:
        """Import inspection types and drafts of checklists.

        Types that are not there are defined, after those that must be passed before; those that are there are kept as they
        are. The items of a checklist become its draft, instead of what it was; nothing is published. A CSV file has items
        only, under the names of their columns, in UTF-8 or what it is found to be in. All of a file is one append.
        """
        imported = await imports.take(asked, request, dry_run=dry_run, policy=policy)
        if imported.position is not None:
            answer.headers["Position"] = str(imported.position)
        return imported


async def _body(asked: fastapi.Request) -> bytes:
    """Read a file. Raises ProblemError: too large, or not all of it came."""
    body = bytearray()
    try:
        async for chunk in asked.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise ProblemError(
                    FILE_TOO_LARGE, f"At most {MOST_BYTES} bytes are taken.", headers={"Connection": "close"}
                )
    except ClientDisconnect:
        raise ProblemError(MALFORMED_BODY, "The connection ended before the body did.") from None
    return bytes(body)


def _read(content_type: bytes | None, body: bytes) -> _Import:
    """Return what a file asks for. Raises ProblemError: it cannot be read at all."""
    kind = (content_type or b"").split(b";")[0].strip().lower()
    rows: Sequence[Row]
    source = None
    if kind == b"application/json":
        rows, source = sheet_of_json(body)
    elif kind == b"text/csv":
        rows = items_of_csv(body)
    else:
        raise ProblemError(TYPE_NOT_TAKEN, "Send it as application/json or as text/csv.")
    plan = planned(rows, source)
    return _Import(rows, plan, plan.parts)


def _sort_out(file: _Import, outcomes: Sequence[Receipt | Exception]) -> None:
    """Leave in a file the parts that are, or could be, carried out. Raises ProblemError: none can now, whatever the rows are."""
    left: list[Part] = []
    for part, outcome in zip(file.parts, outcomes, strict=True):
        match outcome:
            case InspectionTypeAlreadyDefined():
                file.kept.append(part.id)
            case Receipt(version=0):  # the file was imported before, and this was left out
                file.plan.not_taken.extend(row.not_taken("refused-before", REFUSED_BEFORE) for row in part.rows)
            case Receipt(facts=()) if part.stream is INSPECTION_TYPES:
                file.kept.append(part.id)
            case Receipt() | NotCarriedOutError():
                left.append(part)
            case Refused(details=details):
                kind = problem_of(outcome).kind
                which = ", ".join(f"{name}: {value}" for name, value in details.items())
                message = f"{kind.title} ({which})" if which else kind.title
                file.plan.not_taken.extend(row.not_taken(kind.code, message) for row in part.rows)
            case _:
                raise problem_of(outcome) from outcome
    file.parts = left
