"""Paths over the penalty's weight: known minima at every weight, and rows that never feel each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from vaeaudit.optimize import REASONS, BoxLBFGS, Minimum, follow, lbfgs, minimize

INF = math.inf
ROWS, N = 10, 8
TIGHT = BoxLBFGS(tolerance=1e-12, max_evaluations=3000)
SERIES = torch.tensor([0.0, 1e-3, 0.02, 0.3, 4.0], dtype=torch.float64)
ROUNDING = 1e-2
"""Scale on which the norm is smoothed at zero."""


def _reason(text: str) -> int:
    (index,) = (i for i, reason in enumerate(REASONS) if text in reason)
    return index


class Bowls:
    """Rows of |M x - r|^2 in boxes of their own; with `separable`, M is diagonal and every minimum is a formula."""

    def __init__(self, *, separable: bool = False, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        values = torch.logspace(0, -1.5, N, dtype=torch.float64)
        if separable:
            self.matrix = torch.diag(values).repeat(ROWS, 1, 1)
        else:
            left, right = torch.linalg.qr(torch.randn(2, ROWS, N, N, generator=generator, dtype=torch.float64))[0]
            self.matrix = left @ torch.diag(values) @ right
        self.right = 2 * torch.randn(ROWS, N, generator=generator, dtype=torch.float64)
        self.lower = -torch.rand(ROWS, N, generator=generator, dtype=torch.float64) - 0.1
        self.upper = torch.rand(ROWS, N, generator=generator, dtype=torch.float64) + 0.1
        self.upper[:, 0] = INF
        self.lower[:, 1], self.upper[:, 1] = -INF, INF
        self.lower[:, 2] = self.upper[:, 2] = 0.05
        self.start = torch.zeros(ROWS, N, dtype=dtype)
        self.calls = torch.zeros(ROWS, dtype=torch.long)
        self.sizes: list[int] = []

    def __call__(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(problem))
        self.calls.index_add_(0, problem, torch.ones_like(problem))
        residual = (self.matrix[problem] @ points.double()[..., None])[..., 0] - self.right[problem]
        gradient = 2 * (self.matrix[problem].mT @ residual[..., None])[..., 0]
        return residual.square().sum(1), gradient.to(points.dtype)

    def follow(
        self, weights: Tensor = SERIES, solver: BoxLBFGS = TIGHT, objective: Callable | None = None, **options
    ) -> Minimum:
        weights = weights.expand(ROWS, -1).contiguous()
        lower, upper = self.lower.to(self.start.dtype), self.upper.to(self.start.dtype)
        return follow(objective or self, self.start, lower, upper, weights, solver, **options)

    def ridged(self, ridge: Tensor | float, row: int) -> Tensor:
        """Minimiser of one separable row plus ridge |x|^2."""
        slopes = self.matrix[row].diagonal()
        free = slopes * self.right[row] / (slopes.square() + ridge)
        return free.clamp(self.lower[row], self.upper[row])


def _close(found: Minimum, expected: Minimum, rows: Tensor | slice = slice(None), tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found.value[rows], expected.value[rows], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.point[rows], expected.point[rows], rtol=0, atol=tolerance)


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
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", places)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_wait_for_a_place_get_the_answers_of_all_at_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    bowls = Bowls(seed=8, dtype=dtype)
    solver = TIGHT if dtype == torch.float64 else BoxLBFGS()
    close = 1e-9 if dtype == torch.float64 else 1e-5  # batches of other sizes round differently
    at_once = bowls.follow(solver=solver)
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", 3)
    waited = bowls.follow(solver=solver)
    torch.testing.assert_close(waited.value, at_once.value, rtol=close, atol=close)
    torch.testing.assert_close(waited.point, at_once.point, rtol=0, atol=3 * math.sqrt(close))


@pytest.mark.parametrize("tolerance", [1e-12, 1e-8])
def test_a_tolerance_finer_than_the_precision_ends_at_that_precision(tolerance: float) -> None:
    bowls = Bowls(seed=8, dtype=torch.float32)
    found = bowls.follow(solver=BoxLBFGS(tolerance=tolerance, max_evaluations=300))
    torch.testing.assert_close(found.value, Bowls(seed=8).follow().value, rtol=1e-6, atol=1e-6)
    assert bool(found.converged.all()), found.evaluations


def test_rows_in_flight_stay_as_many_as_there_are_places_until_none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", 3)
    bowls = Bowls(seed=9)
    found = bowls.follow()
    tail = 3 * int(found.evaluations.sum(1).max())  # once none waits, each of three rows takes its own path at most
    assert set(bowls.sizes[:-tail]) == {3}
    assert bowls.sizes == sorted(bowls.sizes, reverse=True)
    assert bool((bowls.calls > 0).all())


def test_places_are_as_many_as_their_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    bowls = Bowls(seed=9)
    expected = bowls.follow()
    bowls.sizes.clear()
    monkeypatch.setattr(lbfgs, "STATE_BYTES", 1)
    _close(bowls.follow(), expected, tolerance=1e-4)
    assert set(bowls.sizes) == {1}


def test_evaluations_are_those_that_the_objective_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", 1)
    bowls = Bowls(seed=10)
    assert torch.equal(bowls.follow().evaluations.sum(1), bowls.calls)


def test_at_most_a_fifth_of_a_batch_is_rows_that_have_finished() -> None:
    bowls = Bowls(seed=10)
    bowls.lower[:7] = bowls.upper[:7] = 0.0  # these are done at once
    spent = bowls.follow().evaluations.sum(1)
    assert bool((spent <= bowls.calls).all())
    assert int(bowls.calls.sum()) == sum(bowls.sizes)
    assert int(spent.sum()) >= 0.8 * sum(bowls.sizes)


def test_the_budget_is_one_of_every_stage() -> None:
    bowls = Bowls(seed=11)
    found = bowls.follow(solver=BoxLBFGS(tolerance=1e-12, max_evaluations=4))
    spent = found.reason == _reason("budget of evaluations ran out")
    assert bool(spent[:, 1:].any()), "a path goes on after a stage that ran out"
    assert bool((found.evaluations[spent] == 4).all())
    assert bool((found.evaluations[~spent] <= 4).all())
    assert bool((found.evaluations >= 1).all())
    assert not found.converged[spent].any()


@pytest.mark.parametrize("places", [3, 256])
@pytest.mark.parametrize("poison", [math.nan, INF])
def test_a_row_without_a_finite_start_leaves_all_its_stages_unsolved_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, poison: float, places: int
) -> None:
    bowls = Bowls(seed=12)
    clean = bowls.follow()
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", places)

    def poisoned(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = bowls(points, problem)
        bad = (problem == 0) | (problem == 5)
        return torch.where(bad, poison, value), torch.where(bad[:, None], poison, gradient)

    found = bowls.follow(objective=poisoned)
    bad = torch.isin(torch.arange(ROWS), torch.tensor([0, 5]))
    assert bool((found.reason[bad] == _reason("not finite at the start")).all())
    assert bool((found.value[bad] == INF).all())
    assert bool(found.point.isfinite().all())
    assert bool((found.evaluations[bad].sum(1) == 1).all())
    assert bool(found.converged[~bad].all())
    _close(found, clean, ~bad, tolerance=1e-4)


def _look_seldom(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """As away from the CPU, where the solver looks for finished rows at every LOOK_EVERY-th tick."""
    look, ticks = lbfgs._Flight.look, itertools.count(1)
    monkeypatch.setattr(lbfgs._Flight, "look", lambda flight, s: s if next(ticks) % every else look(flight, s))


@pytest.mark.parametrize("places", [3, 256])
@pytest.mark.parametrize("every", [2, 4, 7])
def test_seldom_looks_at_who_has_finished_change_no_answer(
    monkeypatch: pytest.MonkeyPatch, every: int, places: int
) -> None:
    bowls = Bowls(seed=13)
    always = bowls.follow()
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", places)
    _look_seldom(monkeypatch, every)
    seldom = bowls.follow()
    _close(seldom, always, tolerance=1e-4)
    assert bool(seldom.converged.all())
    # ticks after the end are no evaluations that the row needed
    torch.testing.assert_close(seldom.evaluations.sum() / 1.0, always.evaluations.sum() / 1.0, rtol=0.05, atol=0)


@pytest.mark.parametrize("budget", [2, 3, 5])
def test_a_row_that_has_finished_stays_where_it_is_until_someone_looks(
    monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    bowls, solver = Bowls(seed=13), BoxLBFGS(tolerance=1e-12, max_evaluations=budget)
    always = bowls.follow(solver=solver)
    _look_seldom(monkeypatch, 7)
    seldom = bowls.follow(solver=solver)
    torch.testing.assert_close(seldom.point, always.point, rtol=0, atol=1e-9)
    assert torch.equal(seldom.evaluations, always.evaluations)
    assert torch.equal(seldom.reason, always.reason)


def test_the_order_of_rows_does_not_matter_along_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    bowls = Bowls(seed=14)
    forward = bowls.follow()
    monkeypatch.setitem(lbfgs.IN_FLIGHT, "cpu", 4)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    shuffled = follow(
        lambda points, problem: bowls(points, order[problem]), bowls.start, bowls.lower[order], bowls.upper[order],
        SERIES.expand(ROWS, -1), TIGHT,
    )  # fmt: skip
    torch.testing.assert_close(shuffled.value, forward.value[order], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(shuffled.point, forward.point[order], rtol=0, atol=1e-4)


def test_no_rows_are_no_work() -> None:
    bowls = Bowls()
    none = bowls.start[:0]
    found = follow(bowls, none, none, none, SERIES.expand(0, -1))
    assert found.point.shape == (0, len(SERIES), N)
    assert not bowls.sizes


def test_inputs_are_not_written_to() -> None:
    bowls, weights = Bowls(seed=15), SERIES.repeat(ROWS, 1)
    bowls.start = torch.full_like(bowls.start, 0.5)
    given = bowls.start, bowls.lower, bowls.upper, weights
    kept = [tensor.clone() for tensor in given]
    follow(bowls, *given, TIGHT)
    assert all(map(torch.equal, kept, given))
