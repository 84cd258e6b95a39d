"""Client reports: what applications noticed on their own side."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from domain.inspections.reports import CLIENT_REPORTS, ClientAlerted, ClientMeasured
from domain.kernel import Recorded
from projections.kernel import Look, View, row


@row
class ClientReportRow:
    """An alert (what failed, and how) or a measurement (what was done, and how long it took)."""

    id: str
    kind: Literal["alert", "measurement"]
    about: str
    error: str | None = None
    action: str | None = None
    booking_id: str | None = None
    milliseconds: int | None = None
    at: datetime


def alerted(_: ClientReportRow | None, happened: Recorded[ClientAlerted], look: Look) -> ClientReportRow:
    fact = happened.fact
    return ClientReportRow(
        id=happened.id, kind="alert", about=fact.kind, error=fact.error, booking_id=fact.booking_id, at=happened.at
    )


def measured(_: ClientReportRow | None, happened: Recorded[ClientMeasured], look: Look) -> ClientReportRow:
    fact = happened.fact
    return ClientReportRow(
        id=happened.id,
        kind="measurement",
        about=fact.event,
        action=fact.action,
        booking_id=fact.booking_id,
        milliseconds=fact.milliseconds,
        at=happened.at,
    )


CLIENT_REPORTS_VIEW = View(
    name="client_reports",
    row=ClientReportRow,
    key=("id",),
    filters=("kind",),
    indexes=("at desc, id desc",),
    folds={CLIENT_REPORTS: {ClientAlerted: alerted, ClientMeasured: measured}},
)
