"""A report survives being saved, and what is no report is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.files import write_atomically
from vaeaudit.report.model import AuditReport, load
from vaeaudit.statistics import Estimate
from vaeaudit.verdict import at_least, at_most

from .conftest import INVALID, NO_FIGURE, MakeReport


def _refuse(constant: str) -> None:
    raise AssertionError(f"not strict JSON: {constant}")


def _tampered(report: AuditReport, **changes: Any) -> dict[str, Any]:
    return {**report.to_dict(), **changes}


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"censored": 5, "excluded": 3, "health": (INVALID,)},
        {"sections": False, "gallery": False, "health": ()},
        {"pairs": 1, "strengths": 1, "hinge": NO_FIGURE},
        {"event": (30,)},
    ],
)
def test_a_loaded_report_equals_the_saved_one(make_report: MakeReport, tmp_path: Path, variant: dict[str, Any]) -> None:
    report = make_report(**variant)
    folder = report.save(tmp_path / "deep" / "report")
    assert load(folder) == report
    assert load(folder / "report.json") == report


def test_not_a_number_and_infinity_survive(make_report: MakeReport, tmp_path: Path) -> None:
    hinge = Estimate(value=math.nan, low=-math.inf, high=math.inf, n=0)
    loaded = load(make_report(hinge=hinge, excluded=2).save(tmp_path))
    assert math.isnan(loaded.hinge.value)
    assert (loaded.hinge.low, loaded.hinge.high) == (-math.inf, math.inf)
    assert np.isnan(loaded.curves.gap[:2]).all()


def test_the_file_is_strict_json(make_report: MakeReport, tmp_path: Path) -> None:
    folder = make_report(hinge=NO_FIGURE, excluded=2).save(tmp_path)
    text = (folder / "report.json").read_text()
    assert json.loads(text, parse_constant=_refuse)["hinge"]["value"] == "NaN"


def test_reports_that_differ_are_not_equal(make_report: MakeReport) -> None:
    report = make_report()
    curves = dataclasses.replace(report.curves, hinge=report.curves.hinge + 1e-12)
    assert report != dataclasses.replace(report, curves=curves)
    assert report != dataclasses.replace(report, gallery=None)
    assert report != "report"


def test_arrays_keep_their_types(make_report: MakeReport, tmp_path: Path) -> None:
    loaded = load(make_report().save(tmp_path))
    assert loaded.curves.converged.dtype == np.bool_
    assert loaded.curves.targets.dtype == np.int64
    assert loaded.curves.gap.dtype == np.float64
    assert loaded.gallery is not None
    assert loaded.gallery.originals.dtype == np.float32


def test_builtin_types_turn_back_into_the_report(make_report: MakeReport) -> None:
    report = make_report()
    assert AuditReport.from_dict(report.to_dict(), report.gallery) == report


def test_without_its_arrays_a_report_loads_without_pictures(make_report: MakeReport, tmp_path: Path) -> None:
    report = make_report()
    (report.save(tmp_path) / "arrays.npz").unlink()
    assert load(tmp_path) == dataclasses.replace(report, gallery=None)


def test_saving_leaves_three_files_and_nothing_else(make_report: MakeReport, tmp_path: Path) -> None:
    make_report().save(tmp_path)
    make_report(pairs=10).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "report.html", "report.json"]
    assert len(load(tmp_path).curves.hinge) == 10


def test_a_write_that_fails_keeps_the_old_file_and_no_scraps(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")

    def fail(file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no report at .*nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_corrupt_file_is_not_a_report(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(ReportError, match="is not a report"):
        load(tmp_path)


def test_a_truncated_report_is_refused(make_report: MakeReport, tmp_path: Path) -> None:
    file = make_report().save(tmp_path) / "report.json"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ReportError, match="is not a report"):
        load(file)


@pytest.mark.parametrize("content", ["[]", "{}", "3", "null", '{"name": "package", "version": "1"}'])
def test_foreign_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ReportError, match="expected a vaeaudit report"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "schema 99, this version reads 1"),
        ({"surprise": 1}, r"unknown \['surprise'\]"),
        ({"name": 3}, "report.name: expected a str, got '3'"),
        ({"hinge": 0.5}, "report.hinge: expected an object"),
        ({"hinge": {"value": 1}}, r"report.hinge: missing \['low'"),
        ({"health": {}}, "report.health: expected a list"),
        ({"curves": None}, "report.curves: expected an object"),
    ],
)
def test_a_report_of_another_shape_says_where(make_report: MakeReport, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        AuditReport.from_dict(_tampered(make_report(), **changes))


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("hinge", "n", "many", "report.hinge.n: expected a int"),
        ("hinge", "n", True, "report.hinge.n: expected a int"),
        ("hinge", "value", "0.5", "report.hinge.value: expected a number"),
        ("hinge", "statistic", "mode", "report.hinge.statistic: expected one of 'median'"),
        ("hinge", "low", 9.0, "report.hinge: an interval runs from low to high"),
        ("curves", "gap", [[1.0], [1.0, 2.0]], "report.curves.gap: expected an array of float64"),
        ("curves", "originals", [10**30], "report.curves.originals: expected an array of int64"),
    ],
)
def test_a_wrong_value_inside_says_where(
    make_report: MakeReport, part: str, field: str, value: Any, message: str
) -> None:
    report = make_report()
    data = _tampered(report, **{part: {**report.to_dict()[part], field: value}})
    with pytest.raises(ReportError, match=message):
        AuditReport.from_dict(data)


def test_damaged_arrays_say_how_to_go_on_without_them(make_report: MakeReport, tmp_path: Path) -> None:
    file = make_report().save(tmp_path) / "arrays.npz"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ReportError, match="delete it to load the report without pictures"):
        load(tmp_path)


def test_an_unknown_score_lists_the_choices(make_report: MakeReport) -> None:
    with pytest.raises(OptionError, match=r"unknown score 'hing'; choose one of hinge, auddc, .*encoder\.trace"):
        make_report().score("hing")


def test_a_bare_geometry_score_is_the_encoders(make_report: MakeReport) -> None:
    report = make_report()
    assert report.encoder is not None
    assert report.score("condition_number") is report.encoder.condition_number


def test_the_damage_score_is_that_of_the_middle_budget(make_report: MakeReport) -> None:
    report = make_report()
    assert report.damage is not None
    assert report.score("damage") is report.damage.estimates[1]
    assert report.score("damage_gain") is report.damage.gains[1]


@pytest.mark.parametrize(
    ("bar", "outcome"), [(0.35, "PASS"), (0.40, "PASS"), (0.45, "INCONCLUSIVE"), (0.60, "INCONCLUSIVE"), (0.61, "FAIL")]
)
def test_a_check_weighs_the_whole_interval(make_report: MakeReport, bar: float, outcome: str) -> None:
    report = make_report(hinge=Estimate(value=0.5, low=0.4, high=0.6, n=50, higher_is_better=True))
    (verdict,) = report.check(hinge=at_least(bar))
    assert verdict.outcome == outcome
    assert bool(verdict) == (outcome == "PASS")


def test_a_dotted_score_goes_into_a_check_by_keyword(make_report: MakeReport) -> None:
    (verdict,) = make_report().check(**{"decoder.spectral_radius": at_most(100)})
    assert (verdict.score, verdict.outcome) == ("decoder.spectral_radius", "PASS")


def test_a_distrusted_figure_is_invalid_and_says_why(make_report: MakeReport) -> None:
    report = make_report(health=(INVALID,))
    (verdict,) = dataclasses.replace(report, hinge=report.hinge.distrusted()).check(hinge=at_least(0.01))
    assert (verdict.outcome, verdict.reason) == ("INVALID", INVALID.message)


def test_a_check_of_nothing_is_an_error(make_report: MakeReport) -> None:
    with pytest.raises(OptionError, match="expects at least one bar"):
        make_report().check()


def test_a_bar_of_the_wrong_direction_or_kind_is_an_error(make_report: MakeReport) -> None:
    with pytest.raises(OptionError, match=r"hinge: higher is more robust, so the bar is at_least"):
        make_report().check(hinge=at_most(0.3))
    with pytest.raises(OptionError, match=r"hinge: expected at_least\(\.\.\.\) or at_most\(\.\.\.\), got 0\.3"):
        make_report().check(hinge=0.3)  # type: ignore[arg-type]


def test_require_names_every_bar_that_was_not_cleared(make_report: MakeReport) -> None:
    report = make_report(hinge=Estimate(value=0.5, low=0.4, high=0.6, n=50, higher_is_better=True))
    report.require(hinge=at_least(0.3), auddc=at_least(0.01))
    with pytest.raises(AssertionError, match=r"hinge 0\.5 .* FAIL[^\n]*\nauddc .* FAIL") as failure:
        report.require(hinge=at_least(0.9), auddc=at_least(0.9), condition_number=at_most(1e6))
    assert "condition_number" not in str(failure.value)
