"""What applications report of their own side."""

from typing import Annotated, ClassVar

from pydantic import Field

from commands.kernel import Asked, Command, Decision, Id, Name, Text
from domain.inspections.reports import AlreadyReported, ClientAlerted, ClientMeasured, ClientReport
from domain.roles import CREW, Role

PADDOCK = CREW | {Role.TEAM_LEADER, Role.TEAM_MEMBER, Role.VIEWER}
A_DAY_MS = 86_400_000


class ReportAlert(Command):
    """Say that an application failed at something that somebody wanted."""

    kind: Name
    error: Text
    booking_id: Id | None = None
    allows: ClassVar = PADDOCK
    refuses: ClassVar = (AlreadyReported,)
    creates: ClassVar = True

    def decide(self, report: ClientReport, asked: Asked) -> Decision:
        if report.reported:
            raise AlreadyReported
        yield ClientAlerted(kind=self.kind, error=self.error, booking_id=self.booking_id)


class ReportMeasurement(Command):
    """Say what somebody did in an application, and how long it took."""

    event: Name
    action: Name
    booking_id: Id | None = None
    milliseconds: Annotated[int, Field(ge=0, le=A_DAY_MS)] | None = None
    allows: ClassVar = PADDOCK
    refuses: ClassVar = (AlreadyReported,)
    creates: ClassVar = True

    def decide(self, report: ClientReport, asked: Asked) -> Decision:
        if report.reported:
            raise AlreadyReported
        yield ClientMeasured(
            event=self.event, action=self.action, booking_id=self.booking_id, milliseconds=self.milliseconds
        )
