"""How far the two ends of a path disagree tells of local minima: nothing on one bowl, much across a ridge."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.attacks import TargetedAttack, targeted

STRENGTHS = [0.05, 0.2, 0.4, 0.7, 1.5, 3.0]
BOUNDS = (-0.5, 1.5)
FINE = torch.linspace(*BOUNDS, 200_001, dtype=torch.float64)


class Ridge:
    """Codes (u, 4 height u (1 - u)) of the first coordinate u: a ridge between the images u = 0 and u = 1.

    All other coordinates are ignored, so that the minimum is that of a function of one variable, found on a grid.
    """

    def __init__(self, height: float) -> None:
        self.height = torch.tensor(height, dtype=torch.float64)
        self.autoencoder = Autoencoder(self.encode, lambda z: z.repeat(1, 2), bounds=BOUNDS)
        self.originals = torch.tensor([[0.0, 0.3, -0.2, 0.7]], dtype=torch.float64)
        self.targets = torch.tensor([[1.0, 0.3, -0.2, 0.7]], dtype=torch.float64)

    def encode(self, x: Tensor) -> Tensor:
        u = x[:, 0]
        return torch.stack([u, 4 * self.height * u * (1 - u)], 1)

    def attack(self, strengths: list[float] | None = None, **options) -> TargetedAttack:
        return targeted(self.autoencoder, self.originals, self.targets, strengths or STRENGTHS, **options)

    def along(self, strength: float) -> Tensor:
        """The objective on the grid."""
        goal = self.encode(self.targets)
        return (self.encode(FINE[:, None]) - goal).square().sum(1) + strength * FINE.square()

    def basins(self, strength: float) -> tuple[float, float]:
        """The least objective on this side of the ridge and beyond it."""
        costs = self.along(strength)
        return float(costs[FINE < 0.5].min()), float(costs[FINE > 0.5].min())


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, 1.0)])
@pytest.mark.parametrize("penalty", ["l2_squared", "l2"])
def test_the_ends_agree_where_there_is_one_minimum(
    linear: ModuleType, bounds: tuple[float, float], penalty: str
) -> None:
    model = linear.linear_gaussian(condition=5, bounds=bounds)
    x, t = linear.points(12, 20, 1, bounds=bounds), linear.points(12, 20, 2, bounds=bounds)
    found = targeted(model.autoencoder, x, t, [0.01, 0.1, 0.5, 2.0], penalty=penalty)
    assert float(found.disagreement.median()) < 5e-3
    assert bool((found.disagreement < 0.05).all())  # the paths are compared as rough as they are before the polish


def test_the_ends_disagree_by_the_difference_of_the_minima_they_lead_to() -> None:
    ridge = Ridge(height=2.0)
    found = ridge.attack()
    for stage, strength in enumerate(STRENGTHS):
        near, far = ridge.basins(strength)
        expected = abs(near - far) / min(near, far)
        assert float(found.disagreement[0, stage]) == pytest.approx(expected, rel=0.05)
    assert float(found.disagreement.max()) > 1, "the case must be one of clear disagreement"


def test_the_better_end_is_the_one_reported() -> None:
    ridge = Ridge(height=2.0)
    found = ridge.attack()
    sides = set()
    for stage, strength in enumerate(STRENGTHS):
        best = min(ridge.basins(strength))
        assert float(found.objective[0, stage]) == pytest.approx(best, rel=1e-3)
        at = float(ridge.originals[0, 0] + found.adversarial[0, stage, 0])
        assert at == pytest.approx(float(FINE[ridge.along(strength).argmin()]), abs=0.02)
        sides.add(at > 0.5)
    assert sides == {True, False}, "each end must win somewhere for this test to say anything"


def test_without_the_ridge_the_ends_agree_again() -> None:
    flat = Ridge(height=0.0).attack()
    assert bool((flat.disagreement < 0.01).all())


def test_restarts_and_polish_do_not_touch_the_disagreement_of_the_two_ends() -> None:
    ridge = Ridge(height=2.0)
    plain, restarted = ridge.attack(), ridge.attack(restarts=3)
    torch.testing.assert_close(restarted.disagreement, plain.disagreement, rtol=1e-6, atol=1e-9)
    assert bool((restarted.objective <= plain.objective * (1 + 1e-6)).all())


def test_a_pair_of_equal_images_disagrees_about_nothing() -> None:
    ridge = Ridge(height=2.0)
    ridge.targets = ridge.originals
    assert not ridge.attack().disagreement.any()
