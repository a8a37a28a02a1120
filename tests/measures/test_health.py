"""Health findings: what triggers each, and what it makes untrustworthy."""

from __future__ import annotations

from typing import Any

import pytest

from vaeaudit import health

SOUND_MODEL: dict[str, Any] = {
    "training": None, "without_weights": (), "encoder_noise": 0.0, "decoder_noise": 0.0,
    "batch_dependence": 1e-6, "outside_bounds": 0.0, "zero_gradients": 0.0,
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


def test_an_untargeted_attack_that_still_gains_spoils_damage_alone() -> None:
    assert health.finding_damage_not_converged(0.1).severity == "warning"
    finding = health.finding_damage_not_converged(0.3)
    assert finding.invalidates("damage_gain")
    assert not finding.invalidates("hinge")


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
