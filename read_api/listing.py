"""Lists: filters that lists and live streams share, items as SQL shows them, and parts by cursor or page number (C-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import URL

from domain.roles import Role
from infra.views.readers import Found
from infra.web.problems import MALFORMED_QUERY, encode, query_problem
from read_api.sealing import opened, sealed

Item = TypeVar("Item")

EVERYBODY = frozenset(Role) - {Role.SYSTEM}
MOST_COUNTED = 1_000
MOST_ITEMS = 200


def _opened(schema: dict[str, Any]) -> None:
    schema.pop("additionalProperties")


class Shown(BaseModel):
    """The shape of an answer, as the OpenAPI page and the tests know it; answers themselves come as JSON from the database.

    Nothing else is answered, but clients are told to tolerate what comes later.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=_opened)


class Total(Shown):
    """How many items there are in all."""

    value: int
    kind: Literal["exact", "at_least"]


class Page(Shown, Generic[Item]):
    """A part of a list; `next` and `prev` are cursors."""

    items: list[Item]
    next: str | None
    prev: str | None
    total: Total


class Paging(BaseModel):
    """Which part of a list: by cursor, or by page number as long as the list is short."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(
        None, max_length=1_000, description="`next` or `prev` of an earlier answer, same filters"
    )
    limit: int = Field(50, ge=1, le=MOST_ITEMS, description="How many items at most")
    page: int | None = Field(None, ge=1, description="Page number, instead of a cursor")
    per_page: int = Field(20, ge=20, le=50, description="Items of a numbered page")


@dataclass(frozen=True)
class Filter:
    """A condition on a field of a view's row; the same one as SQL for lists and as a test of a row for live streams."""

    field: str
    relation: Literal["=", ">", ">=", "<=", "in", "has", "has any", "is null"] = "="

    def sql(self, name: str) -> str:
        """Return the condition with its parameter `name`."""
        if self.relation == "in":
            return f't."{self.field}" = any(%({name})s)'
        if self.relation == "has":
            return f't."{self.field}" ? %({name})s'
        if self.relation == "has any":
            return f't."{self.field}" ?| %({name})s'
        if self.relation == "is null":
            return f'(t."{self.field}" is null) = %({name})s'
        return f't."{self.field}" {self.relation} %({name})s'

    def matches(self, row: Mapping[str, Any], value: Any) -> bool:
        """Say whether a row (as JSON has it) meets the condition. Dates compare as their ISO text does."""
        found = row.get(self.field)
        match self.relation:
            case "in":
                return found in value
            case "has":
                return value in (found or ())
            case "has any":
                return not set(value).isdisjoint(found or ())
            case "=":
                return bool(found == value)
            case "is null":
                return (found is None) is value
            case ">":
                return found is not None and found > value
            case ">=":
                return found is not None and found >= value
        return found is not None and found <= value


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Who sees what: roles of `everything` all rows, those of `own` only what is theirs, by the ids that `statement` finds
    (SQL over the context's `{schema}`, with the parameter `subject`).
    """

    context: str
    everything: frozenset[Role]
    own: frozenset[Role]
    statement: str

    @property
    def readers(self) -> frozenset[Role]:
        """Whoever sees anything."""
        return self.everything | self.own


@dataclass(frozen=True, kw_only=True)
class Watchable:
    """What may be watched live, and by which conditions: `shown` is the shape of an item, `wanted` that of its query, whose
    fields that are named like `filters` are the conditions.
    """

    name: str
    shown: type[Shown]
    wanted: type[BaseModel]
    filters: Mapping[str, Filter] = field(default_factory=dict)

    @property
    def readers(self) -> frozenset[Role]:
        """Who may ask for it."""
        return EVERYBODY

    def validated(self, given: Mapping[str, str], sent_as: Mapping[str, str]) -> dict[str, Any]:
        """Return filter values as rows hold them, from query parameters, which a problem names as they were sent.

        Raises ProblemError.
        """
        try:
            wanted = self.wanted.model_validate_strings(dict(given))
        except ValidationError as error:
            one = error.errors()[0]
            raise query_problem(sent_as[str(one["loc"][0])], one["msg"]) from None
        return {name: value for name, value in self.conditions(wanted, mode="json").items() if value is not None}

    def conditions(self, wanted: BaseModel, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return the values of the filters in a query."""
        values = wanted.model_dump(mode=mode, by_alias=True)
        return {name: value for name, value in values.items() if name in self.filters}


@dataclass(frozen=True, kw_only=True)
class Listing(Watchable):
    """A list of a view's rows: how an item is shown (SQL over `t` and the joins), in which order, and what may be asked for.

    `order` are columns of `t`, all in the same direction, the last one unique. `own` is the filter that whoever does not see
    everything in the scope cannot remove: the rows that are his. A `whole` list is only for those who see everything.
    `caching` is for clients who are told otherwise than `max_age`.
    """

    scope: Scope
    context: str
    view: str
    item: str
    order: Sequence[str]
    wanted: type[Paging]
    descending: bool = False
    joins: str = ""
    own: Filter | None = None
    whole: bool = False
    max_age: int = 30
    caching: str | None = None

    @property
    def readers(self) -> frozenset[Role]:
        """Who may ask for it."""
        return self.scope.everything if self.whole else self.scope.readers

    @property
    def source(self) -> str:
        """The rows as they are now, with what is joined to them."""
        return f"{{schema}}.{self.view} t {self.joins}"


Cursors = tuple[str | None, str | None]


def links(url: URL, cursors: Cursors) -> dict[str, str]:
    """Return the Link header (RFC 8288) of the part that a URL asked for, if it leads anywhere."""
    parts = [
        f'<{url.remove_query_params("page").include_query_params(cursor=cursor)}>; rel="{rel}"'
        for rel, cursor in zip(("next", "prev"), cursors, strict=True)
        if cursor
    ]
    return {"Link": ", ".join(parts)} if parts else {}


class Part:
    """One part of a list: by cursor (keyset over the order) or by page number."""

    def __init__(self, listing: Listing, paging: Paging, key: bytes, query_hash: str) -> None:
        self._list, self._paging, self._key, self._hash = listing, paging, key, query_hash
        self._after: list[Any] | None = None
        self._backwards = False
        if paging.cursor is not None:
            if paging.page is not None:
                raise query_problem("page", "A page number and a cursor exclude each other.")
            self._backwards, self._after = self._opened(paging.cursor)
        if paging.page is not None and paging.page * paging.per_page > MOST_COUNTED:
            raise query_problem("page", f"Page numbers reach {MOST_COUNTED} items; beyond, follow the cursors.")
        self._limit = paging.limit if paging.page is None else paging.per_page

    def statement(self, conditions: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Return the statement of this part, with one item more than is shown, and its parameters."""
        listing, order = self._list, list(self._list.order)
        parameters: dict[str, Any] = {"limit": self._limit + 1}
        wanted = list(conditions)
        descending = listing.descending != self._backwards
        if self._after is not None:
            names = [f"after{n}" for n in range(len(order))]
            parameters |= dict(zip(names, self._after, strict=True))
            wanted.append(
                f"({', '.join(order)}) {'<' if descending else '>'} ({', '.join(f'%({name})s' for name in names)})"
            )
        offset = ""
        if self._paging.page is not None:
            parameters["offset"] = (self._paging.page - 1) * self._limit
            offset = "offset %(offset)s"
        direction = " desc" if descending else ""
        return (
            f"select ({listing.item})::text, json_build_array({', '.join(order)})::text from {listing.source} "
            f"where {' and '.join(wanted)} order by {', '.join(f'{one}{direction}' for one in order)} "
            f"limit %(limit)s {offset}"
        ), parameters

    def document(self, found: Found) -> tuple[bytes, Cursors]:
        """Return the page as JSON, and its cursors."""
        rows = found.rows[: self._limit]
        beyond = len(found.rows) > self._limit
        if self._backwards:
            rows.reverse()
        has_next = self._backwards or beyond
        has_prev = beyond if self._backwards else self._after is not None or (self._paging.page or 1) > 1
        following = self._sealed(rows[-1][1], backwards=False) if rows and has_next else None
        previous = self._sealed(rows[0][1], backwards=True) if rows and has_prev else None
        count = found.total or 0
        total = {"value": min(count, MOST_COUNTED), "kind": "exact" if count <= MOST_COUNTED else "at_least"}
        items = ",".join(row[0] for row in rows)
        tail = encode({"next": following, "prev": previous, "total": total}).decode()
        return f'{{"items":[{items}],{tail[1:]}'.encode(), (following, previous)

    def _sealed(self, values: str, *, backwards: bool) -> str:
        return sealed(self._key, "cursor", msgspec.json.encode([backwards, self._hash, msgspec.json.decode(values)]))

    def _opened(self, cursor: str) -> tuple[bool, list[Any]]:
        payload = opened(self._key, "cursor", cursor)
        if payload is None:
            raise query_problem("cursor", "This is no cursor of ours.", MALFORMED_QUERY)
        backwards, query_hash, values = msgspec.json.decode(payload)
        if query_hash != self._hash:
            raise query_problem("cursor", "This cursor belongs to a list with other filters.", MALFORMED_QUERY)
        return backwards, values
