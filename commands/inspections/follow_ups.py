"""What may be asked of follow-ups."""

from typing import ClassVar

from commands.kernel import Asked, Command, Decision, Text
from domain.inspections.follow_ups import FollowUp, FollowUpIsResolved, FollowUpOpened, FollowUpResolved
from domain.roles import CREW, Role


class OpenFollowUp(Command):
    """Take note that there is something to mend, as an item failed."""

    inspection_id: str
    item: str
    comment: str | None = None
    allows: ClassVar = frozenset({Role.SYSTEM})
    creates: ClassVar = True

    def decide(self, follow_up: FollowUp, asked: Asked) -> Decision:
        if follow_up.status != "open":
            yield FollowUpOpened(inspection_id=self.inspection_id, item=self.item, comment=self.comment)


class ResolveFollowUp(Command):
    """Take note that it was mended; Fieldlog does so by itself where the item does not fail any more."""

    note: Text | None = None
    allows: ClassVar = CREW | {Role.SYSTEM}
    refuses: ClassVar = (FollowUpIsResolved,)

    def decide(self, follow_up: FollowUp, asked: Asked) -> Decision:
        if follow_up.status == "open":
            yield FollowUpResolved(note=self.note)
        elif Role.SYSTEM not in asked.by.roles:  # whose note would be lost
            raise FollowUpIsResolved
