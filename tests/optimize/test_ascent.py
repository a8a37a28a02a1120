"""Projected ascent: rows never come down, never leave their set, and find a maximum that is known."""

from __future__ import annotations

import itertools
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit.optimize import Maximum, ascend, project_l2, project_linf


def _unit(gradient: Tensor) -> Tensor:
    return gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _set(rows: int, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lower, upper = torch.rand(2, rows, n, generator=generator, dtype=torch.float64) * 0.8
    return torch.linspace(0.3, 2.5, rows, dtype=torch.float64), -lower, upper


def _climb(objective, radius: Tensor, lower: Tensor, upper: Tensor, *, steps: int, norm: str = "l2") -> Maximum:
    project = project_l2 if norm == "l2" else project_linf
    return ascend(
        objective, torch.zeros_like(lower), radius,
        project=lambda d: project(d, radius, lower, upper),
        steepest=_unit if norm == "l2" else torch.sign, steps=steps,
    )  # fmt: skip


def _wavy(points: Tensor) -> tuple[Tensor, Tensor]:
    """A function with many local maxima."""
    frequency = torch.arange(1, points.shape[1] + 1, dtype=points.dtype)
    value = (frequency * points).sin().sum(1) + points.sum(1) + 10
    return value, frequency * (frequency * points).cos() + 1


def test_a_linear_function_reaches_its_known_maximum_in_a_ball_and_box(boxes: ModuleType) -> None:
    radius, lower, upper = _set(12, 8, 0)
    slope = torch.randn(12, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    quick, found = (
        _climb(lambda d: ((slope * d).sum(1), slope), radius, lower, upper, steps=steps) for steps in (40, 1000)
    )
    for row in range(12):
        known = boxes.maximum_of_linear(*(t[row].numpy() for t in (slope, radius, lower, upper)))
        best = float((slope[row] * torch.from_numpy(known)).sum())
        assert float(found.value[row]) == pytest.approx(best, rel=1e-6)
        assert float(quick.value[row]) == pytest.approx(best, rel=1e-3)


def test_the_linf_maximum_of_a_linear_function_is_a_corner() -> None:
    radius, lower, upper = _set(12, 8, 2)
    slope = torch.randn(12, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = _climb(lambda d: ((slope * d).sum(1), slope), radius, lower, upper, steps=20, norm="linf")
    low, high = torch.maximum(lower, -radius[:, None]), torch.minimum(upper, radius[:, None])
    torch.testing.assert_close(found.point, torch.where(slope > 0, high, low))


def test_more_steps_never_find_less_and_the_value_is_that_of_the_point() -> None:
    radius, lower, upper = _set(6, 5, 4)
    found = [_climb(_wavy, radius, lower, upper, steps=steps) for steps in range(25)]
    for earlier, later in itertools.pairwise(found):
        assert bool((later.value >= earlier.value).all())
    assert bool((found[-1].value > found[0].value).all())
    torch.testing.assert_close(_wavy(found[-1].point)[0], found[-1].value)


def test_no_point_outside_the_set_is_ever_evaluated() -> None:
    radius, lower, upper = _set(6, 5, 5)
    seen: list[Tensor] = []

    def watched(points: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(points)
        return _wavy(points)

    _climb(watched, radius, lower, upper, steps=30)
    points = torch.stack(seen)
    assert len(points) == 31
    assert bool(((lower <= points) & (points <= upper)).all())
    assert bool((points.norm(dim=2) <= radius * (1 + 1e-12)).all())


def test_rows_climb_on_their_own() -> None:
    radius, lower, upper = _set(6, 5, 6)
    together = _climb(_wavy, radius, lower, upper, steps=15)
    for row in range(6):
        alone = _climb(_wavy, radius[row : row + 1], lower[row : row + 1], upper[row : row + 1], steps=15)
        torch.testing.assert_close(alone.point[0], together.point[row], rtol=1e-12, atol=1e-12)


def test_the_last_gain_tells_a_finished_climb_from_an_unfinished_one() -> None:
    n = 40
    radius, free = torch.ones(1, dtype=torch.float64), torch.full((1, n), 1e9, dtype=torch.float64)
    curvature = torch.logspace(0, -2, n, dtype=torch.float64)

    def bowl(d: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - (curvature * (d - 0.05) ** 2).sum(1), -2 * curvature * (d - 0.05)

    assert float(_climb(bowl, radius, -free, free, steps=1).last_gain) > 1e-3
    assert float(_climb(bowl, radius, -free, free, steps=60).last_gain) < 1e-3


def test_a_climb_that_begins_at_the_maximum_counts_as_finished() -> None:
    radius, free = torch.ones(1, dtype=torch.float64), torch.full((1, 3), 1e9, dtype=torch.float64)
    slope = torch.tensor([[3.0, 0.0, 4.0]], dtype=torch.float64)
    found = ascend(
        lambda d: ((slope * d).sum(1), slope), slope / 5, radius,
        project=lambda d: project_l2(d, radius, -free, free), steepest=_unit, steps=40,
    )  # fmt: skip
    assert float(found.value) == 5
    assert float(found.last_gain) == 0


def test_gains_are_measured_against_the_size_of_negative_values_too() -> None:
    radius, free = torch.ones(2, dtype=torch.float64), torch.full((2, 3), 1e9, dtype=torch.float64)
    height = torch.tensor([-100.0, -1e-3], dtype=torch.float64)

    def bowl(d: Tensor) -> tuple[Tensor, Tensor]:
        return height - 0.05 * (d - 0.3).square().sum(1), -0.1 * (d - 0.3)

    early = _climb(bowl, radius, -free, free, steps=3)
    assert 0 < float(early.last_gain[0]) < 1e-3 < float(early.last_gain[1])
    late = _climb(bowl, radius, -free, free, steps=200)
    torch.testing.assert_close(late.value, height, rtol=1e-6, atol=1e-9)


def test_momentum_crosses_a_valley_that_steepest_steps_wander_in() -> None:
    """From a side of a narrow ridge to its end: as many steepest steps, of whatever fixed length, come less far."""
    n = 2
    radius, free = torch.full((1,), 4.0, dtype=torch.float64), torch.full((1, n), 1e9, dtype=torch.float64)
    steep = torch.tensor([1.0, 400.0], dtype=torch.float64)
    goal = torch.tensor([3.0, 0.0], dtype=torch.float64)

    def ridge(d: Tensor) -> tuple[Tensor, Tensor]:
        return -(steep * (d - goal) ** 2).sum(1), -2 * steep * (d - goal)

    found = ascend(
        ridge, torch.tensor([[-2.0, 0.5]], dtype=torch.float64), radius,
        project=lambda d: project_l2(d, radius, -free, free), steepest=_unit, steps=60,
    )  # fmt: skip
    best = -float("inf")
    for length in (2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
        point = torch.tensor([[-2.0, 0.5]], dtype=torch.float64)
        for _ in range(60):
            point = project_l2(point + length * _unit(ridge(point)[1]), radius, -free, free)
            best = max(best, float(ridge(point)[0]))
    assert float(found.value) > best


def test_points_keep_their_precision_when_values_have_another() -> None:
    radius, lower, upper = _set(6, 5, 7)
    seen: set[torch.dtype] = set()

    def watched(points: Tensor) -> tuple[Tensor, Tensor]:
        seen.add(points.dtype)
        value, gradient = _wavy(points)
        return value.double(), gradient

    found = _climb(watched, radius.float(), lower.float(), upper.float(), steps=15)
    assert seen == {torch.float32}
    assert (found.point.dtype, found.value.dtype) == (torch.float32, torch.float64)
    exact = _climb(_wavy, radius, lower, upper, steps=15)
    torch.testing.assert_close(found.value, exact.value, rtol=1e-4, atol=0)
