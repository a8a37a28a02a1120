"""Differences are called clear when they are, and comparisons that mislead carry a caveat."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from vaeaudit.errors import OptionError
from vaeaudit.report.comparing.comparison import MOST, Change, Comparison, compare, compare_all
from vaeaudit.report.comparing.differences import corrected
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.comparison import render_comparison
from vaeaudit.statistics import Estimate

from ..conftest import INVALID, NO_FIGURE, MakeReport


def _change(comparison: Comparison, score: str) -> Change:
    return next(change for change in comparison.changes if change.score == score)


def _provenance(report: AuditReport, **changes: Any) -> AuditReport:
    return dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, **changes))


def _between(low: float, high: float, higher_is_better: bool | None) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, n=50, higher_is_better=higher_is_better)


def test_a_report_against_itself_shows_no_difference_and_no_caveat(make_report: MakeReport) -> None:
    comparison = compare(make_report(), make_report())
    assert {change.outcome for change in comparison.changes} == {"no clear difference"}
    assert all(change.difference == 0 for change in comparison.changes)
    assert comparison.caveats == ()


def test_a_suppressed_check_that_would_make_scores_invalid_is_a_caveat(make_report: MakeReport) -> None:
    aside = make_report(health=(dataclasses.replace(INVALID, suppressed=True),))
    told = "The {} report sets aside what would make some of its scores INVALID: gradient_masked."
    assert compare(aside, make_report()).caveats == (told.format("old"),)
    assert compare(make_report(), aside).caveats == (told.format("new"),)


def test_a_small_shift_of_every_hinge_is_clear_only_pair_by_pair(make_report: MakeReport) -> None:
    old, new = make_report(), make_report(shift=0.02)
    assert old.hinge.high > new.hinge.low
    paired = _change(compare(old, new), "hinge")
    assert (paired.outcome, paired.paired) == ("better", True)
    assert paired.low == pytest.approx(0.02, abs=1e-6)
    apart = _change(compare(old, _provenance(new, data="other")), "hinge")
    assert (apart.outcome, apart.paired) == ("no clear difference", False)


@pytest.mark.parametrize("score", ["hinge", "auddc"])
def test_the_paired_interval_covers_the_true_difference(make_report: MakeReport, score: str) -> None:
    old = make_report(pairs=200)
    noise = 0.1 * np.random.default_rng(1).standard_normal(200)
    values = getattr(old.curves, score) + 0.05 + noise
    new = dataclasses.replace(old, curves=dataclasses.replace(old.curves, **{score: values}))
    change = _change(compare(old, new), score)
    assert change.low < 0.05 < change.high
    assert 0 < change.high - change.low < 0.08


def test_noise_alone_is_no_clear_difference(make_report: MakeReport) -> None:
    old = make_report(pairs=40)
    noise = 0.1 * np.random.default_rng(2).standard_normal(40)
    auddc = old.curves.auddc + noise - noise.mean()
    new = dataclasses.replace(old, curves=dataclasses.replace(old.curves, auddc=auddc))
    change = _change(compare(old, new), "auddc")
    assert (change.paired, change.outcome) == (True, "no clear difference")


def test_a_fall_of_the_hinge_is_worse(make_report: MakeReport) -> None:
    change = _change(compare(make_report(shift=0.1), make_report()), "hinge")
    assert change.outcome == "worse"
    assert change.difference == pytest.approx(-0.1)


def test_a_censored_curve_forbids_the_paired_comparison_of_hinges_but_not_of_reaches(make_report: MakeReport) -> None:
    comparison = compare(make_report(), make_report(censored=1))
    assert not _change(comparison, "hinge").paired
    assert not _change(comparison, "auddc").paired
    assert _change(comparison, "reach").paired


def test_a_censored_pair_that_is_excluded_does_not_matter(make_report: MakeReport) -> None:
    old = make_report(excluded=1)
    new = dataclasses.replace(old, curves=dataclasses.replace(old.curves, censored=old.curves.excluded))
    assert _change(compare(old, new), "hinge").paired


def test_too_few_pairs_never_make_a_difference_clear(make_report: MakeReport) -> None:
    change = _change(compare(make_report(pairs=4), make_report(pairs=4, shift=0.3)), "hinge")
    assert (change.paired, change.outcome) == (False, "no clear difference")


@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize(
    ("score", "outcome"), [("hinge", "better"), ("encoder.trace", "worse"), ("linearity", "different")]
)
def test_intervals_apart_are_clear_and_the_scores_direction_names_it_whatever_a_file_says(
    make_report: MakeReport, score: str, outcome: str, said: bool | None
) -> None:
    def report(low: float, high: float) -> AuditReport:
        figure, made = _between(low, high, said), make_report()
        room, _, name = score.rpartition(".")
        part = {name: figure} if not room else {room: dataclasses.replace(getattr(made, room), **{name: figure})}
        return dataclasses.replace(made, **part)

    old, new = report(0.1, 0.2), _provenance(report(0.3, 0.4), data="other")
    assert _change(compare(old, new), score).outcome == outcome


def test_intervals_that_touch_are_not_clear(make_report: MakeReport) -> None:
    old, new = make_report(floor=_between(0.1, 0.2, False)), make_report(floor=_between(0.2, 0.3, False))
    assert _change(compare(old, new), "floor").outcome == "no clear difference"


def test_a_score_that_one_report_lacks_is_not_comparable(make_report: MakeReport) -> None:
    change = _change(compare(make_report(), make_report(decoder=None)), "decoder.trace")
    assert (change.outcome, change.new, change.reason) == ("not comparable", None, "the new report lacks it")


def test_a_missing_figure_is_not_comparable(make_report: MakeReport) -> None:
    change = _change(compare(make_report(floor=NO_FIGURE), make_report()), "floor")
    assert (change.outcome, change.reason) == ("not comparable", "the old report has no figure")


def test_an_unreliable_figure_is_not_comparable(make_report: MakeReport) -> None:
    change = _change(compare(make_report(), make_report(shift=0.2, health=(INVALID,))), "hinge")
    assert (change.outcome, change.reason) == ("not comparable", "the new figure is not to be relied upon")


def test_different_metrics_budgets_or_units_are_not_comparable(make_report: MakeReport) -> None:
    old = make_report()
    assert old.encoder is not None
    assert old.damage is not None
    new = dataclasses.replace(
        old,
        encoder=dataclasses.replace(old.encoder, metric="fisher"),
        damage=dataclasses.replace(old.damage, radii=2 * old.damage.radii),
        reconstruction_error=dataclasses.replace(old.reconstruction_error, unit="grey levels"),
    )
    comparison = compare(old, new)
    assert _change(comparison, "encoder.trace").reason == "wasserstein metric against fisher metric"
    assert _change(comparison, "damage").reason == "budget 1 input units against budget 2 input units"
    assert _change(comparison, "reconstruction_error").reason == "unit input units against unit grey levels"


@pytest.mark.parametrize("score", ["condition_number", "active_units"])
def test_scores_of_the_mean_are_compared_whatever_the_encoders_metric(make_report: MakeReport, score: str) -> None:
    old = make_report()
    assert old.encoder is not None
    assert old.decoder is not None
    new = dataclasses.replace(
        old,
        encoder=dataclasses.replace(old.encoder, metric="mean"),
        decoder=dataclasses.replace(old.decoder, metric="other"),
    )
    comparison = compare(old, new)
    assert _change(comparison, f"encoder.{score}").outcome == "no clear difference"
    assert _change(comparison, f"decoder.{score}").outcome == "not comparable"


def test_a_different_reach_carries_the_caveat_about_the_hinge(make_report: MakeReport) -> None:
    caveats = compare(make_report(reach=6.0), make_report(reach=3.0)).caveats
    assert len(caveats) == 1
    assert caveats[0].startswith(
        "Reach differs clearly (5.93 against 2.96 input units). Hinge and AUDDC are normalised"
    )


def test_a_different_reconstruction_error_carries_a_caveat(make_report: MakeReport) -> None:
    worse = dataclasses.replace(make_report().reconstruction_error, value=4.0, low=3.8, high=4.2)
    (caveat,) = compare(make_report(), make_report(reconstruction_error=worse)).caveats
    assert caveat.startswith("Reconstruction error differs clearly (2.15 against 4.00 input units).")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": "other"}, "The reports audited different data"),
        ({"preset": "quick"}, "The presets differ: standard against quick."),
        ({"settings": {"divergence": "mean_l2"}}, "The settings differ: divergence kl against mean_l2, penalty"),
        (
            {"environment": {"torch": "2.0"}},
            "The environments differ: vaeaudit 0.1.0 against unset, torch 2.15.0 against",
        ),
    ],
)
def test_what_differs_about_the_runs_is_said(make_report: MakeReport, change: dict[str, Any], expected: str) -> None:
    (caveat,) = compare(make_report(), _provenance(make_report(), **change)).caveats
    assert caveat.startswith(expected)


def test_different_pairs_of_the_same_data_are_said(make_report: MakeReport) -> None:
    comparison = compare(make_report(pairs=50), make_report(pairs=40))
    assert comparison.caveats == ("The reports audited different pairs, so they could not be compared pair by pair.",)
    assert not _change(comparison, "hinge").paired


def test_damage_of_the_same_images_is_compared_one_by_one(make_report: MakeReport) -> None:
    old = make_report()
    assert old.damage is not None
    further = dataclasses.replace(old.damage, displacement=old.damage.displacement + 0.05)
    new = dataclasses.replace(old, damage=further)
    change = _change(compare(old, new), "damage")
    assert (change.paired, change.outcome) == (True, "worse")
    assert change.difference == pytest.approx(0.05)
    assert old.damage.latent is not None
    less = dataclasses.replace(old.damage.latent, moved=old.damage.latent.moved - 0.05)
    latent = _change(
        compare(old, dataclasses.replace(old, damage=dataclasses.replace(old.damage, latent=less))), "damage_latent"
    )
    assert (latent.paired, latent.outcome) == (True, "better")
    assert latent.difference == pytest.approx(-0.05)
    others = dataclasses.replace(further, images=further.images + 1)
    assert not _change(compare(old, dataclasses.replace(old, damage=others)), "damage").paired


def _decoder(report: AuditReport, **changes: Any) -> AuditReport:
    assert report.decoder is not None
    return dataclasses.replace(report, decoder=dataclasses.replace(report.decoder, **changes))


def test_spectra_of_the_same_images_are_compared_one_by_one(make_report: MakeReport) -> None:
    old = make_report()
    assert old.decoder is not None
    stretched = {name: 1.01 * values for name, values in old.decoder.per_image.items()}
    new = _decoder(old, per_image=stretched)
    change = _change(compare(old, new), "decoder.spectral_radius")
    assert (change.paired, change.outcome) == (True, "worse")
    assert change.difference == pytest.approx(0.01 * np.median(old.decoder.per_image["spectral_radius"]))
    others = _change(compare(old, _decoder(new, images=old.decoder.images + 1)), "decoder.spectral_radius")
    assert not others.paired
    unresolved = compare(old, _decoder(new, resolved=np.arange(len(old.decoder.images)) > 0))
    assert not _change(unresolved, "decoder.condition_number").paired
    assert _change(unresolved, "decoder.spectral_radius").paired


def test_p_values_are_corrected_for_every_score_of_every_comparison(make_report: MakeReport) -> None:
    reports = [make_report(), make_report(shift=0.01, seed=1), make_report(shift=0.05, seed=2)]
    comparisons = compare_all(reports)
    tested = [change for one in comparisons for change in one.changes if not change.reason]
    assert {one.tests for one in comparisons} == {len(tested)}
    assert [change.corrected for change in tested] == corrected([change.p for change in tested])
    assert len(tested) > 2 * len(compare_all(reports[:2])[0].changes) - 5


def test_a_difference_that_its_own_interval_makes_clear_may_not_outlast_the_correction(make_report: MakeReport) -> None:
    old = make_report(linearity=_between(0.1, 0.2, True))
    change = _change(compare(old, make_report(linearity=_between(0.175, 0.275, True))), "linearity")
    assert change.low > 0
    assert change.p < 0.05 < change.corrected
    assert change.outcome == "no clear difference"


@pytest.mark.parametrize("count", [0, 1, MOST + 1])
def test_too_few_or_too_many_reports_are_refused(make_report: MakeReport, count: int) -> None:
    with pytest.raises(OptionError, match=f"compare expects 2 to {MOST} reports, got {count}"):
        compare_all([make_report()] * count)


def test_the_page_shows_every_report_and_which_differences_are_significant(make_report: MakeReport) -> None:
    evil = "<script>alert(1)</script>"
    reports = [make_report(name=evil), make_report(shift=0.2), _provenance(make_report(reach=3.0), preset="quick")]
    page = render_comparison(reports, compare_all(reports))
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    hinge = page.split('<th scope="row">Hinge')[1].split("</tr>")[0]
    assert hinge.count("<td") == 5
    assert hinge.count("better, significant") == 1
    assert "+0.200" in hinge
    assert "p &lt; 0.001, paired" in hinge
    caveats = page.split('id="caveats"')[1].split("</section>")[0]
    assert "<h3>B against A</h3>" not in caveats
    assert "The presets differ: standard against quick." in caveats
    assert "Hinge and AUDDC are normalised" in caveats


def test_the_page_says_why_figures_are_not_comparable(make_report: MakeReport) -> None:
    reports = [make_report(), make_report(health=(INVALID,), decoder=None)]
    page = render_comparison(reports, compare_all(reports))
    assert "the new figure is not to be relied upon" in page
    assert page.count("the new report lacks it") == 8
