"""How well local geometry predicts attacks: exactly on a linear model, and as chosen where it is chosen."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch

import vaeaudit
from vaeaudit.geometry import jacobians
from vaeaudit.measurements.local import linearity_breaks
from vaeaudit.report.local import LocalPrediction

RADII = np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("ratios", "where", "censored"),
    [
        ([1.0, 0.9, 0.81], 4.0, True),
        ([1.0, 0.6, 0.2], 1.5, False),
        ([1.0, 1.5, 1.0], 1.5, False),
        ([0.6, 0.9, 1.0], 0.5, False),
        ([1.0, math.nan, 0.6], 2.5, False),
        ([math.nan, 1.0, 0.9], 4.0, True),
    ],
)
def test_linearity_breaks_where_the_ratio_first_leaves_the_band(
    ratios: list[float], where: float, censored: bool
) -> None:
    breaks, open_ended = linearity_breaks(RADII, np.array([ratios]))
    assert breaks.tolist() == pytest.approx([where])
    assert open_ended.tolist() == [censored]


def test_without_any_ratio_there_is_no_such_budget() -> None:
    breaks, censored = linearity_breaks(RADII, np.full((1, 3), math.nan))
    assert np.isnan(breaks).all()
    assert not censored.any()


@pytest.fixture(scope="module")
def free(linear: ModuleType) -> vaeaudit.AuditReport:
    """The audit of a linear model whose inputs are far from their bounds."""
    model = linear.linear_gaussian(bounds=(-50.0, 50.0))
    return vaeaudit.audit(model.autoencoder, linear.points(12, 24), preset="quick", pairs=12)


def _local(report: vaeaudit.AuditReport) -> LocalPrediction:
    assert report.local is not None
    return report.local


def test_a_linear_model_is_predicted_exactly_and_never_breaks(linear: ModuleType, free: vaeaudit.AuditReport) -> None:
    local = _local(free)
    assert (local.latent.metric, local.reconstruction.metric) == ("wasserstein", "round_trip_mean")
    for step in (local.latent, local.reconstruction):
        assert [e.value for e in (*step.attained, *step.linear)] == pytest.approx([1.0] * 16, rel=1e-4)
        assert step.censored.all()
        assert step.breaks.tolist() == pytest.approx([local.radii[-1]] * 12)
        assert step.breaking_budget.high == math.inf
    model = linear.linear_gaussian()
    assert local.reconstruction.realised[0].tolist() == pytest.approx(
        [model.optimal_step(radius) for radius in local.radii], rel=1e-4
    )


def test_on_a_linear_model_the_step_is_the_untargeted_optimum(free: vaeaudit.AuditReport) -> None:
    local = _local(free)
    assert free.damage is not None
    assert local.compared.tolist() == free.damage.radii.tolist()
    assert [e.value for e in local.untargeted] == pytest.approx([1.0] * 3, rel=0.01)


def test_rows_are_the_pairs_and_estimates_count_an_original_once(free: vaeaudit.AuditReport) -> None:
    local = _local(free)
    assert local.originals.tolist() == free.curves.originals.tolist()
    assert local.targets.tolist() == free.curves.targets.tolist()
    assert {e.n for e in local.latent.attained} == {len(set(local.originals.tolist()))}


def test_with_one_latent_the_step_is_the_targeted_attack(linear: ModuleType) -> None:
    """All that can be changed is one number: every attack moves along the same line."""
    model = linear.linear_gaussian(n=12, k=1, deterministic=True, bounds=(-50.0, 50.0))
    report = vaeaudit.audit(model.autoencoder, 40 * linear.points(12, 24).clamp(-1, 1), preset="quick", pairs=12)
    local = _local(report)
    assert local.latent.metric == "mean"
    known = local.targeted_share[~np.isnan(local.targeted_share)]
    assert len(known) >= 12
    assert np.median(known) == pytest.approx(1.0, abs=0.05)


def test_bounds_take_from_what_is_attained_but_not_from_linearity(linear: ModuleType) -> None:
    model = linear.linear_gaussian(bounds=(0.0, 1.0))
    corners = linear.points(12, 24, bounds=(0.0, 1.0)).round()
    step = _local(vaeaudit.audit(model.autoencoder, corners, preset="quick", pairs=12)).latent
    assert [e.value for e in step.linear] == pytest.approx([1.0] * 8, rel=1e-4)
    assert step.attained[0].value < 0.95
    assert step.censored.all()


def test_displacements_within_rounding_are_left_out(linear: ModuleType) -> None:
    model = linear.linear_gaussian(bounds=(-50.0, 50.0))
    offset = 3e13 * torch.ones(12, dtype=torch.float64)
    far = vaeaudit.Autoencoder(model.encode, lambda z: model.decode(z) + offset, bounds=(-50.0, 50.0))
    step = _local(vaeaudit.audit(far, linear.points(12, 24), preset="quick", pairs=12)).reconstruction
    assert np.isnan(step.realised).any()
    assert np.isnan(step.realised[np.isnan(step.predicted)]).all()
    known = step.realised / step.predicted
    assert known[~np.isnan(known)] == pytest.approx(1.0, abs=0.1)


def test_a_model_too_large_for_the_preset_has_none(linear: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 1)
    spec = vaeaudit.spec.PRESETS["quick"]
    monkeypatch.setitem(vaeaudit.spec.PRESETS, "quick", spec.__class__(**{**vars(spec), "jacobian_rows": 12}))
    report = vaeaudit.audit(linear.linear_gaussian().autoencoder, linear.points(12, 24), preset="quick", pairs=12)
    assert report.local is None
    assert "spectrum_not_computed" in [finding.name for finding in report.health]


def test_it_survives_saving_and_says_what_is_doubted(free: vaeaudit.AuditReport, tmp_path) -> None:
    assert vaeaudit.load(free.save(tmp_path)) == free
    doubted = _local(free).distrusted(lambda score: score == "damage")
    assert not any(e.trusted for e in doubted.untargeted)
    assert (doubted.targeted, doubted.latent) == (_local(free).targeted, _local(free).latent)
    assert not _local(free).distrusted(lambda score: score == "encoder").latent.breaking_budget.trusted
