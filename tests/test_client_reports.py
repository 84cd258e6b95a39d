"""Client reports: what applications notice on their own side, bounded and once."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from commands.inspections.reports import ReportAlert, ReportMeasurement
from domain.inspections.reports import CLIENT_REPORTS, AlreadyReported, ClientAlerted, ClientMeasured
from tests.given import given

ALERT = ReportAlert(kind="inspection_failure", error="Timeout", booking_id="b1")
MEASURE = ReportMeasurement(event="checklist", action="save", booking_id="b1", milliseconds=120)
ALERTED = ClientAlerted(kind="inspection_failure", error="Timeout", booking_id="b1")
MEASURED = ClientMeasured(event="checklist", action="save", booking_id="b1", milliseconds=120)


def test_an_alert_and_a_measurement_are_taken_in() -> None:
    given(CLIENT_REPORTS).when(ALERT).then(ALERTED)
    given(CLIENT_REPORTS).when(MEASURE).then(MEASURED)


def test_what_was_reported_is_not_reported_again() -> None:
    given(CLIENT_REPORTS, MEASURED).when(ALERT).refused(AlreadyReported)
    given(CLIENT_REPORTS, ALERTED).when(MEASURE).refused(AlreadyReported)


def test_reports_are_bounded() -> None:
    with pytest.raises(ValidationError):
        ReportAlert(kind="inspection_failure", error="x" * 2_001)
    with pytest.raises(ValidationError):
        ReportMeasurement(event="checklist", action="save", milliseconds=86_400_001)
