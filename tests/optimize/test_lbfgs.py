"""The batched box L-BFGS: constructed optima, KKT residuals, independence of rows, and honest reasons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from vaeaudit import OptionError
from vaeaudit.optimize import REASONS, BoxLBFGS, Minimum, follow, minimize

INF = math.inf
TIGHT = BoxLBFGS(tolerance=1e-12, max_evaluations=3000)


def _reason(text: str) -> int:
    (index,) = (i for i, reason in enumerate(REASONS) if text in reason)
    return index


class Quadratics:
    """Convex quadratics x'Qx/2 - c'x in boxes, built around chosen minimisers and multipliers."""

    def __init__(self, *, rows: int = 12, n: int = 15, condition: float = 100.0, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        values = torch.logspace(0, -math.log10(condition), n, dtype=torch.float64)
        basis = torch.linalg.qr(torch.randn(rows, n, n, generator=generator, dtype=torch.float64))[0]
        self.root = values.sqrt()[:, None] * basis.mT
        self.matrix = self.root.mT @ self.root
        self.lower, self.upper = -torch.rand(2, rows, n, generator=generator, dtype=torch.float64) - 0.1
        self.upper = -self.upper
        self.lower[:, 0], self.upper[:, 1] = -INF, INF
        state = torch.randint(0, 3, (rows, n), generator=generator)
        state[:, :2] = 0
        inside = torch.rand(rows, n, generator=generator, dtype=torch.float64) * 1.6 - 0.8
        inside = torch.where(inside > 0, inside * self.upper.clamp(max=1), -inside * self.lower.clamp(min=-1))
        self.minimiser = torch.where(state == 1, self.lower, torch.where(state == 2, self.upper, inside))
        push = torch.rand(rows, n, generator=generator, dtype=torch.float64) + 0.1
        gradient = torch.where(state == 1, push, torch.where(state == 2, -push, 0.0))
        self.linear = (self.matrix @ self.minimiser[..., None])[..., 0] - gradient
        self.minimum = self(self.minimiser, torch.arange(rows))[0]
        self.start = torch.zeros(rows, n, dtype=torch.float64)

    def __call__(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        wide = points.double()
        image = (self.matrix[problem] @ wide[..., None])[..., 0]
        value = 0.5 * (wide * image).sum(1) - (self.linear[problem] * wide).sum(1)
        return value, (image - self.linear[problem]).to(points.dtype)

    def solve(self, solver: BoxLBFGS = TIGHT, dtype: torch.dtype = torch.float64) -> Minimum:
        return minimize(self, self.start.to(dtype), self.lower.to(dtype), self.upper.to(dtype), solver)

    def excess(self, found: Minimum) -> Tensor:
        """How far above the minimum, as a fraction of the way from the start."""
        fall = self(self.start, torch.arange(len(self.start)))[0] - self.minimum
        return (self(found.point, torch.arange(len(found.point)))[0] - self.minimum) / fall


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("n", [2, 15, 60])
def test_the_constructed_minimum_of_a_quadratic_in_a_box_is_found(n: int, condition: float) -> None:
    problem = Quadratics(n=n, condition=condition, seed=n)
    found = problem.solve()
    assert bool(found.converged.all())
    assert bool((problem.excess(found).abs() < 1e-9).all())
    assert bool(((problem.lower <= found.point) & (found.point <= problem.upper)).all())
    # strong convexity: |x - x*|^2 <= 2 (f - f*) condition
    fall = problem(problem.start, torch.arange(12))[0] - problem.minimum
    assert bool(((found.point - problem.minimiser).square().sum(1) <= 2 * condition * 1e-9 * fall).all())


def test_the_minimum_is_that_of_an_active_set_method(boxes: ModuleType) -> None:
    generator = torch.Generator().manual_seed(7)
    matrix = torch.randn(8, 12, 10, generator=generator, dtype=torch.float64)
    right = 3 * torch.randn(8, 12, generator=generator, dtype=torch.float64)
    box = torch.full((8, 10), 0.5, dtype=torch.float64)

    def least_squares(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        residual = (matrix[problem] @ points[..., None])[..., 0] - right[problem]
        return residual.square().sum(1), 2 * (matrix[problem].mT @ residual[..., None])[..., 0]

    found = minimize(least_squares, torch.zeros_like(box), -box, box, TIGHT)
    for row in range(8):
        slow = boxes.box_least_squares(*(t[row].numpy() for t in (matrix, right, -box, box)))
        assert np.allclose(found.point[row].numpy(), slow, atol=1e-5)
        best = float(np.sum((matrix[row].numpy() @ slow - right[row].numpy()) ** 2))
        assert float(found.value[row]) == pytest.approx(best, rel=1e-10)


def test_the_gradient_vanishes_on_free_coordinates_and_pushes_outward_on_bounds() -> None:
    problem = Quadratics(condition=10, seed=3)
    point = problem.solve().point
    gradient = problem(point, torch.arange(12))[1]
    low, high = point <= problem.lower, point >= problem.upper
    assert low.any()
    assert high.any()
    assert bool((gradient[~(low | high)].abs() < 1e-5).all())
    assert bool((gradient[low] > -1e-5).all())
    assert bool((gradient[high] < 1e-5).all())


def _rosenbrock(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
    x, y = points.double().T
    value = 100 * (y - x**2) ** 2 + (1 - x) ** 2
    gradient = torch.stack([-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)], 1)
    return value, gradient.to(points.dtype)


def test_a_batch_of_rosenbrock_valleys_is_followed_to_its_end() -> None:
    starts = torch.cartesian_prod(torch.linspace(-2, 2, 7), torch.linspace(-1, 3, 7)).double()
    free = torch.full_like(starts, INF)
    found = minimize(_rosenbrock, starts, -free, free, TIGHT)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.point, torch.ones_like(starts), rtol=0, atol=1e-4)
    assert float(found.evaluations.double().median()) < 100


def test_a_wall_across_the_rosenbrock_valley_stops_it_at_the_wall() -> None:
    starts = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [-0.5, 2.0], [5.0, 5.0]], dtype=torch.float64)
    upper = torch.tensor([0.5, INF], dtype=torch.float64).expand_as(starts)
    found = minimize(_rosenbrock, starts, torch.full_like(starts, -2.0), upper, TIGHT)
    expected = torch.tensor([0.5, 0.25], dtype=torch.float64).expand_as(starts)
    torch.testing.assert_close(found.point, expected, rtol=0, atol=1e-6)


def _on_its_own(objective: Callable[..., tuple[Tensor, Tensor]], row: int) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda points, problem: objective(points, torch.full_like(problem, row))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_gets_the_same_answer_alone_and_among_others(dtype: torch.dtype) -> None:
    problem = Quadratics(seed=5)
    solver = BoxLBFGS(tolerance=1e-5)
    together = problem.solve(solver, dtype)
    close = 1e-4 if dtype == torch.float32 else 1e-7  # other batch sizes round differently
    for row in range(12):
        one = slice(row, row + 1)
        start, lower, upper = (t[one].to(dtype) for t in (problem.start, problem.lower, problem.upper))
        alone = minimize(_on_its_own(problem, row), start, lower, upper, solver)
        torch.testing.assert_close(alone.value[0], together.value[row], rtol=close, atol=close)
        torch.testing.assert_close(alone.point[0], together.point[row], rtol=0, atol=30 * close)


def test_threads_do_not_round_the_sum_of_a_large_row_differently_when_it_is_alone() -> None:
    n, rows = 50_000, 4  # of rows with fewer than 32768 figures no sum is shared among threads
    start = torch.randn(rows, n, generator=torch.Generator().manual_seed(0))
    box, weights = torch.full_like(start, 9), torch.ones(rows, 1, dtype=torch.float64)
    once = BoxLBFGS(max_evaluations=1)  # more would be slow: threads that compete for busy cores wait for each other
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = follow(_nothing, start, -box, box, weights, once)
        alone = [follow(_nothing, *(t[[row]] for t in (start, -box, box, weights)), once) for row in range(rows)]
    finally:
        torch.set_num_threads(threads)
    for row in range(rows):
        assert torch.equal(alone[row].value[0], together.value[row])


def _nothing(points: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    """An objective of 0, so that the penalty alone is left."""
    return torch.zeros(len(points), dtype=torch.float64), torch.zeros_like(points)


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e20, 1e28])
def test_the_minimum_does_not_depend_on_the_scale_of_the_objective(scale: float) -> None:
    problem = Quadratics(seed=8)
    start, lower, upper = (t.float() for t in (problem.start, problem.lower, problem.upper))
    found = minimize(lambda *asked: tuple(scale * part for part in problem(*asked)), start, lower, upper)
    assert bool(found.converged.all())
    assert float(problem.excess(found).max()) < 1e-3


def test_the_order_of_rows_does_not_matter() -> None:
    problem = Quadratics(seed=6)
    forward = problem.solve()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = minimize(
        lambda points, rows: problem(points, order[rows]),
        problem.start, problem.lower[order], problem.upper[order], TIGHT,
    )  # fmt: skip
    torch.testing.assert_close(shuffled.point, forward.point[order], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("dtype", "excess"), [(torch.float32, 1e-5), (torch.float64, 1e-8)])
def test_the_precision_of_the_start_is_kept(dtype: torch.dtype, excess: float) -> None:
    problem = Quadratics(seed=8)
    found = problem.solve(dtype=dtype)
    assert found.point.dtype == dtype
    assert found.value.dtype == torch.float64
    assert bool((problem.excess(found).abs() < excess).all())
    assert bool(found.converged.all())


def test_the_reported_value_is_that_of_the_reported_point() -> None:
    problem = Quadratics(seed=9)
    found = problem.solve(BoxLBFGS(max_evaluations=7))
    torch.testing.assert_close(problem(found.point, torch.arange(12))[0], found.value, rtol=1e-12, atol=1e-12)


def test_a_start_outside_the_box_is_clipped_into_it() -> None:
    problem = Quadratics(seed=10)
    problem.start = torch.full_like(problem.start, 50.0)
    found = problem.solve()
    assert bool((problem.excess(found).abs() < 1e-9).all())


def test_a_row_that_starts_at_its_minimum_stays_and_says_why() -> None:
    problem = Quadratics(seed=11)
    problem.linear[0] = 0  # the gradient is exactly zero at the start
    found = problem.solve()
    assert torch.equal(found.point[0], problem.start[0])
    assert int(found.reason[0]) == _reason("projected gradient vanishes")
    assert int(found.evaluations[0]) == 2  # once to see it, once more to see that nothing moves
    assert bool(found.converged.all())


def test_coordinates_with_equal_bounds_never_move() -> None:
    problem = Quadratics(condition=10, seed=12)
    problem.lower[:, 4:] = problem.upper[:, 4:] = 0.03
    problem.lower[0] = problem.upper[0] = 0.05  # nothing may move at all
    found = problem.solve()
    assert torch.equal(found.point[:, 4:], problem.lower[:, 4:])
    assert torch.equal(found.point[0], problem.lower[0])
    assert int(found.reason[0]) == _reason("projected gradient vanishes")
    gradient = problem(found.point, torch.arange(12))[1]
    inner = (found.point > problem.lower) & (found.point < problem.upper)
    assert inner.any()
    assert bool((gradient[inner].abs() < 1e-5).all())


@pytest.mark.parametrize("poison", [math.nan, INF])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_row_without_a_finite_start_is_named_and_harms_no_other(poison: float, where: str) -> None:
    problem = Quadratics(seed=13)
    clean = problem.solve()

    def poisoned(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = problem(points, rows)
        if where == "value":
            return torch.where(rows == 3, poison, value), gradient
        return value, torch.where((rows == 3)[:, None], poison, gradient)

    found = minimize(poisoned, problem.start, problem.lower, problem.upper, TIGHT)
    assert int(found.reason[3]) == _reason("not finite at the start")
    assert not found.converged[3]
    others = torch.arange(12) != 3
    torch.testing.assert_close(found.point[others], clean.point[others], rtol=0, atol=1e-6)
    assert bool(found.converged[others].all())


def test_a_pit_of_infinities_beside_the_way_is_stepped_around() -> None:
    def barrier(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        return (points - points.log()).sum(1), 1 - 1 / points  # NaN at negative points

    start = torch.tensor([[30.0, 1e-3], [1e-3, 50.0]], dtype=torch.float64)
    free = torch.full_like(start, INF)
    found = minimize(barrier, start, -free, free, TIGHT)
    torch.testing.assert_close(found.point, torch.ones_like(start), rtol=0, atol=1e-4)


@pytest.mark.parametrize("budget", [2, 3, 10])
def test_an_exhausted_budget_is_reported_and_kept_to(budget: int) -> None:
    problem = Quadratics(condition=1e4, seed=14)
    found = problem.solve(BoxLBFGS(tolerance=1e-12, max_evaluations=budget))
    assert not found.converged.any()
    assert bool((found.reason == _reason("budget of evaluations ran out")).all())
    assert bool((found.evaluations == budget).all())


def test_a_larger_budget_never_ends_higher() -> None:
    problem = Quadratics(condition=1e4, seed=15)
    values = [problem.solve(BoxLBFGS(tolerance=1e-12, max_evaluations=budget)).value for budget in (2, 4, 8, 16, 64)]
    for smaller, larger in itertools.pairwise(values):
        assert bool((larger <= smaller + 1e-13 * smaller.abs()).all())  # a step may rise by rounding


def test_a_looser_tolerance_costs_less_and_says_that_the_objective_settled() -> None:
    problem = Quadratics(condition=1e4, n=60, seed=16)
    loose, tight = problem.solve(BoxLBFGS(tolerance=1e-3, patience=2)), problem.solve()
    assert bool((loose.evaluations <= tight.evaluations).all())
    assert int(loose.evaluations.sum()) < int(tight.evaluations.sum())
    assert bool((loose.reason == _reason("no longer decreases")).any())


def test_a_kink_that_no_step_descends_is_reported_as_such() -> None:
    def kink(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        return points.abs().sum(1), torch.where(points >= 0, 1.0, -1.0).to(points)

    start = torch.zeros(2, 3, dtype=torch.float64)
    free = torch.full_like(start, INF)
    found = minimize(kink, start, -free, free, BoxLBFGS())
    assert bool((found.reason == _reason("no step along the gradient")).all())
    assert torch.equal(found.point, start)


def test_finished_rows_leave_the_batch() -> None:
    problem = Quadratics(rows=12, condition=1e4, n=60, seed=17)
    problem.linear[:10] = 0  # ten rows start at their minimum
    sizes: list[int] = []

    def watched(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(rows))
        return problem(points, rows)

    minimize(watched, problem.start, problem.lower, problem.upper, TIGHT)
    assert sizes[0] == 12
    assert max(sizes[6:]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 0}, "memory expects at least 1, got 0"),
        ({"max_evaluations": 0}, "max_evaluations expects at least 1, got 0"),
        ({"patience": -2}, "patience expects at least 1, got -2"),
        ({"tolerance": 0.0}, "tolerance expects a number between 0 and 1, got 0.0"),
        ({"tolerance": 1.0}, "tolerance expects a number between 0 and 1"),
        ({"tolerance": math.nan}, "tolerance expects a number between 0 and 1"),
    ],
)
def test_unusable_settings_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BoxLBFGS(**options)


@pytest.mark.parametrize("memory", [1, 3, 20])
def test_any_memory_reaches_the_minimum(memory: int) -> None:
    problem = Quadratics(seed=18)
    found = problem.solve(BoxLBFGS(tolerance=1e-12, memory=memory, max_evaluations=5000))
    assert bool((problem.excess(found).abs() < 1e-8).all())
