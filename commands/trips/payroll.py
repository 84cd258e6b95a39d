"""What may be asked of payroll periods."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Consults, Day, Decision, Text, on
from commands.trips.roles import OFFICE
from domain.trips.payroll import (
    PAY_DAYS,
    NoSuchLine,
    PayDayClosed,
    PayrollLineCorrected,
    PayrollPeriod,
    PayrollPeriodClosed,
    PeriodAlreadyClosed,
    PeriodNotClosed,
    PeriodsOverlap,
    days_between,
    lines_of,
)

MOST_DAYS = 62


class ClosePayrollPeriod(Command):
    """Fix the payroll lines of all trips completed from one local date through another (at most 62 days)."""

    model_config = ConfigDict(validate_by_name=True)

    from_date: Day = Field(alias="from")
    to_date: Day = Field(alias="to")
    allows: ClassVar = OFFICE
    refuses: ClassVar = (PeriodAlreadyClosed, PeriodsOverlap)
    creates: ClassVar = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= (self.to_date - self.from_date).days < MOST_DAYS:
            raise PydanticCustomError("period", "`to` is on or after `from`, and a period has at most 62 days")
        return self

    def _days(self) -> Iterator[date]:
        return days_between(self.from_date, self.to_date)

    def consults(self, period: PayrollPeriod, asked: Asked) -> Consults:
        for day in self._days():
            yield PAY_DAYS, str(day)

    def decide(self, period: PayrollPeriod, asked: Asked) -> Decision:
        if period.closed:
            raise PeriodAlreadyClosed
        days = {day: asked.seen[PAY_DAYS, str(day)] for day in self._days()}
        for day, pay in days.items():
            if pay.period is not None:
                raise PeriodsOverlap(day=day.isoformat(), period=pay.period)
        lines = lines_of(trip for pay in days.values() for trip in pay.priced.values())
        yield PayrollPeriodClosed(from_date=self.from_date, to_date=self.to_date, lines=tuple(lines))
        for day in days:
            yield on(PAY_DAYS, str(day), PayDayClosed(period=asked.id))


class CorrectPayrollLine(Command):
    """Give a line of a closed period, or one that a late change made, another amount."""

    line: Annotated[str, Field(min_length=1, max_length=400)]
    amount_minor: Annotated[int, Field(ge=-(10**15), le=10**15)]
    reason: Text
    allows: ClassVar = OFFICE
    refuses: ClassVar = (PeriodNotClosed, NoSuchLine)
    respects_lock: ClassVar = True

    def consults(self, period: PayrollPeriod, asked: Asked) -> Consults:
        if self.line not in period.lines:
            for day in period.days:
                yield PAY_DAYS, str(day)

    def decide(self, period: PayrollPeriod, asked: Asked) -> Decision:
        if not period.closed:
            raise PeriodNotClosed
        if self.line not in period.lines and not self._is_new(period, asked):
            raise NoSuchLine(line=self.line)
        yield PayrollLineCorrected(line=self.line, amount_minor=self.amount_minor, reason=self.reason)

    def _is_new(self, period: PayrollPeriod, asked: Asked) -> bool:
        trips = (trip for day in period.days for trip in asked.seen[PAY_DAYS, str(day)].priced.values())
        return any(line.line == self.line for line in lines_of(trips))
