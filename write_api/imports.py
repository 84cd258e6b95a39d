"""Imports: what is asked for by a file, every row of it answered for, all of it in one append. A route written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from commands.inspections.sheets import NotTaken, Part, Plan, Row, planned
from domain.inspections.types import INSPECTION_TYPES, InspectionTypeAlreadyDefined
from domain.kernel import Refused
from infra.log.desk import Desk
from infra.log.order import BarredError, BusyError, KeyReusedError, NotCarriedOutError, Order, Receipt
from infra.web.edge import context_of, header
from infra.web.limiting import Limits
from infra.web.problems import FILE_TOO_LARGE, MALFORMED_BODY, NOT_CARRIED_OUT, TYPE_NOT_TAKEN, ProblemError
from infra.web.tokens import Bearer
from write_api.doors import problem_of
from write_api.guards import Guards
from write_api.orders import ROUTES, must_be_allowed
from write_api.orders import Request as Sending
from write_api.tables import items_of_csv, sheet_of_json

router = APIRouter(tags=["imports"])
PATH = "/imports/checklists"
MOST_BYTES = 5 * 2**20
BY_STREAM = {
    "inspection-types": ROUTES["inspection-types", "define"],
    "checklist-templates": ROUTES["checklist-templates", "draft"],
}
ROLES = sorted(frozenset.intersection(*(route.command.allows for route in BY_STREAM.values())))
TAKEN = {"application/json": {"$ref": "#/components/schemas/Sheet"}, "text/csv": {"type": "string"}}
POLICY = "Whether rows that are not taken keep the others from being taken"
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
class File:
    """A file on its way: what it asks for, what of it may be carried out, and what became of that."""

    rows: Sequence[Row]
    plan: Plan
    parts: Sequence[Part]
    kept: list[str] = field(default_factory=list)
    applied: bool = False
    position: int | None = None

    def sort_out(self, outcomes: Sequence[Receipt | Exception]) -> None:
        """Keep the parts that are, or could be, carried out. Raises ProblemError: nothing can be now, whatever the rows are."""
        left: list[Part] = []
        for part, outcome in zip(self.parts, outcomes, strict=True):
            match outcome:
                case InspectionTypeAlreadyDefined():
                    self.kept.append(part.id)
                case Receipt(version=0):  # the file was imported before, and this was left out
                    self.plan.not_taken.extend(row.not_taken("refused-before", REFUSED_BEFORE) for row in part.rows)
                case Receipt(facts=()) if part.stream is INSPECTION_TYPES:
                    self.kept.append(part.id)
                case Receipt() | NotCarriedOutError():
                    left.append(part)
                case Refused(details=details):
                    kind = problem_of(outcome).kind
                    which = ", ".join(f"{name}: {value}" for name, value in details.items())
                    message = f"{kind.title} ({which})" if which else kind.title
                    self.plan.not_taken.extend(row.not_taken(kind.code, message) for row in part.rows)
                case _:
                    raise problem_of(outcome) from outcome
        self.parts = left

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


@dataclass(frozen=True)
class Service:
    """What imports need of the write API."""

    desk: Callable[[], Desk]
    authenticate: Bearer
    limits: Limits
    guards: Guards


class Sender:
    """Whoever sends a file."""

    def __init__(self, service: Service, sending: Sending) -> None:
        self._service, self._sending = service, sending

    async def carry_out(self, file: File, fingerprint: str, *, dry_run: bool, whole: bool) -> None:
        """Carry out all of a file together; as long as parts are refused, do so without them, unless it is all or nothing.

        Raises ProblemError.
        """
        while True:
            rehearsed = dry_run or (whole and bool(file.plan.not_taken))
            outcomes = await self._together(file.parts, fingerprint, rehearsed=rehearsed)
            file.sort_out(outcomes)
            receipts = [one for one in outcomes if isinstance(one, Receipt)]
            if rehearsed or len(receipts) == len(outcomes):
                file.applied = not rehearsed
                file.position = max((one.position for one in receipts), default=None)
                return

    async def _together(
        self, parts: Sequence[Part], fingerprint: str, *, rehearsed: bool
    ) -> Sequence[Receipt | Exception]:
        """Carry out parts as one command; a rehearsal ends with an order that is never carried out, so that none takes effect."""
        orders = list(await asyncio.gather(*(self._order(part) for part in parts)))
        if not orders:
            return []
        desk = self._service.desk()
        try:
            if rehearsed:
                barred = BarredError(ProblemError(NOT_CARRIED_OUT))
                return (await desk.carry_out_together([*orders, replace(orders[0], guard=None, barred=barred)]))[:-1]
            one = self._sending.as_one(PATH, self._sending.key() or fingerprint, fingerprint)
            return await desk.carry_out_together([one(order, f"{order.stream.name}/{order.id}") for order in orders])
        except (BusyError, KeyReusedError) as error:
            raise problem_of(error) from error

    async def _order(self, part: Part) -> Order:
        route = BY_STREAM[part.stream.name]
        order = self._sending.part(route, part.id, part.command)
        order.guard = self._service.guards.of(self._sending.principal, route, part.id, None)
        if order.guard is not None:
            order.barred = await order.guard()
        return order


async def _sender(request: Request) -> Sender:
    service: Service = request.app.state.imports
    principal = await service.limits.recognised(request.scope, service.authenticate(request.scope))
    for route in BY_STREAM.values():
        must_be_allowed(route, principal)
    await service.limits.charge(request.scope, principal)
    return Sender(service, Sending(request.scope, context_of(request.scope), principal))


@router.post(
    PATH,
    operation_id="imports.checklists",
    openapi_extra={
        "security": [{"bearer": []}],
        "x-roles": ROLES,
        "requestBody": {"content": {kind: {"schema": schema} for kind, schema in TAKEN.items()}, "required": True},
    },
)
async def import_checklists(
    sender: Annotated[Sender, Depends(_sender)],
    request: Request,
    answer: Response,
    idempotency_key: Annotated[str | None, Header(description=KEY)] = None,  # noqa: ARG001
    dry_run: Annotated[bool, Query(description="Only say what would become of it")] = False,
    policy: Annotated[Policy, Query(description=POLICY)] = "all_or_nothing",
) -> Imported:
    """Import inspection types and drafts of checklists.

    Types that are not there are defined, after those that must be passed before; those that are there are kept as they
    are. The items of a checklist become its draft, instead of what it was; nothing is published. A CSV file has items
    only, under the names of their columns, in UTF-8 or what it is found to be in. All of a file is one append.
    """
    body = await _body(request)
    file = await asyncio.to_thread(_read, header(request.scope, b"content-type"), body)
    context_of(request.scope).fields |= {"rows": len(file.rows), "not_taken": len(file.plan.not_taken)}
    await sender.carry_out(file, sha256(body).hexdigest(), dry_run=dry_run, whole=policy == "all_or_nothing")
    if file.position is not None:
        answer.headers["Position"] = str(file.position)
    return file.report()


async def _body(request: Request) -> bytes:
    """Read a file. Raises ProblemError: too large, or not all of it came."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise ProblemError(
                    FILE_TOO_LARGE, f"At most {MOST_BYTES} bytes are taken.", headers={"Connection": "close"}
                )
    except ClientDisconnect:
        raise ProblemError(MALFORMED_BODY, "The connection ended before the body did.") from None
    return bytes(body)


def _read(content_type: bytes | None, body: bytes) -> File:
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
    return File(rows, plan, plan.parts)
