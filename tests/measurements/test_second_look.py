"""A second look: what its rows are kept under, and how it tells images of 8 bits."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import vaeaudit
from vaeaudit.checkpoint import Arrays
from vaeaudit.measurements import second_look as looking
from vaeaudit.measurements.bench import Bench
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage
from vaeaudit.spec import PRESETS

SMALL = dataclasses.replace(
    PRESETS["quick"], pairs=5, strengths=4, between=0, extensions=0, samples=4, images=12, spectra=4, damaged=5,
    damage_steps=5, second_looks=5, queries=8, certified=0, certified_balls=2,
)  # fmt: skip


class _Doubles(TorchDispatchMode):
    """Notes how many float64 values each operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.dtype == torch.float64:
            self.made.append(found.numel())
        return found


def _bench(images: Tensor, bounds: tuple[float, float] = (-1.0, 1.0)) -> Bench:
    return cast("Bench", SimpleNamespace(ae=SimpleNamespace(bounds=bounds), images=images))


def test_images_of_8_bits_are_told_a_few_at_a_time_up_to_the_first_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(looking, "_VALUES_AT_ONCE", 3 * 16)
    whole = torch.randint(0, 256, (10, 1, 4, 4), generator=torch.Generator().manual_seed(0)).float() / 127.5 - 1
    with _Doubles() as doubles:
        assert looking._has_eight_bits(_bench(whole))
    assert max(doubles.made) == 3 * 16
    assert not looking._has_eight_bits(_bench(whole, (-math.inf, math.inf)))
    counts = []
    for place in (0, 4, 9):
        images = whole.clone()
        images[place, 0, 1, 2] += 0.4 / 127.5
        with _Doubles() as doubles:
            assert not looking._has_eight_bits(_bench(images))
        counts.append(len(doubles.made))
    assert 0 < counts[0] < counts[1] < counts[2]
    monkeypatch.setattr(looking, "_VALUES_AT_ONCE", 1)  # an image is never cut
    assert looking._has_eight_bits(_bench(whole))


def test_a_pair_whose_ball_is_another_is_looked_at_anew_and_no_other_is(
    linear: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balls come from curves, whose samples and precision the rows are not kept under."""
    seen: list[tuple[Bench, Curves, Damage]] = []
    monkeypatch.setitem(PRESETS, "quick", SMALL)
    original = looking.second_look

    def noted(bench: Bench, curves: Curves, damage: Damage) -> Any:
        seen.append((bench, curves, damage))
        return original(bench, curves, damage)

    monkeypatch.setattr("vaeaudit.run.second_look", noted)
    model = linear.linear_gaussian(n=6, k=2)
    report = vaeaudit.audit(model.autoencoder, linear.points(6, 12, 1), preset="quick")
    assert report.certificates is None  # a preset may certify no pairs
    ((bench, measured_curves, damage),) = seen
    curves = dataclasses.replace(measured_curves, hinge=np.linspace(0.4, 0.8, 5), excluded=np.zeros(5, bool))
    measured: list[int] = []
    look = looking._looked_at

    def counted(bench: Bench, chunk: Any, plan: looking.SecondLook) -> Arrays:
        measured.extend(chunk.tolist())
        return look(bench, chunk, plan)

    monkeypatch.setattr(looking, "_looked_at", counted)
    with bench.ae.at_rest(0):
        looking.second_look(bench, curves, damage)
        measured.clear()
        looking.second_look(bench, curves, damage)
        assert measured == []
        nearest = 0
        moved = curves.hinge.copy()
        moved[nearest] *= 0.1  # the lowest: no median, and with it no setting, is another
        other = dataclasses.replace(curves, hinge=moved)
        before, after = (looking._planned(bench, one, damage, 5) for one in (curves, other))
        assert (before.strength, before.radius) == (after.strength, after.radius)
        assert np.flatnonzero(before.balls != after.balls).tolist() == [nearest]
        looking.second_look(bench, other, damage)
    assert measured == [nearest]
