"""Every broken autoencoder is found out, its verdicts become INVALID, and a sound one is left in peace."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vaeaudit
from vaeaudit import at_least, at_most, audit, health, plan, spec, wrap, zoo
from vaeaudit.report.pages.html import render

PAIRS, STRENGTHS = 3, 6
SHORT = dataclasses.replace(spec.PRESETS["quick"], samples=4, spectra=4, damaged=6, damage_steps=20, certified=1)
"""The quick preset with all of its second looks, and less of what they do not look at."""
BARS: dict[str, Any] = {
    "hinge": at_least(0.0001),
    "auddc": at_least(0.0001),
    "damage": at_most(1e6),
    "damage_gain": at_most(1e6),
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spec.PRESETS, "quick", SHORT)


def _audited(model: nn.Module, broken: ModuleType, **options: Any) -> vaeaudit.AuditReport:
    return audit(
        wrap(model.eval(), bounds=(0, 1)), broken.small_images(), "quick", PAIRS, strengths=STRENGTHS, **options
    )


def _outcomes(report: vaeaudit.AuditReport) -> dict[str, str]:
    return {verdict.score: verdict.outcome for verdict in report.check(**BARS)}


def test_a_broken_model_is_found_out(fault_name: str, broken: ModuleType) -> None:
    fault = broken.BROKEN[fault_name]
    report = _audited(fault.breaks(broken.small_model()), broken)
    finding = next(f for f in report.health if f.name == fault.named)
    assert finding.message
    assert finding.cause
    assert finding.consequence
    assert finding.remedy == health.CHECKS[fault.named].remedy or fault.named in ("zero_gradients",)
    outcomes = _outcomes(report)
    assert [score for score in fault.spoiled if outcomes[score] != "INVALID"] == []


def test_a_decoder_that_hides_its_gradient_spoils_damage_alone(broken: ModuleType) -> None:
    report = _audited(broken.BROKEN["detached decoder"].breaks(broken.small_model()), broken)
    outcomes = _outcomes(report)
    assert outcomes["damage"] == "INVALID"
    assert outcomes["hinge"] != "INVALID"
    assert not any(f.invalidates("encoder.trace") for f in report.health)


def test_nothing_but_its_own_finding_tells_of_nan_that_the_untargeted_attack_runs_into(broken: ModuleType) -> None:
    fault = broken.BROKEN["overflowing code"]
    report = _audited(fault.breaks(broken.small_model()), broken, suppress=(fault.named,))
    (finding,) = (f for f in report.health if f.concerns("damage"))
    assert finding.name == fault.named
    assert "untargeted attack" in finding.message
    assert bool(np.isfinite(report.damage.displacement).all())
    assert _outcomes(report)["damage"] == "PASS"


def test_a_sound_model_is_left_in_peace_and_as_it_was(broken: ModuleType) -> None:
    model = broken.small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = _audited(model, broken)
    assert {f.name for f in report.health} & MASKING == set()
    assert "INVALID" not in _outcomes(report).values()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


MASKING = set(list(health.CHECKS)[list(health.CHECKS).index("targeted_attack_improvable") :]) | {
    "non_finite_under_attack",
    "stochastic_encoder", "stochastic_decoder", "stateful_model", "batch_dependent_encoder", "saturated_outputs",
    "zero_gradients", "non_finite_gradients", "vanishing_gradients", "gradients_disagree", "shattered_gradients",
    "quantised_response", "blind_inputs",
}  # fmt: skip


def test_a_zoo_model_behind_straight_through_rounding_is_found_out(broken: ModuleType) -> None:
    model = broken.Defended(zoo.load_model(broken.ZOO_MODEL), broken.straight_through(broken.rounded(2)))
    report = audit(wrap(model.eval(), bounds=(0, 1)), zoo.images(broken.ZOO_MODEL), "quick", 3, strengths=4)
    assert {"gradients_disagree", "quantised_response"} <= {f.name for f in report.health}
    assert set(_outcomes(report).values()) == {"INVALID"}


def test_eight_bits_that_a_model_rounds_to_do_an_attack_no_harm(broken: ModuleType) -> None:
    """Its response is constant at the shortest steps, and its gradient holds at longer ones: a warning, no more."""
    report = _audited(broken.Defended(broken.small_model(), broken.straight_through(broken.rounded(255))), broken)
    (finding,) = (f for f in report.health if f.name == "quantised_response")
    assert finding.severity == "warning"
    assert "INVALID" not in _outcomes(report).values()


def test_a_suppressed_finding_is_told_and_invalidates_nothing(broken: ModuleType) -> None:
    fault = broken.BROKEN["detached decoder"]
    spoiling = ("gradients_disagree", "vanishing_gradients", "search_beats_untargeted_attack")
    report = _audited(fault.breaks(broken.small_model()), broken, suppress=spoiling)
    assert {f.name for f in report.health if f.suppressed} <= set(spoiling)
    assert "gradients_disagree" in report.suppressed("damage")
    assert "INVALID" not in _outcomes(report).values()
    assert report.provenance.settings["suppress"] == [name for name in health.CHECKS if name in spoiling]
    again = vaeaudit.AuditReport.from_dict(report.to_dict())
    assert again.health == report.health
    assert "(suppressed: it invalidates nothing)" in str(report)
    assert "Suppressed by whoever asked for this audit" in render(report)


def test_a_second_look_does_not_depend_on_how_many_pairs_come_with_it(broken: ModuleType) -> None:
    model = broken.BROKEN["compression"].breaks(broken.small_model())
    planned = plan(wrap(model.eval(), bounds=(0, 1)), broken.small_images(), "quick", 2, strengths=4, most_pairs=4)
    few, more = planned.report(2), planned.report(4)
    looked = [
        {f.name: f.message for f in report.health if f.name.startswith(("search", "targeted", "blind"))}
        for report in (few, more)
    ]
    assert looked[0] == looked[1] != {}


@pytest.mark.parametrize(
    ("suppress", "message"),
    [
        (("no_such_check",), "suppress: there is no health check 'no_such_check'; choose of training_mode, "),
        ("zero_gradients", "suppress expects a list of names"),
        ((3,), "there is no health check 3"),
        (7, "suppress expects a list of names"),
    ],
)
def test_suppressing_what_is_no_check_is_an_error(suppress: Any, message: str, broken: ModuleType) -> None:
    with pytest.raises(vaeaudit.OptionError, match=message):
        _audited(broken.small_model(), broken, suppress=suppress)
