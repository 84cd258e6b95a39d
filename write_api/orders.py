"""Orders: what a request's path, headers, token and body ask for, checked and put together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, NamedTuple, cast

import http_sf
import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import PydanticCustomError, to_json

from commands.catalog import COMMANDS
from commands.kernel import Command, Id, Moment
from domain.catalog import STREAMS
from domain.kernel import Stream
from domain.roles import Role
from infra.log.codec import Client, Envelope
from infra.log.identity import RECORD_ID, RECORD_ID_SHAPE, keyed_command_id
from infra.log.order import ANY_VERSION, Order
from infra.web.edge import Context, Scope
from infra.web.problems import (
    INVALID_INPUT,
    NOT_ALLOWED,
    NOT_FOUND,
    VERSION_REQUIRED,
    ProblemError,
    header_problem,
    invalid,
)
from infra.web.tokens import Principal

FURTHEST_AHEAD = timedelta(minutes=5)
BARE_KEY = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")
ENTITY_TAG = re.compile(r'(?:W/)?"([0-9]{1,18})(?:\.[^"]*)?"')
PRINTABLE = re.compile(rb"[\x20-\x7e]{1,128}")
NO_VERSION = -2
MOST_ITEMS = 1000
MOST_TOKEN = 10**15 - 1  # the largest integer of a structured field
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class Route(NamedTuple):
    """A command's address: its stream and class, and its name in envelopes and logs."""

    stream: Stream[Any]
    command: type[Command]
    name: str


SENT: Mapping[tuple[str, str], Route] = {
    (stream, verb): Route(STREAMS[stream], command, f"{stream}.{verb}")
    for stream, verbs in COMMANDS.items()
    for verb, command in verbs.items()
    if command.allows - {Role.SYSTEM}
}
ROUTES = {address: route for address, route in SENT.items() if not route.command.by_hand}


class Item(BaseModel):
    """One command of a batch; `op` is the client's name for it, and its idempotency key."""

    model_config = ConfigDict(extra="forbid", strict=True)

    op: Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,255}$")]
    stream: Annotated[str, Field(max_length=64)]
    id: Id
    verb: Annotated[str, Field(max_length=64)]
    body: dict[str, Any] = Field(default_factory=dict)
    if_match: int | Annotated[str, Field(max_length=300)] | None = None
    lock_token: Annotated[int, Field(ge=0, le=MOST_TOKEN)] | None = None
    occurred_at: Moment | None = None


class Batch(BaseModel):
    """Commands to be carried out in their order; `atomic`: all of them or none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: Annotated[list[Item], Field(min_length=1, max_length=MOST_ITEMS)]
    atomic: bool = False

    @field_validator("items")
    @classmethod
    def _distinct(cls, items: list[Item]) -> list[Item]:
        if len({item.op for item in items}) != len(items):
            raise PydanticCustomError("op_repeated", "Every item of a batch has an op of its own")
        return items


class Request:
    """What every command of one request shares: who sends it, from where, and its headers."""

    def __init__(self, scope: Scope, context: Context, principal: Principal) -> None:
        self.principal, self._context, self._now = principal, context, datetime.now(UTC)
        self._headers = dict(scope["headers"])
        context.fields |= {"tenant": principal.tenant, "principal": principal.actor.subject}
        agent = self._text(b"user-agent")
        self._client = Client((scope.get("client") or (None,))[0], agent and agent[:300], principal.session)

    def lock_token(self) -> int | None:
        """Return the token of the edit lock that this request relies on. Raises ProblemError."""
        text = self._text(b"lock-token")
        if text is None:
            return None
        token: object = None
        with suppress(ValueError):
            token = cast(tuple[object, object], http_sf.parse(text.encode(), tltype="item"))[0]
        if type(token) is not int or token < 0:
            raise header_problem("Lock-Token", "The token that the lock was acquired with, an integer.")
        return token

    def order(self, route: Route, id: str, command: Command) -> Order:
        """Return the order that this request's headers and body make. Raises ProblemError."""
        if_match = self._text(b"if-match")
        return self._order(
            route,
            id,
            command,
            key=self.key(),
            at=self._at(),
            if_match=if_match,
        )

    def key(self) -> str | None:
        """Return the request's idempotency key, if it carries one. Raises ProblemError."""
        text = self._text(b"idempotency-key")
        return _key(text) if text is not None else None

    def part(self, route: Route, id: str, command: Command) -> Order:
        """Return one of several orders that this request makes: its key and `If-Match` are about none of them alone.

        Raises ProblemError.
        """
        return self._order(route, id, command, key=None, at=self._at(), if_match=None)

    def as_one(self, path: str, key: str, fingerprint: str) -> Callable[[Order, str], Order]:
        """Return what makes orders, each with a name of its own, the parts of one command with this key."""
        command_id = keyed_command_id(self.principal.tenant_id, self.principal.actor.subject, path, key)

        def part(order: Order, op: str) -> Order:
            envelope = msgspec.structs.replace(order.envelope, fingerprint=fingerprint, op=op)
            return replace(order, command_id=command_id, envelope=envelope)

        return part

    def inquiry(self, route: Route, id: str, command: Command) -> Order:
        """Return the order of a command that asks only, to which no header of the request applies."""
        return self._order(route, id, command, key=None, at=None, if_match=None)

    def tried(self, number: int, item: Item) -> Order | ProblemError:
        """Return the order that an item of a batch makes, or why it makes none."""
        route = ROUTES.get((item.stream, item.verb))
        if route is None:
            return no_command(item.stream, item.verb)
        try:
            must_be_allowed(route, self.principal)
            # NaN and infinities go on as such, for the command's own fields to refuse.
            command = route.command.model_validate_json(to_json(item.body, inf_nan_mode="constants"))
            if_match = f'"{item.if_match}"' if isinstance(item.if_match, int) else item.if_match
            return self._order(route, item.id, command, key=item.op, at=item.occurred_at, if_match=if_match)
        except ValidationError as error:
            return invalid(error, route.command, f"#/items/{number}/body")
        except ProblemError as problem:
            return problem

    def _order(
        self, route: Route, id: str, command: Command, *, key: str | None, at: datetime | None, if_match: str | None
    ) -> Order:
        if at is not None and at > self._now + FURTHEST_AHEAD:
            raise header_problem("Occurred-At", "At most 5 minutes ahead of this service's clock.", INVALID_INPUT)
        if if_match is None and command.needs_version:
            raise ProblemError(VERSION_REQUIRED)
        principal = self.principal
        actor = principal.actor
        if key is None:
            command_id, fingerprint = self._context.request_id, None
        else:
            path = f"/{route.stream.name}/{id}/{route.name.partition('.')[2]}"
            command_id = keyed_command_id(principal.tenant_id, actor.subject, path, key)
            fingerprint = sha256(command.model_dump_json().encode()).hexdigest()
        application = self._headers.get(b"x-application-name", b"")
        correlation = self._headers.get(b"x-correlation-id", b"")
        envelope = Envelope(
            command=route.name,
            actor=actor.subject,
            roles=principal.roles,
            application=application.decode() if PRINTABLE.fullmatch(application) else None,
            request_id=self._context.request_name,
            correlation_id=correlation.decode() if PRINTABLE.fullmatch(correlation) else self._context.request_name,
            traceparent=self._context.traced.traceparent,
            fingerprint=fingerprint,
        )
        return Order(
            tenant_id=principal.tenant_id,
            stream=route.stream,
            id=id,
            command=command,
            by=actor,
            at=at or self._now,
            now=self._now,
            command_id=command_id,
            envelope=envelope,
            client=self._client,
            if_match=_version(if_match) if if_match is not None else None,
        )

    def _at(self) -> datetime | None:
        text = self._text(b"occurred-at")
        return _occurred_at(text) if text is not None else None

    def _text(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return value.decode("latin-1") if value is not None else None


def must_be_id(id: str) -> None:
    """Raise ProblemError if this is no id of a record."""
    if not RECORD_ID.fullmatch(id):
        errors = [{"parameter": "id", "code": "id", "detail": RECORD_ID_SHAPE}]
        raise ProblemError(INVALID_INPUT, RECORD_ID_SHAPE, errors=errors)


def no_command(stream: str, verb: str) -> ProblemError:
    """Return the problem of a command that there is not, with those that there are."""
    verbs = ", ".join(known for of, known in ROUTES if of == stream)
    known = f"it has: {verbs}" if verbs else f"there are: {', '.join(dict.fromkeys(of for of, _ in ROUTES))}"
    return ProblemError(NOT_FOUND, f"There is no command {verb!r} of {stream!r}; {known}.")


def must_be_allowed(route: Route, principal: Principal) -> None:
    """Raise ProblemError if none of the principal's roles may ask for this command."""
    if not principal.actor.roles & route.command.allows:
        allowed = ", ".join(sorted(route.command.allows - {Role.SYSTEM}))
        raise ProblemError(NOT_ALLOWED, f"{route.name} is for: {allowed}.")


def _key(text: str) -> str:
    """Return an idempotency key: a structured field string, or bare characters."""
    if BARE_KEY.fullmatch(text):
        return text
    key: object = None
    with suppress(ValueError):
        key = cast(tuple[object, object], http_sf.parse(text.encode(), tltype="item"))[0]
    if not isinstance(key, str) or not 0 < len(key) <= 255:
        raise header_problem("Idempotency-Key", "A quoted string of 1 to 255 printable ASCII characters.")
    return key


def _occurred_at(text: str) -> datetime:
    try:
        return _MOMENT.validate_strings(text)
    except ValidationError:
        raise header_problem("Occurred-At", "A date and time with its offset, such as 2026-11-20T08:15:00Z.") from None


def _version(text: str) -> int:
    """Return the version that If-Match names; a tag that is none of ours matches no version."""
    if text == "*":
        return ANY_VERSION
    found = ENTITY_TAG.fullmatch(text)
    return int(found[1]) if found else NO_VERSION
