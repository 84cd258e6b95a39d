"""Client reports: `GET /client-reports`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Officials

router = APIRouter(tags=["client reports"])

ITEM = """json_build_object('id', t.id, 'kind', t.kind, 'about', t.about, 'error', t.error, 'action', t.action,
    'booking_id', t.booking_id, 'milliseconds', t.milliseconds, 'at', t.at)"""


class ClientReport(Shown):
    """What an application noticed: an alert (`about` says what failed) or a measurement (of what event, and which action)."""

    id: str
    kind: Literal["alert", "measurement"]
    about: str
    error: str | None
    action: str | None
    booking_id: str | None
    milliseconds: int | None
    at: datetime


class Wanted(Paging):
    """Which reports."""

    kind: Literal["alert", "measurement"] | None = None


CLIENT_REPORTS = Listing(
    name="client-reports",
    scope=PADDOCK,
    context="inspections",
    view="client_reports",
    wanted=Wanted,
    item=ITEM,
    shown=ClientReport,
    order=("t.at", "t.id"),
    descending=True,
    filters={"kind": Filter("kind")},
    whole=True,
)


@router.get("/client-reports", response_model=Page[ClientReport])
async def client_reports(ask: Officials, wanted: Annotated[Wanted, Query()]) -> Response:
    """What applications noticed on their own side, the latest first."""
    return await ask.page(CLIENT_REPORTS, wanted)
