"""Health findings: what triggers each, and what it makes untrustworthy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vaeaudit import health

SOUND_MODEL: dict[str, Any] = {
    "training": None, "without_weights": (), "encoder_noise": 0.0, "decoder_noise": 0.0, "drift": 0.0,
    "batch_dependence": 1e-6, "outside_bounds": 0.0, "saturated_outputs": 0.2, "zero_gradients": 0.0,
}  # fmt: skip
SOUND_CURVES: dict[str, Any] = {
    "pairs": 50, "excluded": 0, "non_finite": 0, "censored": 0, "unconverged": 0.0, "poor_targets": 0, "floor": 0.01,
}  # fmt: skip


def test_a_sound_model_and_sound_curves_have_no_findings() -> None:
    assert health.findings_of_model(**SOUND_MODEL) == []
    assert health.findings_of_curves(**SOUND_CURVES) == []


@pytest.mark.parametrize(
    ("change", "name", "severity", "spoiled", "spared"),
    [
        ({"training": ("Dropout",)}, "training_mode", "warning", [], ["hinge"]),
        ({"training": ()}, "training_mode", "info", [], ["hinge"]),
        ({"without_weights": ("encoder", "decoder")}, "weights_not_found", "warning", [], ["hinge"]),
        ({"encoder_noise": 0.1}, "stochastic_encoder", "invalid", ["hinge", "encoder.trace"], ["decoder.trace"]),
        ({"decoder_noise": 0.1}, "stochastic_decoder", "invalid", ["auddc", "decoder.trace"], ["encoder.trace"]),
        ({"batch_dependence": 0.1}, "batch_dependent_encoder", "invalid", ["hinge", "damage"], ["decoder.trace"]),
        ({"outside_bounds": 0.2}, "outputs_outside_bounds", "warning", [], ["hinge"]),
        ({"drift": 0.01}, "stateful_model", "invalid", ["hinge", "damage", "decoder.trace", "encoder.trace"], []),
        ({"saturated_outputs": 0.6}, "saturated_outputs", "warning", [], ["damage"]),
        ({"saturated_outputs": 0.999}, "saturated_outputs", "invalid", ["damage", "damage_gain"], ["hinge"]),
        ({"zero_gradients": 0.25}, "zero_gradients", "warning", [], ["hinge"]),
        ({"zero_gradients": 0.5}, "zero_gradients", "invalid", ["hinge"], ["decoder.trace"]),
    ],
)
def test_each_fault_of_a_model_is_named(
    change: Any, name: str, severity: str, spoiled: list[str], spared: list[str]
) -> None:
    (finding,) = health.findings_of_model(**{**SOUND_MODEL, **change})
    assert (finding.name, finding.severity) == (name, severity)
    assert finding.remedy
    assert all(finding.invalidates(score) for score in spoiled)
    assert not any(finding.invalidates(score) for score in spared)


@pytest.mark.parametrize(
    ("change", "name", "severity", "spoiled", "spared"),
    [
        ({"excluded": 3}, "excluded_pairs", "warning", [], ["hinge"]),
        ({"excluded": 26}, "excluded_pairs", "invalid", ["hinge", "auddc"], ["encoder.trace"]),
        ({"censored": 3}, "curves_not_saturating", "warning", [], ["hinge"]),
        ({"censored": 25}, "curves_not_saturating", "invalid", ["hinge", "auddc"], ["damage"]),
        ({"non_finite": 1}, "non_finite_under_attack", "invalid", ["hinge", "auddc"], ["encoder.trace"]),
        ({"unconverged": 0.1}, "attack_not_converged", "warning", [], ["hinge"]),
        ({"unconverged": 0.3}, "attack_not_converged", "invalid", ["hinge", "auddc"], ["encoder.trace"]),
        ({"poor_targets": 20}, "poor_targets", "warning", [], ["hinge"]),
        ({"floor": 0.3}, "target_not_reached", "warning", [], ["hinge"]),
    ],
)
def test_each_fault_of_the_curves_is_named(
    change: Any, name: str, severity: str, spoiled: list[str], spared: list[str]
) -> None:
    (finding,) = health.findings_of_curves(**{**SOUND_CURVES, **change})
    assert (finding.name, finding.severity) == (name, severity)
    assert finding.remedy
    assert all(finding.invalidates(score) for score in spoiled)
    assert not any(finding.invalidates(score) for score in spared)


def test_too_few_active_units_spoil_condition_numbers_alone() -> None:
    finding = health.finding_few_active_units(1)
    assert finding.invalidates("round_trip.condition_number")
    assert not finding.invalidates("round_trip.spectral_radius")


def test_an_untargeted_attack_that_met_nan_spoils_damage_alone() -> None:
    finding = health.finding_non_finite_damage(1, 12)
    assert (finding.name, finding.severity) == ("non_finite_under_attack", "invalid")
    assert "untargeted attack" in finding.message
    assert "1 of 12 images" in finding.message
    assert all(finding.invalidates(score) for score in ("damage", "damage_gain", "worst_damage", "worst_damage_linf"))
    assert not finding.invalidates("hinge")


def test_an_untargeted_attack_that_still_gains_a_little_spoils_nothing() -> None:
    finding = health.finding_damage_not_converged(0.3)
    assert finding.severity == "info"
    assert not finding.invalidates("damage")


SOUND_GRADIENTS: dict[str, float] = dict.fromkeys(
    ("zero", "non_finite", "vanishing", "disagree", "shattered", "constant", "blind"), 0.0
)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("zero", "zero_gradients"),
        ("non_finite", "non_finite_gradients"),
        ("vanishing", "vanishing_gradients"),
        ("disagree", "gradients_disagree"),
        ("shattered", "shattered_gradients"),
        ("blind", "blind_inputs"),
    ],
)
def test_each_fault_of_the_gradients_spoils_what_follows_them(part: str, fault: str, name: str) -> None:
    def told(share: float) -> list[health.Finding]:
        return health.findings_of_gradients(part, health.Faults(**{**SOUND_GRADIENTS, fault: share}), 8)

    assert told(0.05) == []
    assert [(f.name, f.severity) for f in told(0.25)] == [(name, "warning")]
    (finding,) = told(0.5)
    assert (finding.name, finding.severity) == (name, "invalid")
    assert "50% of 8 points" in finding.message
    assert finding.invalidates("damage")
    assert finding.invalidates("round_trip.trace")
    assert finding.invalidates("hinge") == finding.invalidates("encoder.trace") == (part == "encoder")
    assert finding.invalidates("decoder.trace") == (part == "decoder")


def test_steps_are_a_warning_where_the_gradient_holds_across_them() -> None:
    fine = health.Faults(**{**SOUND_GRADIENTS, "constant": 1.0})
    assert [f.severity for f in health.findings_of_gradients("encoder", fine, 4)] == ["warning"]
    coarse = health.Faults(**{**SOUND_GRADIENTS, "constant": 1.0, "disagree": 0.5})
    assert {f.severity for f in health.findings_of_gradients("encoder", coarse, 4)} == {"invalid"}


@pytest.mark.parametrize(
    ("gains", "severity"),
    [
        ([0.0, -0.3, 0.1, 0.05], None),
        ([0.3] + 9 * [0.0], "warning"),
        ([0.3, 0.3, 0.0, 0.0], "invalid"),
        ([float("nan"), 0.3, 0.4], "invalid"),
        ([float("nan")], None),
        ([], None),
        ([float("inf"), 0.0], "invalid"),
    ],
)
def test_more_effort_that_helps_spoils_the_attack_it_helps(gains: list[float], severity: str | None) -> None:
    told = health.findings_of_effort("targeted", gains, worth=0.2)
    assert [f.severity for f in told] == ([] if severity is None else [severity])
    if severity == "invalid":
        assert told[0].invalidates("hinge")
        assert not told[0].invalidates("damage")


def test_a_search_that_wins_anywhere_is_told() -> None:
    assert health.findings_of_search("untargeted", [0.04, -0.5], worth=0.05, queries=9) == []
    (finding,) = health.findings_of_search("untargeted", [0.06] + 9 * [0.0], worth=0.05, queries=9)
    assert (finding.name, finding.severity) == ("search_beats_untargeted_attack", "warning")
    (finding,) = health.findings_of_search("untargeted", [0.06, 0.0, 0.0, 0.0], worth=0.05, queries=9)
    assert finding.invalidates("damage_gain")
    assert not finding.invalidates("hinge")
    assert "9 queries" in finding.message


def test_what_is_lost_by_rounding_spoils_its_attack() -> None:
    assert health.findings_of_rounding("targeted", [0.9, 1.1, float("nan")]) == []
    (finding,) = health.findings_of_rounding("targeted", [0.2, 0.9])
    assert (finding.name, finding.severity) == ("lost_by_rounding", "invalid")
    assert finding.invalidates("auddc")
    assert health.finding_hinge_below_quantisation(0.4).message.startswith("the median distortion at the hinge is 0.4 ")


@pytest.mark.parametrize(("originals", "severity"), [(23, "warning"), (12, "warning"), (11, "invalid"), (1, "invalid")])
def test_pairs_that_share_originals_are_not_taken_for_independent(originals: int, severity: str) -> None:
    (finding,) = health.findings_of_originals(24, originals)
    assert (finding.name, finding.severity) == ("shared_originals", severity)
    assert [finding.invalidates(score) for score in ("hinge", "auddc", "reach", "damage")] == [
        severity == "invalid"
    ] * 3 + [False]
    assert not health.findings_of_originals(24, 24)


@pytest.mark.parametrize(
    ("filled", "severity"),
    [(0.5, "warning"), (0.05, "warning"), (0.04, "invalid"), (1 / 255, "invalid"), (0.0, "invalid")],
)
def test_budgets_of_bounds_that_images_hardly_use_say_nothing_of_damage(filled: float, severity: str) -> None:
    (finding,) = health.findings_of_images(filled, (0.0, 255.0))
    assert (finding.name, finding.severity) == ("images_fill_little_of_bounds", severity)
    assert [finding.invalidates(score) for score in ("damage", "damage_gain", "worst_damage", "hinge")] == [
        severity == "invalid"
    ] * 3 + [False]
    assert not health.findings_of_images(0.51, (0.0, 255.0))


def test_a_suppressed_finding_concerns_and_does_not_invalidate() -> None:
    finding = health.finding_stateful(0.1)
    (aside,) = health.described([finding], ("stateful_model",))
    (told,) = health.described([finding], ("blind_inputs",))
    assert (aside.suppressed, aside.concerns("hinge"), aside.invalidates("hinge")) == (True, True, False)
    assert (told.suppressed, told.invalidates("hinge")) == (False, True)
    assert told.cause == health.CHECKS["stateful_model"].cause


def test_names_of_checks_are_put_in_order_and_each_once() -> None:
    names = health.checked_names(["lost_by_rounding", "training_mode", "lost_by_rounding"])
    assert names == ("training_mode", "lost_by_rounding")
    assert health.checked_names([]) == ()


def test_every_check_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "health.md").read_text(encoding="utf-8")
    told = " ".join(page.split())
    for name, check in health.CHECKS.items():
        assert f"### {name}" in page
        for said in (check.measured, check.threshold, check.cause, check.consequence, check.remedy):
            assert " ".join(said.split()) in told, name


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("encoder",), "the encoder: its mode"),
        (("decoder",), "the decoder: its"),
        (("encoder", "decoder"), "encoder and"),
    ],
)
def test_what_no_weights_were_found_behind_is_named(parts: tuple[str, ...], said: str) -> None:
    (finding,) = health.findings_of_model(**{**SOUND_MODEL, "without_weights": parts})
    assert (finding.name, finding.severity) == ("weights_not_found", "warning")
    assert finding.message.startswith(f"no weights were found behind {said}")
