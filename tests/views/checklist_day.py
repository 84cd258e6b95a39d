"""A day of scrutineering as facts: a checklist in two versions, two teams, an inspection with everything that may happen in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.attachments import ATTACHMENTS, AttachmentDeclared
from domain.bookings.bookings import (
    BOOKINGS,
    BookingCheckedIn,
    BookingConfirmed,
    BookingRequested,
    BookingStarted,
    ScrutineerAssigned,
)
from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    ChecklistDrafted,
    ChecklistPublished,
    Difference,
    Item,
    VersionPublished,
)
from domain.inspections.checks import (
    CheckHeld,
    CheckValue,
    ConflictFound,
    ConflictResolved,
    DefectCleared,
    DefectFound,
    ItemChecked,
    ItemLocked,
)
from domain.inspections.follow_ups import FOLLOW_UPS, FollowUpOpened, FollowUpResolved
from domain.inspections.inspections import (
    INSPECTIONS,
    AdHocItemAdded,
    ChecklistMigrated,
    FeedbackGiven,
    InspectionCompleted,
    InspectionPrepared,
    InspectionReopened,
    InspectionStarted,
    InspectionSuspended,
)
from domain.inspections.passports import PASSPORTS, ApprovalGiven, ApprovalReopened, ApprovalRevoked
from domain.inspections.reports import CLIENT_REPORTS, ClientAlerted, ClientMeasured
from domain.inspections.types import INSPECTION_TYPES, ClassRules, InspectionTypeDefined, Rules
from domain.kernel import Recorded
from domain.people import PEOPLE, TEAMS, MemberEnlisted, PersonRegistered, TeamRegistered
from tests.given import recorded

Story = list[Recorded[Any]]
NOW = datetime.now(UTC).replace(microsecond=0)
PASSED = CheckValue(status="passed")
FAILED = CheckValue(status="failed", comment="Loose bolt")

PAPERS = Rules(
    name="Papers",
    duration_minutes=20,
    classes=(ClassRules(vehicle_class="EV"), ClassRules(vehicle_class="CV")),
)
MECHANICAL = Rules(
    name="Mechanical",
    duration_minutes=60,
    classes=(
        ClassRules(vehicle_class="EV", prerequisites=("papers",), attendees=("electrical_safety_officer",)),
        ClassRules(vehicle_class="CV", prerequisites=("papers",)),
    ),
)
FIRST = (
    Item(code="A1", section="A", description="Car is clean", order_index=1),
    Item(code="A2", section="A", description="Bolts are tight", order_index=2, parent_code="A1"),
    Item(code="A3", section="A", description="Cells are covered", order_index=3, vehicle_class="EV", required=False),
    Item(code="B1", section="B", description="Tank is tight", order_index=1, vehicle_class="CV"),
    Item(code="B2", section="B", description="Brakes hold", order_index=2),
)
SECOND = (
    Item(code="A1", section="A", description="Car is clean and dry", order_index=1),
    *FIRST[2:],
    Item(code="C1", section="C", description="Seat is fixed", order_index=1),
)
EXTRA = Item(code="X1", section="Other", description="Strange noise")


def at(minutes: float) -> datetime:
    """A moment of the day."""
    return NOW - timedelta(minutes=120 - minutes)


def begun() -> Story:
    """People, teams, types, and a checklist."""
    people = {"ida": None, "mia": None, "leo": None, "eva": "volt", "max": "torque"}
    return [
        *(
            one
            for id, team in people.items()
            for one in recorded(PEOPLE, PersonRegistered(name=id.title(), user=id, team_id=team), id=id, at=at(0))
        ),
        *recorded(
            TEAMS,
            TeamRegistered(name="Volt", code="VLT", vehicle_class="EV", university="Ljubljana", number=7),
            MemberEnlisted(person_id="eva", user="eva", roles=("team_leader",)),
            id="volt",
            at=at(0),
        ),
        *recorded(
            TEAMS,
            TeamRegistered(name="Torque", code="TRQ", vehicle_class="CV"),
            MemberEnlisted(person_id="max", user="max", roles=("team_leader",)),
            id="torque",
            at=at(0),
        ),
        *recorded(INSPECTION_TYPES, InspectionTypeDefined(rules=PAPERS), id="papers", at=at(0)),
        *recorded(INSPECTION_TYPES, InspectionTypeDefined(rules=MECHANICAL), id="mech", at=at(0)),
        *recorded(CHECKLISTS, ChecklistDrafted(items=FIRST, source="sheet.csv"), id="mech", at=at(1)),
        *published(1, FIRST),
    ]


def published(version: int, items: tuple[Item, ...], minute: float = 2, id: str = "mech") -> Story:
    """A version of a checklist, that of mechanical inspections unless another one is named."""
    version_published = VersionPublished(checklist_id=id, version=version, items=items)
    return [
        *recorded(CHECKLIST_VERSIONS, version_published, id=f"{id}.{version}", at=at(minute)),
        *recorded(CHECKLISTS, ChecklistPublished(version=version, items=len(items)), id=id, at=at(minute)),
    ]


def booked(id: str, team: str = "volt", kind: str = "mech", minute: float = 10) -> Story:
    """A team is here for an inspection, which Mia is to do."""
    vehicle_class = "EV" if team == "volt" else "CV"
    request = BookingRequested(
        team_id=team,
        inspection_type_id=kind,
        vehicle_class=vehicle_class,  # type: ignore[arg-type]
        lane=1,
        starts_at=at(minute),
        ends_at=at(minute + 60),
        day=at(minute).date(),
        held_until=at(minute + 1),
        notes="Please be quick",
        by="eva",
    )
    here = BookingCheckedIn(
        team_id=team,
        inspection_type_id=kind,
        vehicle_class=vehicle_class,  # type: ignore[arg-type]
        attendees=("eva",),
    )
    assigned = ScrutineerAssigned(person_id="mia", by="ana")
    return recorded(BOOKINGS, request, BookingConfirmed(), here, assigned, id=id, at=at(minute))


def started(id: str, team: str = "volt", kind: str = "mech", minute: float = 11, version: int | None = 1) -> Story:
    """An inspection is on its way."""
    prepared = InspectionPrepared(
        team_id=team,
        inspection_type_id=kind,
        vehicle_class="EV" if team == "volt" else "CV",
    )
    begun = InspectionStarted(checklist_version=version, by="mia", at=at(minute))
    return [
        *booked(id, team, kind, minute - 1),
        *recorded(INSPECTIONS, prepared, begun, id=id, at=at(minute)),
        *recorded(BOOKINGS, BookingStarted(), id=id, at=at(minute)),
    ]


def checked(item: str, value: CheckValue = PASSED, revision: int = 1, by: str = "mia", **more: Any) -> ItemChecked:
    """Somebody says something of an item."""
    based_on = more.pop("based_on", revision - 1)
    return ItemChecked(item=item, revision=revision, value=value, by=by, at=at(20), based_on=based_on, **more)


def clash(item: str, number: int = 1) -> ConflictFound:
    """Leo, who had not seen what Mia said of an item, says otherwise."""
    return ConflictFound(
        number=number,
        item=item,
        clash=("status",),
        base=CheckValue(comment="Look closer"),
        current=CheckValue(status="passed", comment="Fine"),
        current_revision=1,
        current_by="mia",
        current_at=at(20),
        incoming=FAILED,
        incoming_by="leo",
        incoming_at=at(21),
        based_on=0,
    )


def resolved(item: str, number: int = 1, revision: int = 2) -> ConflictResolved:
    """What came in is what holds."""
    return ConflictResolved(
        number=number, item=item, resolution="accept_incoming", value=FAILED, revision=revision, by="ida", at=at(30)
    )


def held(item: str, step: int = 2) -> CheckHeld:
    """A check of Leo's tablet that came before the one that it follows."""
    return CheckHeld(branch="tablet", step=step, item=item, value=FAILED, based_on=0, by="leo", at=at(22), since=at(22))


def busy() -> Story:
    """Everything that may happen while the electric car is inspected."""
    attachment = AttachmentDeclared(
        booking_id="busy",
        team_id="volt",
        name="bolt.jpg",
        size=1_000,
        media_type="image/jpeg",
        sha256="ab" * 32,
        key="key",
        complete_by=NOW,
        by="mia",
        item="A2",
    )
    return [
        *started("busy"),
        *recorded(
            INSPECTIONS,
            AdHocItemAdded(item=EXTRA, by="mia"),
            checked("A1"),
            clash("A1"),
            checked("A2", FAILED, by="leo"),
            DefectFound(number=1, item="A2", comment="Loose bolt", by="leo"),
            checked("B2", by="mia"),
            clash("B2", 2),
            resolved("B2", 2),
            checked("X1", CheckValue(status="not_applicable"), by="leo", merge="merged"),
            ItemLocked(item="A3", by="mia"),
            held("A3"),
            id="busy",
            at=at(20),
        ),
        *recorded(
            FOLLOW_UPS, FollowUpOpened(inspection_id="busy", item="A2", comment="Loose bolt"), id="busy.1", at=NOW
        ),
        *recorded(ATTACHMENTS, attachment, id="photo", at=at(23)),
    ]


def over() -> Story:
    """What is over: the papers of the electric car, which are judged anew later."""
    completed = InspectionCompleted(
        team_id="volt",
        inspection_type_id="papers",
        result="conditional_pass",
        seconds=600,
        by="mia",
        notes="Fine",
        conditions=("Until Sunday",),
        reasons=("A label is missing",),
        next_steps=("Bring the label",),
    )
    feedback = FeedbackGiven(score=5, by="eva", comment="Quick")
    return [
        *started("over", kind="papers", minute=5, version=None),
        *recorded(
            INSPECTIONS,
            InspectionSuspended(reason="Lunch", at=at(6)),
            InspectionReopened(reason="Wrong car", by="ana", at=at(7)),
            completed,
            feedback,
            id="over",
            at=at(8),
        ),
        *recorded(
            PASSPORTS,
            ApprovalGiven(inspection_type_id="papers", inspection_id="over", result="conditional_pass"),
            ApprovalGiven(inspection_type_id="mech", inspection_id="before", result="passed"),
            ApprovalRevoked(inspection_type_id="papers", inspection_id="over", reason="Car was changed", by="ana"),
            ApprovalReopened(inspection_type_id="mech", inspection_id="before", because="papers"),
            ApprovalGiven(inspection_type_id="rain", inspection_id="rainy", result="passed"),
            id="volt",
            at=at(8),
        ),
    ]


def elsewhere() -> Story:
    """The other car, whose inspection goes on by another version; follow-ups that are done; what applications report."""
    migrated = ChecklistMigrated(from_version=1, to_version=2, difference=Difference(added=("C1",), removed=("A2",)))
    return [
        *started("other", team="torque", minute=12),
        *recorded(
            INSPECTIONS,
            AdHocItemAdded(item=replace(SECOND[-1], section="Other"), by="mia"),
            checked("A2", FAILED),
            checked("B2"),
            clash("B2"),
            id="other",
            at=at(20),
        ),
        *recorded(CHECKLISTS, ChecklistDrafted(items=SECOND), id="mech", at=at(29)),
        *published(2, SECOND, 30),
        *recorded(
            INSPECTIONS,
            migrated,
            checked("B1", FAILED),
            DefectFound(number=1, item="B1", comment=None, by="mia"),
            checked("B1", revision=2),
            DefectCleared(number=1, item="B1", by="mia"),
            checked("B1", FAILED, revision=3),
            DefectFound(number=2, item="B1", comment=None, by="mia"),
            id="other",
            at=at(31),
        ),
        *started("waits", team="torque", minute=14),
        *recorded(INSPECTIONS, InspectionSuspended(reason="Rain", at=at(15)), id="waits", at=at(15)),
        *recorded(
            FOLLOW_UPS,
            FollowUpOpened(inspection_id="other", item="A2"),
            FollowUpResolved(note="Tight"),
            id="other.1",
            at=at(32),
        ),
        *recorded(
            PASSPORTS, ApprovalGiven(inspection_type_id="papers", inspection_id="x", result="passed"), id="torque"
        ),
        *recorded(
            CLIENT_REPORTS,
            ClientAlerted(kind="inspection_failure", error="offline", booking_id="busy"),
            id="alert",
            at=at(33),
        ),
        *recorded(
            CLIENT_REPORTS,
            ClientMeasured(event="check", action="passed", booking_id="busy", milliseconds=120),
            id="measured",
            at=at(34),
        ),
    ]


def whole() -> Story:
    """The whole day."""
    return [*begun(), *busy(), *over(), *elsewhere()]
