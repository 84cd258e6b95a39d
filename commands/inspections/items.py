"""What is looked at in an inspection: the items of its version of the checklist for its class of cars, and ad-hoc ones."""

from __future__ import annotations

from collections.abc import Mapping

from commands.kernel import Asked, Consults
from domain.inspections.checklists import CHECKLIST_VERSIONS, Item, version_id
from domain.inspections.inspections import Inspection, InspectionNotOngoing, InspectionOver


def version_of(inspection: Inspection) -> Consults:
    """Name the version of the checklist that the inspection goes by, if there is one."""
    if inspection.checklist_version is not None:
        yield CHECKLIST_VERSIONS, version_id(inspection.inspection_type_id, inspection.checklist_version)


def sheet(inspection: Inspection, asked: Asked) -> Mapping[str, Item]:
    """Return the items of the version, which the command has consulted."""
    if inspection.checklist_version is None:
        return {}
    id = version_id(inspection.inspection_type_id, inspection.checklist_version)
    return asked.seen[CHECKLIST_VERSIONS, id].of(inspection.vehicle_class)


def has_item(inspection: Inspection, asked: Asked, code: str) -> bool:
    """Say whether an item counts."""
    return code in inspection.ad_hoc or code in sheet(inspection, asked)


def all_items(inspection: Inspection, asked: Asked) -> Mapping[str, Item]:
    """Return all items that count."""
    return {**inspection.ad_hoc, **sheet(inspection, asked)}


def must_be_under_way(inspection: Inspection) -> None:
    """Raise InspectionNotOngoing before the start and InspectionOver after the end; it may be suspended."""
    if inspection.status == "completed":
        raise InspectionOver
    if inspection.status not in ("ongoing", "suspended"):
        raise InspectionNotOngoing(status=inspection.status)


def must_be_ongoing(inspection: Inspection) -> None:
    """Raise InspectionOver or InspectionNotOngoing unless the inspection is being worked on."""
    must_be_under_way(inspection)
    if inspection.status != "ongoing":
        raise InspectionNotOngoing(status=inspection.status)
