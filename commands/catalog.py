"""Every command there is: by stream, the verb of its path and its class."""

from collections.abc import Mapping

from commands.attachments import AbandonAttachment, CompleteAttachment, DeclareAttachment, ExpectAttachment
from commands.bookings.bookings import (
    CancelBooking,
    CheckInBooking,
    CompleteBooking,
    ConfirmBooking,
    ContinueBooking,
    ExpireHold,
    MarkNoShow,
    PrioritizeBooking,
    RequestBooking,
    RescheduleBooking,
    StartBooking,
)
from commands.bookings.scrutineers import AssignScrutineer, RemoveScrutineer
from commands.inspections.checklists import DraftChecklist, DraftItem, DropItem, PublishChecklist, RetireChecklist
from commands.inspections.checks import CheckItem, LockItem, ReleaseHeldChecks, ResolveConflict, UnlockItem
from commands.inspections.follow_ups import OpenFollowUp, ResolveFollowUp
from commands.inspections.inspections import (
    AddAdHocItem,
    CompleteInspection,
    GiveFeedback,
    MigrateChecklist,
    PrepareInspection,
    ReopenInspection,
    ResumeInspection,
    StartInspection,
    SuspendInspection,
)
from commands.inspections.passports import RevokeApproval
from commands.inspections.reports import ReportAlert, ReportMeasurement
from commands.inspections.types import (
    DefineInspectionType,
    OfferInspectionType,
    RetireInspectionType,
    ReviseInspectionType,
)
from commands.kernel import Command
from commands.people import (
    AnnounceAvailability,
    ChangeContact,
    GiveRole,
    LeavePerson,
    RegisterPerson,
    RegisterTeam,
    WithdrawRole,
    WithdrawTeam,
)
from commands.tenants import ChangeTimeZone, ExpireFixes, OpenTenant, SetRetention
from commands.trips.drivers import (
    AssignTruck,
    DisableTracking,
    EnableTracking,
    GoOffDuty,
    GoOnDuty,
    GoOnLeave,
    RecordDriverLocations,
    RegisterDriver,
)
from commands.trips.payroll import ClosePayrollPeriod, CorrectPayrollLine
from commands.trips.sites import ChangeRate, CloseSite, RegisterSite
from commands.trips.trips import (
    CancelTrip,
    CompleteTrip,
    CondenseTrack,
    FlagTrip,
    RecordLoad,
    RecordTripLocations,
    ScheduleTrip,
    StartTrip,
)
from commands.trips.trucks import (
    ActivateTruck,
    DeactivateTruck,
    RegisterTruck,
    ReturnTruckFromMaintenance,
    SendTruckToMaintenance,
)

COMMANDS: Mapping[str, Mapping[str, type[Command]]] = {
    "tenants": {
        "open": OpenTenant,
        "change-time-zone": ChangeTimeZone,
        "set-retention": SetRetention,
        "expire-fixes": ExpireFixes,
    },
    "attachments": {
        "declare": DeclareAttachment,
        "expect": ExpectAttachment,
        "complete": CompleteAttachment,
        "abandon": AbandonAttachment,
    },
    "people": {
        "register": RegisterPerson,
        "change-contact": ChangeContact,
        "give-role": GiveRole,
        "withdraw-role": WithdrawRole,
        "announce-availability": AnnounceAvailability,
        "leave": LeavePerson,
    },
    "teams": {
        "register": RegisterTeam,
        "withdraw": WithdrawTeam,
    },
    "bookings": {
        "request": RequestBooking,
        "confirm": ConfirmBooking,
        "reschedule": RescheduleBooking,
        "prioritize": PrioritizeBooking,
        "cancel": CancelBooking,
        "mark-no-show": MarkNoShow,
        "check-in": CheckInBooking,
        "assign-scrutineer": AssignScrutineer,
        "remove-scrutineer": RemoveScrutineer,
        "expire-hold": ExpireHold,
        "start": StartBooking,
        "complete": CompleteBooking,
        "continue": ContinueBooking,
    },
    "inspection-types": {
        "define": DefineInspectionType,
        "revise": ReviseInspectionType,
        "retire": RetireInspectionType,
        "offer": OfferInspectionType,
    },
    "checklist-templates": {
        "draft": DraftChecklist,
        "draft-item": DraftItem,
        "drop-item": DropItem,
        "publish": PublishChecklist,
        "retire": RetireChecklist,
    },
    "passports": {
        "revoke": RevokeApproval,
    },
    "follow-ups": {
        "open": OpenFollowUp,
        "resolve": ResolveFollowUp,
    },
    "client-reports": {
        "alert": ReportAlert,
        "measure": ReportMeasurement,
    },
    "inspections": {
        "prepare": PrepareInspection,
        "start": StartInspection,
        "migrate-checklist": MigrateChecklist,
        "add-ad-hoc-item": AddAdHocItem,
        "check": CheckItem,
        "lock-item": LockItem,
        "unlock-item": UnlockItem,
        "resolve-conflict": ResolveConflict,
        "release-held-checks": ReleaseHeldChecks,
        "suspend": SuspendInspection,
        "resume": ResumeInspection,
        "complete": CompleteInspection,
        "reopen": ReopenInspection,
        "give-feedback": GiveFeedback,
    },
    "trucks": {
        "register": RegisterTruck,
        "activate": ActivateTruck,
        "deactivate": DeactivateTruck,
        "send-to-maintenance": SendTruckToMaintenance,
        "return-from-maintenance": ReturnTruckFromMaintenance,
    },
    "drivers": {
        "register": RegisterDriver,
        "go-on-duty": GoOnDuty,
        "go-off-duty": GoOffDuty,
        "go-on-leave": GoOnLeave,
        "assign-truck": AssignTruck,
        "enable-tracking": EnableTracking,
        "disable-tracking": DisableTracking,
        "record-locations": RecordDriverLocations,
    },
    "sites": {
        "register": RegisterSite,
        "change-rate": ChangeRate,
        "close": CloseSite,
    },
    "trips": {
        "schedule": ScheduleTrip,
        "start": StartTrip,
        "record-locations": RecordTripLocations,
        "record-load": RecordLoad,
        "complete": CompleteTrip,
        "cancel": CancelTrip,
        "flag": FlagTrip,
        "condense-track": CondenseTrack,
    },
    "driver-days": {
        "condense-track": CondenseTrack,
    },
    "payroll-periods": {
        "close": ClosePayrollPeriod,
        "correct": CorrectPayrollLine,
    },
}
