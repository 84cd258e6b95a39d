"""Sheets: types of inspections and items as a file has them, row by row, and the commands that they make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from inspect import cleandoc
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, model_validator
from pydantic_core import PydanticCustomError, to_json

from commands.inspections.checklists import DraftChecklist, ItemSent
from commands.inspections.types import Attendees, Before, ClassRulesSent, DefineInspectionType, RulesSent, Timing
from commands.kernel import Command, Id, Name, Text
from domain.inspections.checklists import CHECKLISTS, MOST_CHARACTERS, MOST_ITEMS, ChecklistFull
from domain.inspections.types import INSPECTION_TYPES, PrerequisitesInACircle, circle
from domain.kernel import Refused, Stream
from domain.people import VehicleClass

R = TypeVar("R", bound=BaseModel)
List = Literal["inspection_types", "items"]
MOST_TYPES, MOST_ROWS = 500, 10_000
MOST_SHOWN = 200


class TypeRow(Timing):
    """An inspection type; null as the prerequisites of a class says that its cars do not need it."""

    model_config = ConfigDict(str_strip_whitespace=True)

    key: Id
    name: Name | None = None
    prerequisites: Annotated[dict[VehicleClass, Before | None], Field(max_length=2)]
    attendees: Annotated[dict[VehicleClass, Attendees], Field(max_length=2)] = {}

    @model_validator(mode="after")
    def _for_some_class(self) -> Self:
        if all(before is None for before in self.prerequisites.values()):
            raise PydanticCustomError("no_class", "Cars of one class at least need it")
        return self

    def rules(self) -> RulesSent:
        """Return the rules that the row makes."""
        return RulesSent(
            name=self.name or self.key.replace("_", " ").capitalize(),
            classes=tuple(
                ClassRulesSent(vehicle_class=its, prerequisites=before, attendees=self.attendees.get(its, ()))
                for its, before in self.prerequisites.items()
                if before is not None
            ),
            **{timing: getattr(self, timing) for timing in Timing.model_fields},
        )


class ItemRow(ItemSent):
    """An item of the checklist of an inspection type."""

    model_config = ConfigDict(str_strip_whitespace=True)

    inspection_type: Id
    code: Name = Field(alias="item_code")
    parent_code: Name | None = Field(None, alias="parent_item_code")

    def sent(self) -> ItemSent:
        """Return the item as it is sent alone."""
        return ItemSent(**{name: getattr(self, name) for name in ItemSent.model_fields})


class Sheet(BaseModel):
    """A file of inspection types and items; `source` says where they are from. Each row is looked at for itself, later."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Text | None = None
    inspection_types: Annotated[list[SkipValidation[TypeRow]], Field(max_length=MOST_TYPES)] = []
    items: Annotated[list[SkipValidation[ItemRow]], Field(max_length=MOST_ROWS)] = []


class NotTaken(BaseModel):
    """Why a row is not taken; rows are counted from 1 in their list, lines where the file has lines."""

    of: List
    row: int
    line: int | None
    column: str | None
    value: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file; `texts`: all of its values are text, as in a file that knows nothing else."""

    of: List
    number: int
    values: Any
    line: int | None = None
    texts: bool = False

    def read(self, model: type[R]) -> R:
        """Return what the row says. Raises ValidationError."""
        if self.texts:
            return model.model_validate_strings(self.values)
        # NaN and infinities go on as such, for the fields to refuse.
        return model.model_validate_json(to_json(self.values, inf_nan_mode="constants"))

    def not_taken(self, code: str, message: str, column: str | None = None, value: Any = None) -> NotTaken:
        """Say why this row is not taken."""
        shown = value if isinstance(value, str) else to_json(value, inf_nan_mode="constants").decode()
        return NotTaken(
            of=self.of,
            row=self.number,
            line=self.line,
            column=column,
            value=None if value is None else shown[:MOST_SHOWN],
            code=code,
            message=message,
        )

    def refused(self, refusal: type[Refused]) -> NotTaken:
        """Say that this row is not taken, in the words of a refusal."""
        return self.not_taken(refusal.__name__, cleandoc(refusal.__doc__ or ""))


class Part(NamedTuple):
    """A command that rows make, and the record that it is about."""

    stream: Stream[Any]
    id: str
    command: Command
    rows: Sequence[Row]


class Plan(NamedTuple):
    """What a file asks for, in the order in which it can be carried out, and which of its rows are not taken."""

    parts: Sequence[Part]
    not_taken: list[NotTaken]


def planned(rows: Sequence[Row], source: str | None) -> Plan:
    """Return what rows ask for: types, after those that must be passed before, and then a draft of each checklist."""
    not_taken: list[NotTaken] = []
    read_types = _read((row for row in rows if row.of == "inspection_types"), TypeRow, not_taken)
    types = {sent.key: (row, sent) for row, sent in _distinct(read_types, lambda sent: sent.key, not_taken)}
    _break_circles(types, not_taken)
    parts = [
        Part(INSPECTION_TYPES, key, DefineInspectionType(rules=types[key][1].rules()), [types[key][0]])
        for key in _in_order(types)
    ]
    read_items = _read((row for row in rows if row.of == "items"), ItemRow, not_taken)
    checklists: dict[str, list[tuple[Row, ItemRow]]] = defaultdict(list)
    for row, sent in _distinct(
        read_items, lambda sent: (sent.inspection_type, sent.code, sent.vehicle_class), not_taken
    ):
        checklists[sent.inspection_type].append((row, sent))
    for type_id, drafted in checklists.items():
        items = list(_fitting(drafted, not_taken))
        draft = DraftChecklist(items=tuple(sent.sent() for _, sent in items), source=source)
        parts.append(Part(CHECKLISTS, type_id, draft, [row for row, _ in items]))
    return Plan(parts, not_taken)


def _read(rows: Iterable[Row], model: type[R], not_taken: list[NotTaken]) -> Iterator[tuple[Row, R]]:
    for row in rows:
        try:
            yield row, row.read(model)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_context=False):
                value = None if one["type"] == "missing" else one["input"]
                not_taken.append(row.not_taken(one["type"], one["msg"], "/".join(map(str, one["loc"])) or None, value))


def _distinct(
    read: Iterable[tuple[Row, R]], key: Callable[[R], Hashable], not_taken: list[NotTaken]
) -> Iterator[tuple[Row, R]]:
    first: dict[Hashable, Row] = {}
    for row, sent in read:
        earlier = first.setdefault(key(sent), row)
        if earlier is row:
            yield row, sent
        else:
            not_taken.append(row.not_taken("repeated", f"Row {earlier.number} is about the same"))


def _break_circles(types: dict[str, tuple[Row, TypeRow]], not_taken: list[NotTaken]) -> None:
    """Take out the types of which each would need another of them to be passed before."""
    while found := circle(
        {(key, its): before or () for key, (_, sent) in types.items() for its, before in sent.prerequisites.items()}
    ):
        not_taken += [types.pop(key)[0].refused(PrerequisitesInACircle) for key in found]


def _in_order(types: Mapping[str, tuple[Row, TypeRow]]) -> list[str]:
    """Return types after those that they need, whatever the class; as the file has them, if the classes contradict each other."""
    needed = {
        key: [one for before in sent.prerequisites.values() for one in before or () if one in types]
        for key, (_, sent) in types.items()
    }
    try:
        return list(TopologicalSorter(needed).static_order())
    except CycleError:
        return list(types)


def _fitting(drafted: Iterable[tuple[Row, ItemRow]], not_taken: list[NotTaken]) -> Iterator[tuple[Row, ItemRow]]:
    """Yield the items that fit on one checklist."""
    items = characters = 0
    for row, sent in drafted:
        if items == MOST_ITEMS or characters + len(sent.description) > MOST_CHARACTERS:
            not_taken.append(row.refused(ChecklistFull))
            continue
        items, characters = items + 1, characters + len(sent.description)
        yield row, sent
