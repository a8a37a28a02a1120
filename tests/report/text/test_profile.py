"""The table of where the time went."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from vaeaudit import AuditReport
from vaeaudit.report import codec
from vaeaudit.report.provenance import Work
from vaeaudit.report.text.profile import print_profile

SECONDS = {"probe": 0.5, "targeted attack": 1234.5, "untargeted attack": 0.0, "spectra": 265.0}
WORK = {
    "targeted attack": Work(model_seconds=617.25, gradients=123_456_789),
    "untargeted attack": Work(model_seconds=0.0, gradients=0),
    "spectra": Work(model_seconds=9.0, gradients=0),
}


@pytest.fixture
def report(make_report: Callable[..., AuditReport]) -> AuditReport:
    made = make_report(gallery=False)
    return dataclasses.replace(made, provenance=dataclasses.replace(made.provenance, seconds=SECONDS, work=WORK))


def _lines(report: AuditReport) -> list[str]:
    file = io.StringIO()
    print_profile(report, Console(file=file, width=80, color_system=None))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def _row(lines: list[str], name: str) -> str:
    (row,) = [line for line in lines if line.startswith(name)]
    return row


def test_each_measurement_has_its_seconds_share_and_work(report: AuditReport) -> None:
    lines = _lines(report)
    assert _row(lines, "probe").split() == ["probe", "0.50", "0", "%", "–", "–", "–"]
    assert _row(lines, "targeted").split() == [
        *("targeted", "attack", "1234.50", "82", "%", "50", "%", "123,456,789", "100,005"),
    ]
    assert _row(lines, "all").split() == ["all", "1500.00", "100", "%", "123,456,789"]


def test_without_counted_gradients_nothing_is_said_of_the_model(report: AuditReport) -> None:
    assert _row(_lines(report), "spectra").split() == ["spectra", "265.00", "18", "%", "–", "–", "–"]


def test_the_table_is_aligned_and_fits_eighty_columns(report: AuditReport) -> None:
    lines = _lines(report)
    assert max(map(len, lines)) <= 80
    ends = {_row(lines, name).index(" %") for name in ("probe", "targeted attack", "spectra", "all")}
    assert len(ends) == 1
    points = {_row(lines, name).index(".") for name in ("probe", "targeted attack", "spectra", "all")}
    assert len(points) == 1


def test_that_times_of_several_devices_add_up_is_said_where_there_are_several(report: AuditReport) -> None:
    said = "several devices add up"
    assert said not in " ".join(_lines(report))
    source = dataclasses.replace(report.provenance, environment={"devices": "2"})
    assert said in " ".join(_lines(dataclasses.replace(report, provenance=source)))


def test_an_audit_that_took_no_time_is_printed(report: AuditReport) -> None:
    source = dataclasses.replace(report.provenance, seconds={"probe": 0.0}, work={})
    lines = _lines(dataclasses.replace(report, provenance=source))
    assert _row(lines, "all").split() == ["all", "0.00", "–", "0"]


def test_work_is_saved_with_the_report(report: AuditReport) -> None:
    again = AuditReport.from_dict(report.to_dict())
    assert codec.equal(again, report)
    assert again.provenance.work == WORK
