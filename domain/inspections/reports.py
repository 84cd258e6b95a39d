"""Client reports: what an application noticed on its own side, an alert or a measurement; the id is the client's.

(none) --alert, measure--> reported
"""

from __future__ import annotations

from dataclasses import replace

from domain.kernel import Refused, Stream, fact, state


@fact
class ClientAlerted:
    """An application failed at something that somebody wanted."""

    kind: str
    error: str
    booking_id: str | None = None


@fact
class ClientMeasured:
    """An application took note of what somebody did, and of how long that took (milliseconds)."""

    event: str
    action: str
    booking_id: str | None = None
    milliseconds: int | None = None


@state
class ClientReport:
    """Whether it was reported."""

    reported: bool = False


def evolve(report: ClientReport, happened: object) -> ClientReport:
    """Return the report after what happened."""
    match happened:
        case ClientAlerted() | ClientMeasured():
            return replace(report, reported=True)
    return report


CLIENT_REPORTS = Stream(
    "client-reports",
    ClientReport(),
    evolve,
    {"client-reports.alerted.v1": ClientAlerted, "client-reports.measured.v1": ClientMeasured},
)


class AlreadyReported(Refused):
    """This was reported already."""
