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

pytestmark = pytest.mark.usefixtures("plain_pages")


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
    make_report(name="later", pairs=10).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "report.html", "report.json"]
    assert len(load(tmp_path).curves.hinge) == 10
    assert "later" in (tmp_path / "report.html").read_text()


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
        (
            {"schema": 1},
            "schema 1, this version reads 2 to .*: it was written by another version .* audit the model again",
        ),
        ({"surprise": 1}, r"unknown \['surprise'\]"),
        ({"name": 3}, "report.name: expected a str, got 3"),
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
        ("curves", "originals", [1.7] * 50, "report.curves.originals: expected a int, got 1.7"),
        ("curves", "excluded", ["false"] * 50, "report.curves.excluded: expected a bool, got 'false'"),
        ("curves", "excluded", [0] * 50, "report.curves.excluded: expected a bool, got 0"),
        ("curves", "reach", [None] * 50, "report.curves.reach: expected a number, got None"),
        ("curves", "hinge", [0.5], r"report.curves: Curves.hinge has shape \(1,\), expected \(50,\)"),
        ("curves", "gap", [[0.5]], r"report.curves: Curves.gap has shape \(1, 1\), expected \(50, 24\)"),
        ("curves", "strengths", 1.0, r"report.curves: Curves.strengths has shape \(\), expected \(1,\)"),
        ("damage", "radii", [], r"report.damage: Damage.radii has shape \(0,\), expected at least one"),
        ("damage", "gains", [], r"report.damage: Damage.gains has shape \(0,\), expected \(3,\)"),
        ("damage", "displacement", [[1.0]], r"Damage.displacement has shape \(1, 1\), expected \(32, 3\)"),
        ("encoder", "eigenvalues", [1.0], r"report.encoder: GeometryScores.eigenvalues has shape \(1,\), expected"),
        ("encoder", "resolved", [True], r"report.encoder: GeometryScores.resolved has shape \(1,\), expected \(64,\)"),
        ("encoder", "variance_errors", [1.0], r"GeometryScores.variance_errors has shape \(1,\), expected \(20,\)"),
        ("encoder", "per_image", {}, "GeometryScores.per_image expects spectral_radius, .*; got nothing"),
        ("local", "radii", [1.0], r"report.local: LocalStep.attained has shape \(5,\), expected \(1,\)"),
        ("local", "targets", [1], r"report.local: LocalPrediction.targets has shape \(1,\), expected \(50,\)"),
        ("local", "untargeted_share", [[1.0]], r"LocalPrediction.untargeted_share has shape \(1, 1\), expected"),
        ("curves", "evaluations", [1], r"report.curves: Curves.evaluations has shape \(1,\), expected \(50,\)"),
        ("encoder", "images", [[0]], r"report.encoder: GeometryScores.images has shape \(1, 1\), expected \(1,\)"),
        ("hinge", "n", -1, "report.hinge: an estimate has at least no values behind it, got n = -1"),
        ("hinge", "low", "NaN", "report.hinge: an interval runs from low to high"),
        ("hinge", "value", 9.0, "report.hinge: an interval holds its figure"),
        ("hinge", "value", 10**400, "report.hinge.value: expected a number that a float can hold"),
    ],
)
def test_a_wrong_value_inside_says_where(
    make_report: MakeReport, part: str, field: str, value: Any, message: str
) -> None:
    report = make_report()
    data = _tampered(report, **{part: {**report.to_dict()[part], field: value}})
    with pytest.raises(ReportError, match=message):
        AuditReport.from_dict(data)


def test_damage_without_a_budget_is_refused(make_report: MakeReport) -> None:
    damage = make_report().damage
    assert damage is not None
    nothing = {"radii": np.zeros(0), "displacement": np.zeros((32, 0)), "estimates": (), "gains": ()}
    with pytest.raises(ReportError, match=r"Damage.radii has shape \(0,\), expected at least one entry"):
        dataclasses.replace(damage, **nothing)


def test_curves_of_no_pair_are_refused(make_report: MakeReport) -> None:
    with pytest.raises(ReportError, match=r"Curves.\w+ has shape \(0,.*expected at least one entry"):
        make_report(pairs=0, gallery=False, hinge=NO_FIGURE)


def test_a_lone_surrogate_in_a_name_survives(make_report: MakeReport, tmp_path: Path) -> None:
    report = make_report(name="vae \ud800 ü")
    assert load(report.save(tmp_path)) == report
    assert "ü" in (tmp_path / "report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("gallery", [True, False])
def test_pictures_of_another_report_are_never_loaded(make_report: MakeReport, tmp_path: Path, gallery: bool) -> None:
    mine = make_report(gallery=gallery)
    folder = mine.save(tmp_path / "mine")
    other = make_report(name="other", seed=1).save(tmp_path / "other")
    (folder / "arrays.npz").write_bytes((other / "arrays.npz").read_bytes())
    assert load(folder) == dataclasses.replace(mine, gallery=None)


def test_a_save_cut_short_leaves_the_older_report_without_pictures(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_report()
    old.save(tmp_path)

    def fail(report: AuditReport) -> str:
        raise RuntimeError("power cut")

    monkeypatch.setattr("vaeaudit.report.pages.html.render", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        make_report(seed=1).save(tmp_path)
    assert load(tmp_path) == dataclasses.replace(old, gallery=None)


def test_whitespace_of_the_json_does_not_part_a_report_from_its_pictures(
    make_report: MakeReport, tmp_path: Path
) -> None:
    report = make_report()
    file = report.save(tmp_path) / "report.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    assert load(tmp_path) == report


def test_damaged_arrays_say_how_to_go_on_without_them(make_report: MakeReport, tmp_path: Path) -> None:
    file = make_report().save(tmp_path) / "arrays.npz"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ReportError, match="delete it to load the report without pictures"):
        load(tmp_path)


def test_an_unknown_score_lists_the_choices(make_report: MakeReport) -> None:
    with pytest.raises(
        OptionError,
        match=r"unknown score 'hing' \(did you mean 'hinge'\?\); choose one of hinge, auddc, .*encoder\.trace",
    ):
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
    assert report.damage.latent is not None
    assert report.score("damage_latent") is report.damage.latent.estimates[1]


HINGES = np.linspace(0.3, 0.7, 50)
"""Their median is 0.5; the bounds at level 0.95 are the 19th and the 32nd of them, 0.447 and 0.553."""


@pytest.mark.parametrize(
    ("bar", "outcome"),
    [(0.40, "PASS"), (0.446, "PASS"), (0.45, "INCONCLUSIVE"), (0.55, "INCONCLUSIVE"), (0.56, "FAIL")],
)
def test_a_check_weighs_the_bounds_of_the_sample(make_report: MakeReport, bar: float, outcome: str) -> None:
    (verdict,) = make_report(hinges=HINGES).check(hinge=at_least(bar))
    assert verdict.outcome == outcome
    assert bool(verdict) == (outcome == "PASS")
    assert (verdict.low, verdict.high) == (HINGES[18], HINGES[31])
    assert (verdict.confidence, verdict.looks) == (0.95, 1)


def test_more_confidence_or_more_looks_make_a_check_harder_to_pass(make_report: MakeReport) -> None:
    report = make_report(hinges=HINGES)
    lows = [
        report.check(hinge=at_least(0.4), **options)[0].low
        for options in ({"confidence": 0.6}, {}, {"looks": 3}, {"confidence": 0.99, "looks": 3})
    ]
    assert lows == sorted(lows, reverse=True)
    assert len(set(lows)) == 4
    (same,) = report.check(hinge=at_least(0.4), confidence=0.99)
    (shared,) = report.check(hinge=at_least(0.4), looks=5)
    assert (same.low, same.high) == (shared.low, shared.high)


@pytest.mark.parametrize("options", [{"confidence": 0.5}, {"confidence": 1}, {"looks": 0}])
def test_a_confidence_or_looks_that_cannot_be_are_refused(make_report: MakeReport, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(options))} expects "):
        make_report().check(hinge=at_least(0.1), **options)


def test_a_bar_out_of_reach_is_an_error(make_report: MakeReport) -> None:
    with pytest.raises(OptionError, match="hinge is never above 1, so no model can pass"):
        make_report().check(hinge=at_least(30))


def test_every_score_has_the_sample_that_it_was_estimated_from(make_report: MakeReport) -> None:
    report = make_report(censored=4, excluded=3)
    for name, estimate in report.scores().items():
        sample = report.sample(name)
        assert sample.statistic == estimate.statistic
        if sample.statistic == "count":
            assert (sample.values > sample.threshold).sum() == estimate.value
            continue
        assert len(sample.values) == len(sample.originals) == estimate.n
        assert getattr(np, estimate.statistic)(sample.values) == pytest.approx(estimate.value)
        low, high = sample.bounds(0.95)
        assert low <= estimate.value <= high


def test_a_sample_of_pairs_says_which_pairs(make_report: MakeReport) -> None:
    report = make_report(excluded=3, censored=4)
    sample, kept = report.sample("hinge"), ~report.curves.excluded
    assert sample.targets is not None
    assert sample.upper is not None
    assert np.array_equal(sample.originals, report.curves.originals[kept])
    assert np.array_equal(sample.targets, report.curves.targets[kept])
    assert np.array_equal(np.isinf(sample.upper), report.curves.censored[kept])
    assert np.array_equal(sample.upper[:-4], sample.values[:-4])


def test_an_original_of_several_pairs_counts_once_for_its_reconstruction(make_report: MakeReport) -> None:
    report = make_report(pairs=6)
    curves = dataclasses.replace(
        report.curves, originals=np.array([7, 3, 7, 3, 3, 9]), reconstruction_error=np.array([2.0, 1, 2, 1, 1, 3])
    )
    sample = dataclasses.replace(report, curves=curves).sample("reconstruction_error")
    assert (sample.originals.tolist(), sample.values.tolist()) == ([3, 7, 9], [1.0, 2.0, 3.0])
    assert sample.targets is None


def test_an_unresolved_condition_number_is_open_above(make_report: MakeReport) -> None:
    report = make_report()
    assert report.encoder is not None
    for lost, outcome in ((1, "PASS"), (30, "INCONCLUSIVE")):
        resolved = np.arange(64) >= lost
        encoder = dataclasses.replace(report.encoder, resolved=resolved)
        (verdict,) = dataclasses.replace(report, encoder=encoder).check(condition_number=at_most(1e6))
        assert verdict.outcome == outcome


def test_damage_is_judged_at_the_middle_budget(make_report: MakeReport) -> None:
    report = make_report()
    assert report.damage is not None
    middle = report.damage.displacement[:, 1]
    assert np.array_equal(report.sample("damage").values, middle)
    assert np.array_equal(report.sample("damage_gain").values, middle / report.damage.radii[1])
    assert np.array_equal(report.sample("damage").originals, report.damage.images)
    assert report.damage.latent is not None
    assert np.array_equal(report.sample("damage_latent").values, report.damage.latent.moved[:, 1])


@pytest.mark.parametrize("score", ["damage", "damage_latent", "trace", "decoder.active_units"])
def test_what_was_not_measured_has_an_empty_sample_and_an_invalid_verdict(make_report: MakeReport, score: str) -> None:
    report = make_report(sections=False)
    assert report.sample(score).values.size == 0
    (verdict,) = report.check(**{score: at_most(1e9)})
    assert verdict.outcome == "INVALID"


def test_a_score_of_the_worst_case_alone_names_the_preset_that_measures_it(make_report: MakeReport) -> None:
    (verdict,) = make_report(sections=False).check(worst_damage=at_most(3))
    assert verdict.outcome == "INVALID"
    assert verdict.reason == 'the preset "standard" does not measure it; "thorough" does'


def test_a_figure_that_is_not_that_of_its_sample_is_invalid(make_report: MakeReport) -> None:
    report = make_report()
    assert report.check(hinge=at_least(0.1))[0].outcome == "PASS"
    claimed = dataclasses.replace(report.hinge, value=0.9, low=0.8, high=1.0)
    (verdict,) = dataclasses.replace(report, hinge=claimed).check(hinge=at_least(0.1))
    assert verdict.outcome == "INVALID"
    assert verdict.reason == "the figure lies outside the bounds of the sample behind it: the report was changed"


def test_a_subclass_equals_the_report_it_was_made_from(make_report: MakeReport, tmp_path: Path) -> None:
    class Special(AuditReport):
        __hash__ = None  # type: ignore[assignment]

    report = make_report()
    special = Special(**{f.name: getattr(report, f.name) for f in dataclasses.fields(report)})
    assert special == report
    assert report == special
    assert special != dataclasses.replace(report, name="other")
    assert load(special.save(tmp_path)) == report


def test_a_report_saved_without_its_page_leaves_no_page_of_another(make_report: MakeReport, tmp_path: Path) -> None:
    make_report(name="earlier").save(tmp_path)
    report = make_report()
    assert load(report.save(tmp_path, page=False)) == report
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "report.json"]


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
    report = make_report(hinges=HINGES)
    report.require(hinge=at_least(0.3), auddc=at_least(0.01))
    with pytest.raises(AssertionError, match=r"hinge 0\.50 .* FAIL[^\n]*\nauddc .* FAIL") as failure:
        report.require(hinge=at_least(0.9), auddc=at_least(0.9), condition_number=at_most(1e6))
    assert "condition_number" not in str(failure.value)


def test_require_takes_a_confidence(make_report: MakeReport) -> None:
    report = make_report(hinges=HINGES)
    report.require(hinge=at_least(0.44))
    with pytest.raises(AssertionError, match=r"INCONCLUSIVE \(99\.9 %, 50 pairs\)"):
        report.require(hinge=at_least(0.44), confidence=0.999)
