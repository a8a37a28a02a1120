"""The movement of the latent under the untargeted attack: of linear models, whose attack is known in closed form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import AuditReport, Autoencoder, at_most, attacks
from vaeaudit.measurements import damage as measuring
from vaeaudit.measurements.bench import Bench
from vaeaudit.measurements.movement import movement_of
from vaeaudit.report.movement import LatentMovement
from vaeaudit.spec import PRESETS

SMALL = dataclasses.replace(
    PRESETS["quick"], pairs=6, strengths=4, between=0, extensions=0, samples=4, images=12, spectra=4, damaged=6,
    damage_steps=40, second_looks=0, queries=8, certified=0,
)  # fmt: skip
KEPT = Bench.kept
FREE = (-math.inf, math.inf)
SCALES = (4.0, 0.5, 0.02)
STRETCH = (3.0, 1.0, 1.0)
"""Of the three first coordinates by the round trip: the attack goes along the first."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset of few pairs."""
    monkeypatch.setitem(PRESETS, "quick", SMALL)


class Diagonal(nn.Module):
    """Keeps the first coordinates, each scaled in the latent, and stretches them in the reconstruction."""

    def __init__(self, scales: tuple[float, ...], stretch: tuple[float, ...] = STRETCH, inputs: int = 5) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.tensor(scales, dtype=torch.float64))
        self.stretch = nn.Parameter(torch.tensor(stretch, dtype=torch.float64))
        self.inputs = inputs

    def encode(self, x: Tensor) -> Any:
        return x[:, : len(self.scales)] * self.scales

    def decode(self, z: Any) -> Tensor:
        kept = z / self.scales.where(self.scales != 0, 1.0) * self.stretch
        return nn.functional.pad(kept, (0, self.inputs - len(self.scales)))


class Grouped(Diagonal):
    """The same units in two groups, a grid `(1, 2)` of one channel and a single number."""

    def encode(self, x: Tensor) -> Any:
        z = super().encode(x)
        return (z[:, None, :2],), (z[:, 2],)

    def decode(self, z: Any) -> Tensor:
        return super().decode(torch.cat([z[0].flatten(1), z[1][:, None]], 1))


def _images() -> Tensor:
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _audited(model: Diagonal, **options: Any) -> AuditReport:
    ae = Autoencoder(model.encode, model.decode, bounds=FREE, modules=(model,))
    return vaeaudit.audit(ae, _images(), "quick", **options)


def _latent(report: AuditReport) -> LatentMovement:
    assert report.damage is not None
    assert report.damage.latent is not None
    return report.damage.latent


def _radii(report: AuditReport) -> np.ndarray[Any, Any]:
    assert report.damage is not None
    return report.damage.radii


def test_the_movement_is_that_of_the_best_direction_in_its_channels_deviations() -> None:
    """Along the first coordinate the first unit moves by its scale, and its deviation has that scale too."""
    report = _audited(Diagonal(SCALES))
    latent, radii = _latent(report), _radii(report)
    own = _images()[:, 0].std(correction=0).item()
    np.testing.assert_allclose(latent.moved, np.broadcast_to(radii / own / 3**0.5, latent.moved.shape), rtol=1e-3)
    # within a thousandth of the best displacement a step may still lean to the side by some hundredths
    np.testing.assert_allclose(latent.by_channel, [radii[-1] / own, 0, 0], rtol=1e-3, atol=0.05)
    expected = (_images()[:, :3] * torch.tensor(SCALES)).std(0, correction=0)
    np.testing.assert_allclose(latent.deviations, expected, rtol=1e-6)
    assert not latent.collapsed.any()
    assert [one.value for one in latent.estimates] == pytest.approx(latent.moved.mean(0))
    assert {(one.n, one.unit, one.higher_is_better) for one in latent.estimates} == {(6, "channel std", False)}


def test_rescaled_channels_move_alike() -> None:
    one, other = (_latent(_audited(Diagonal(scales))) for scales in (SCALES, (1.0, 1.0, 1.0)))
    np.testing.assert_allclose(one.moved, other.moved, rtol=1e-3)
    np.testing.assert_allclose(one.deviations / other.deviations, SCALES, rtol=1e-6)


def test_groups_have_channels_of_their_own_and_a_grid_one_for_all_places() -> None:
    report = _audited(Grouped((2.0, 2.0, 7.0)))
    latent, radii = _latent(report), _radii(report)
    spread = (_images()[:, :2] * 2.0).std(correction=0).item()
    m = 2.0 * radii / 2**0.5 / spread  # one place of two moves
    np.testing.assert_allclose(latent.moved, np.broadcast_to(m / 2**0.5, latent.moved.shape), rtol=1e-3)
    assert latent.deviations.shape == (2,)


def test_a_latent_of_one_unit_is_one_channel() -> None:
    report = _audited(Diagonal((0.1,), (3.0,)))
    own = _images()[:, 0].std(correction=0).item()
    np.testing.assert_allclose(_latent(report).moved[0], _radii(report) / own, rtol=1e-3)
    assert _latent(report).by_channel.shape == (1,)


def test_a_collapsed_channel_is_counted_and_told() -> None:
    """It does not move, so it lowers the mean over channels; it is no division by zero."""
    report = _audited(Diagonal((4.0, 0.0, 1.0)))
    latent = _latent(report)
    assert latent.collapsed.tolist() == [False, True, False]
    assert latent.deviations[1] == pytest.approx(1e-3 * latent.deviations.max())
    assert latent.by_channel[1] == 0
    own = _images()[:, 0].std(correction=0).item()
    np.testing.assert_allclose(latent.moved[0], _radii(report) / own / 3**0.5, rtol=1e-3)
    assert "1 of 3 latent channels hardly varies over the clean images" in " ".join(str(report).split())


def test_without_a_channel_that_varies_there_is_no_figure_and_no_pass() -> None:
    latent = movement_of(np.ones((8, 3, 2), dtype=np.float32), np.zeros(2))
    assert latent.collapsed.all()
    assert np.isnan(latent.moved).all()
    assert all(math.isnan(one.value) and one.n == 0 for one in latent.estimates)
    found = measuring.damage_of(np.ones((8, 3)), [0.1, 0.2, 0.5], np.arange(8), latent)
    assert found.sample("damage_latent").values.size == 0


def test_an_image_whose_latent_is_not_finite_is_left_out() -> None:
    channels = np.ones((8, 3, 2), dtype=np.float32)
    channels[2, 1:, 0] = np.inf
    latent = movement_of(channels, np.array([0.5, 2.0]))
    assert [one.n for one in latent.estimates] == [8, 7, 7]
    assert latent.by_channel.tolist() == [2.0, 0.5]
    assert latent.by_channel_errors.tolist() == [0.0, 0.0]


class Overflowing(Diagonal):
    """An encoder whose mean is infinite beyond all clean images, where the decoder hides it."""

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return torch.where(x.abs().amax(1, keepdim=True) > 1.0, math.inf * z.sign(), z)

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z.clamp(-2, 2))


def test_an_infinite_latent_behind_a_finite_reconstruction_is_invalid() -> None:
    model = Overflowing((1.0, 1.0, 1.0))
    ae = Autoencoder(model.encode, model.decode, bounds=FREE, modules=(model,))
    report = vaeaudit.audit(ae, _images().clamp(-0.999, 0.999), "quick")
    (verdict,) = report.check(damage_latent=at_most(1e6))
    assert verdict.outcome == "INVALID"
    assert "the untargeted attack the model returned NaN or infinite values" in verdict.reason


def test_the_movement_is_a_score_with_bounds_of_its_own_sample() -> None:
    report = _audited(Diagonal(SCALES))
    sample = report.sample("damage_latent")
    np.testing.assert_array_equal(sample.values, _latent(report).moved[:, 1])
    assert report.score("damage_latent") == _latent(report).estimates[1]
    assert AuditReport.from_dict(report.to_dict()) == dataclasses.replace(report, gallery=None)


def test_rows_are_kept_with_it_and_rows_without_it_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original: Callable[..., Any] = attacks.maximum_damage

    def noted(ae: Any, images: Tensor, *rest: Any, **options: Any) -> Any:
        calls.append(len(images))
        return original(ae, images, *rest, **options)

    monkeypatch.setattr(attacks, "maximum_damage", noted)
    with monkeypatch.context() as older:
        older.setattr(Bench, "kept", _kept_without_channels)
        _audited(Diagonal(SCALES), checkpoint=tmp_path)
    assert sum(calls) == 6
    first = _audited(Diagonal(SCALES), checkpoint=tmp_path)
    assert sum(calls) == 12
    again = _audited(Diagonal(SCALES), checkpoint=tmp_path)
    assert sum(calls) == 12
    np.testing.assert_array_equal(_latent(again).moved, _latent(first).moved)


def _kept_without_channels(
    bench: Bench, name: str, title: str, rows: Any, measure: Any, size: int, settings: Any, *crew: Any
) -> Any:
    """As `Bench.kept` was asked before the movement was measured."""
    older = {key: value for key, value in settings.items() if key != "channels"}
    return KEPT(bench, name, title, rows, measure, size, older, *crew)
