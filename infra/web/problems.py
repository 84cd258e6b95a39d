"""Problems: every answer that is not a success, as RFC 9457 has it. The table is all of them but the refusals.

A refusal's code is the name of its class and its title the docstring; each problem has a page under its type.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from inspect import cleandoc
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from domain.kernel import NotYours, Refused

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its stable code, its status, and the title that is the same each time.

    `type` is its address where somebody else has defined it; else it is the page that we have of it.
    """

    code: str
    status: int
    title: str
    type: str | None = None


MALFORMED_BODY = Kind("malformed-body", 400, "The body is not JSON.")
MALFORMED_HEADER = Kind("malformed-header", 400, "A header does not have the form it should have.")
MALFORMED_QUERY = Kind("malformed-query", 400, "A query parameter does not have the form it should have.")
UNAUTHENTICATED = Kind("unauthenticated", 401, "A valid bearer token is needed.")
NOT_ALLOWED = Kind("not-allowed", 403, "None of the token's roles may do this.")
NOT_FOUND = Kind("not-found", 404, "There is nothing at this address.")
NO_SUCH_RECORD = Kind("no-such-record", 404, "There is no such record.")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "This address does not answer to this method.")
NOT_CARRIED_OUT = Kind("not-carried-out", 424, "Another command of the atomic batch was answered no.")
STALE_VERSION = Kind("stale-version", 412, "The record has changed since the version that was named.")
TOO_LARGE = Kind("too-large", 413, "The body is larger than this service takes.")
WRONG_CONTENT_TYPE = Kind("wrong-content-type", 415, "The body is sent as application/json.")
FILE_TOO_LARGE = Kind("file-too-large", 413, "The file is larger than those that are taken.")
TYPE_NOT_TAKEN = Kind("type-not-taken", 415, "Files of this type are not taken.")
INVALID_INPUT = Kind("invalid-input", 422, "Something that was sent cannot be accepted in any state.")
LOCKED = Kind("locked", 423, "The edit lock of this record is not yours.")
KEY_REUSED = Kind("key-reused", 422, "The idempotency key was used before with another payload.")
TOO_MANY = Kind("too-many", 409, "There are as many of these as there may be.")
VERSION_REQUIRED = Kind("version-required", 428, "This command overwrites what its sender saw, so If-Match is needed.")
QUOTA_EXCEEDED = Kind(
    "quota-exceeded",
    429,
    "More was asked for than your quota allows.",
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
)
INTERNAL = Kind("internal", 500, "Something went wrong here; the trace id finds it in our logs.")
BUSY = Kind("busy", 503, "No answer could be had in time; ask again, with the same idempotency key if it is a command.")
NO_SHARED_STATE = Kind("no-shared-state", 503, "Redis, which holds edit locks and presence, is not there.")
LAGGING = Kind("lagging", 503, "The view has not come as far as was asked for.")
FILE_TOO_LARGE = Kind("file-too-large", 413, "The file, or this part of it, is larger than it may be.")
TYPE_NOT_TAKEN = Kind("type-not-taken", 415, "Files of this type are not taken.")
PARTS_MISSING = Kind("parts-missing", 409, "Not all parts of the file have come.")
NOT_AS_DECLARED = Kind("not-as-declared", 422, "What came is not what was declared.")
NOT_SATISFIABLE = Kind("not-satisfiable", 416, "There are no such bytes.")
NO_OBJECTS = Kind("no-objects", 503, "The place where files are kept does not answer, or takes no more.")

KINDS = (
    MALFORMED_BODY,
    MALFORMED_HEADER,
    MALFORMED_QUERY,
    UNAUTHENTICATED,
    NOT_ALLOWED,
    NOT_FOUND,
    NO_SUCH_RECORD,
    METHOD_NOT_ALLOWED,
    STALE_VERSION,
    TOO_LARGE,
    WRONG_CONTENT_TYPE,
    FILE_TOO_LARGE,
    TYPE_NOT_TAKEN,
    INVALID_INPUT,
    KEY_REUSED,
    LOCKED,
    NOT_CARRIED_OUT,
    VERSION_REQUIRED,
    QUOTA_EXCEEDED,
    TOO_MANY,
    INTERNAL,
    BUSY,
    NO_SHARED_STATE,
    LAGGING,
)
OF_FILES = (FILE_TOO_LARGE, TYPE_NOT_TAKEN, PARTS_MISSING, NOT_AS_DECLARED, NOT_SATISFIABLE, NO_OBJECTS)


class ProblemError(Exception):
    """Ends a request with a problem. `errors` say where: {pointer | header | parameter, code, detail}."""

    def __init__(
        self,
        kind: Kind,
        detail: str | None = None,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(kind.code)
        self.kind, self.detail, self.errors, self.members = kind, detail, errors, members
        self.headers = dict(headers or {})

    def document(self, problems_url: str, request_id: str, trace_id: str) -> dict[str, Any]:
        """Return the problem as it is sent."""
        document = {
            "type": self.kind.type or problems_url + self.kind.code,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail or self.kind.title,
            "instance": f"urn:uuid:{request_id}",
            "code": self.kind.code,
            "trace_id": trace_id,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return document | self.members


def locked(by: str | None, name: str | None, expires_at: datetime | None) -> ProblemError:
    """Return the problem of a record whose lock is not the caller's: who holds it, and until when; nobody if it has ended."""
    detail = f"{name} is editing this record."
    if by is None:
        detail = "The lock has ended, and nobody holds it now; acquire it again."
    return ProblemError(LOCKED, detail, locked_by=by, expires_at=expires_at)


def refusal_kind(refused: type[Refused]) -> Kind:
    """Return the kind of a refusal: 409, or 403 for what belongs to somebody else."""
    return Kind(refused.__name__, 403 if issubclass(refused, NotYours) else 409, cleandoc(refused.__doc__ or ""))


def refusal(refused: Refused) -> ProblemError:
    """Return the problem that a refusal is."""
    problem = ProblemError(refusal_kind(type(refused)))
    if refused.details:
        problem.members["details"] = refused.details
    return problem


def header_problem(name: str, detail: str, kind: Kind = MALFORMED_HEADER) -> ProblemError:
    """Return the problem of one header."""
    return ProblemError(kind, detail, errors=[{"header": name, "code": kind.code, "detail": detail}])


def query_problem(name: str, detail: str, kind: Kind = INVALID_INPUT) -> ProblemError:
    """Return the problem of one query parameter."""
    return ProblemError(kind, detail, errors=[{"parameter": name, "code": kind.code, "detail": detail}])


def invalid(error: ValidationError, model: type[BaseModel], prefix: str = "#") -> ProblemError:
    """Return the problem of a body that is no such model, with a JSON pointer (RFC 6901) to each place."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if errors and errors[0]["type"] == "json_invalid":
        return ProblemError(MALFORMED_BODY, errors[0]["msg"])
    return ProblemError(
        INVALID_INPUT,
        f"{len(errors)} {'place needs' if len(errors) == 1 else 'places need'} another value.",
        errors=[
            {"pointer": pointer(one["loc"], prefix), "code": one["type"], "detail": detail_of(one, model.model_fields)}
            for one in errors
        ],
    )


def detail_of(error: Mapping[str, Any], known: Iterable[str]) -> str:
    """Return what is wrong with one place; where an unknown name was sent, also the known ones."""
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"There is no {error['loc'][0]!r} here; there are: {', '.join(known) or 'none'}."
    return str(error["msg"])


def pointer(location: Iterable[str | int], prefix: str = "#") -> str:
    """Return a location as a JSON pointer in a URI fragment."""
    return prefix + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


def encode(document: Any) -> bytes:
    """Return JSON."""
    return msgspec.json.encode(document)


class ProblemShown(BaseModel):
    """A problem (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    errors: list[dict[str, Any]] = []


def responses(refuses: Iterable[type[Refused]], statuses: Container[int], schema: Any) -> dict[str, Any]:
    """Return what an OpenAPI operation says of the problems that it may answer with."""
    by_status: dict[int, list[str]] = {}
    for kind in KINDS:
        if kind.status in statuses:
            by_status.setdefault(kind.status, []).append(_line(kind))
    for kind in map(refusal_kind, refuses):
        by_status.setdefault(kind.status, []).append(_line(kind))
    content = {CONTENT_TYPE: {"schema": schema}}
    return {
        str(status): {"description": "\n\n".join(lines), "content": content}
        for status, lines in sorted(by_status.items())
    }


def of_kinds(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of problems that it may answer with besides those that every route may."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(_line(kind))
    content = {CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemShown.__name__}"}}}
    return {
        status: {"description": "\n\n".join(lines), "content": content} for status, lines in sorted(by_status.items())
    }


def _line(kind: Kind) -> str:
    return f"`{kind.code}`: {kind.title}"
