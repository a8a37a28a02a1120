"""Paths over the penalty's weight: known minima at every weight, and rows that never feel each other."""

from __future__ import annotations

import itertools
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from vaeaudit.optimize import BoxLBFGS, flight, lbfgs, minimize

from .bowls import ROWS, SERIES, TIGHT, Bowls, reason_index

ROUNDING = 1e-2
"""Scale on which the norm is smoothed at zero."""


@pytest.mark.parametrize("order", [1, -1], ids=["ascending", "descending"])
def test_separable_bowls_are_followed_along_their_formula(order: int) -> None:
    bowls = Bowls(separable=True)
    weights = SERIES if order > 0 else SERIES.flip(0)
    found = bowls.follow(weights)
    assert bool(found.converged.all())
    for row, (stage, weight) in itertools.product(range(ROWS), enumerate(weights.tolist())):
        torch.testing.assert_close(found.point[row, stage], bowls.ridged(weight, row), rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", [1, -1], ids=["ascending", "descending"])
def test_every_stage_ends_at_the_minimum_of_an_active_set_method(boxes: ModuleType, order: int) -> None:
    bowls = Bowls(seed=1)
    weights = SERIES if order > 0 else SERIES.flip(0)
    found = bowls.follow(weights)
    assert bool(found.converged.all())
    moves = (bowls.lower < bowls.upper).numpy()
    for row, (stage, weight) in itertools.product(range(ROWS), enumerate(weights.tolist())):
        matrix, right = bowls.matrix[row].numpy(), bowls.right[row].numpy()
        slow = bowls.lower[row].numpy().copy()  # bvls wants a width: fixed coordinates are put in
        at = moves[row]
        stacked = np.vstack([matrix[:, at], math.sqrt(weight) * np.eye(at.sum())])
        goal = np.concatenate([right - matrix[:, ~at] @ slow[~at], np.zeros(at.sum())])
        slow[at] = boxes.box_least_squares(stacked, goal, bowls.lower[row].numpy()[at], bowls.upper[row].numpy()[at])
        best = np.sum((matrix @ slow - right) ** 2) + weight * slow @ slow
        assert float(found.value[row, stage]) == pytest.approx(best, rel=1e-9)
        np.testing.assert_allclose(found.point[row, stage].numpy(), slow, atol=1e-4)


def _smooth_norm(squares: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
    norm = (squares + ROUNDING**2).sqrt()
    return norm - ROUNDING, 0.5 / norm


@pytest.mark.parametrize("order", [1, -1], ids=["ascending", "descending"])
def test_the_smooth_norm_is_followed_to_the_ridge_that_it_amounts_to(order: int) -> None:
    bowls = Bowls(separable=True, seed=2)
    weights = SERIES if order > 0 else SERIES.flip(0)
    found = bowls.follow(weights, penalty=_smooth_norm)
    assert bool(found.converged.all())
    for row, (stage, weight) in itertools.product(range(ROWS), enumerate(weights.tolist())):

        def excess(log_ridge: float, row: int = row, weight: float = weight) -> float:
            ridge = math.exp(log_ridge)  # at the minimum it is the weight over twice the smooth norm
            return 2 * ridge * math.hypot(float(bowls.ridged(ridge, row).norm()), ROUNDING) - weight

        ridge = math.exp(brentq(excess, -40, 40, xtol=1e-14)) if weight else 0.0
        torch.testing.assert_close(found.point[row, stage], bowls.ridged(ridge, row), rtol=0, atol=2e-5)


@pytest.mark.parametrize("penalty", [lbfgs.squared, _smooth_norm])
def test_a_path_ends_where_separate_runs_on_the_whole_objective_end(penalty: lbfgs.Penalty) -> None:
    bowls = Bowls(seed=3)
    path = bowls.follow(penalty=penalty)
    for stage, weight in enumerate(SERIES):

        def whole(points: Tensor, problem: Tensor, weight: Tensor = weight) -> tuple[Tensor, Tensor]:
            value, gradient = bowls(points, problem)
            size, slope = penalty(points.square().sum(1), problem)
            return value + weight * size, gradient + 2 * weight * slope[:, None] * points

        alone = minimize(whole, bowls.start, bowls.lower, bowls.upper, TIGHT)
        torch.testing.assert_close(path.value[:, stage], alone.value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(path.point[:, stage], alone.point, rtol=0, atol=1e-4)


@pytest.mark.parametrize("places", [3, 256])
def test_each_row_may_have_weights_of_its_own(monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", places)
    bowls = Bowls(separable=True, seed=4)
    generator = torch.Generator().manual_seed(4)
    weights = torch.rand(ROWS, 3, generator=generator, dtype=torch.float64) * 10 ** -torch.arange(3).double()
    found = bowls.follow(weights)
    for row, stage in itertools.product(range(ROWS), range(3)):
        expected = bowls.ridged(float(weights[row, stage]), row)
        torch.testing.assert_close(found.point[row, stage], expected, rtol=0, atol=1e-5)


def test_what_a_path_has_learnt_saves_evaluations_at_the_next_weight() -> None:
    bowls = Bowls(seed=5)
    path = bowls.follow()
    cold = torch.stack([bowls.follow(weight[None]).evaluations[:, 0] for weight in SERIES], 1)
    assert int(path.evaluations[:, 1:].sum()) < 0.7 * int(cold[:, 1:].sum())


@pytest.mark.parametrize("tolerance", [1e-12, 1e-8])
def test_a_tolerance_finer_than_the_precision_ends_at_that_precision(tolerance: float) -> None:
    bowls = Bowls(seed=8, dtype=torch.float32)
    found = bowls.follow(solver=BoxLBFGS(tolerance=tolerance, max_evaluations=300))
    torch.testing.assert_close(found.value, Bowls(seed=8).follow().value, rtol=1e-6, atol=1e-6)
    assert bool(found.converged.all()), found.evaluations


def test_the_budget_is_one_of_every_stage() -> None:
    bowls = Bowls(seed=11)
    found = bowls.follow(solver=BoxLBFGS(tolerance=1e-12, max_evaluations=4))
    spent = found.reason == reason_index("budget of evaluations ran out")
    assert bool(spent[:, 1:].any()), "a path goes on after a stage that ran out"
    assert bool((found.evaluations[spent] == 4).all())
    assert bool((found.evaluations[~spent] <= 4).all())
    assert bool((found.evaluations >= 1).all())
    assert not found.converged[spent].any()
