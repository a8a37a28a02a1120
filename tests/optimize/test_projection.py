"""Projections: held to a root search of the multiplier, and to the defining property of a nearest point."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vaeaudit.optimize import project_l2, project_linf, stretch_l2

INF = float("inf")


def _problem(seed: int, *, rows: int = 20, n: int = 9, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, radii and boxes; some bounds are zero, some infinite, some points outside everything."""
    generator = torch.Generator().manual_seed(seed)
    points = scale * torch.randn(rows, n, generator=generator, dtype=torch.float64)
    lower, upper = -torch.rand(2, rows, n, generator=generator, dtype=torch.float64)
    upper = -upper
    lower[:, 0], upper[:, 1] = 0, 0
    lower[:, 2], upper[:, 3] = -INF, INF
    radius = torch.rand(rows, generator=generator, dtype=torch.float64) + 0.05
    return points, radius, lower, upper


@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0, 1e12])
def test_the_l2_projection_is_that_of_a_root_search(boxes: ModuleType, scale: float) -> None:
    points, radius, lower, upper = _problem(0, scale=scale)
    found = project_l2(points, radius, lower, upper)
    for row in range(len(points)):
        slow = boxes.project_by_multiplier(*(t[row].numpy() for t in (points, radius, lower, upper)))
        assert np.allclose(found[row].numpy(), slow, rtol=1e-9, atol=1e-11)


def test_no_feasible_point_is_nearer_than_the_l2_projection() -> None:
    points, radius, lower, upper = _problem(1, scale=3.0)
    found = project_l2(points, radius, lower, upper)
    others = _problem(2)[0]
    others = project_l2(others, radius, lower, upper)
    # the variational inequality of a projection onto a convex set
    assert bool((((points - found) * (others - found)).sum(1) <= 1e-12).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.1, 5.0, 1e6])
def test_projections_are_feasible_to_rounding_and_idempotent(dtype: torch.dtype, scale: float) -> None:
    points, radius, lower, upper = (t.to(dtype) for t in _problem(3, rows=200, scale=scale))
    eps = torch.finfo(dtype).eps
    for project, length in (
        (project_l2, lambda d: d.norm(dim=1)),
        (project_linf, lambda d: d.abs().amax(1)),
        (stretch_l2, lambda d: d.norm(dim=1)),
    ):
        found = project(points, radius, lower, upper)
        assert found.dtype == dtype
        assert bool(((lower <= found) & (found <= upper)).all())
        assert bool((length(found) <= radius * (1 + 8 * eps)).all())
        torch.testing.assert_close(project(found, radius, lower, upper), found, rtol=20 * eps, atol=20 * eps)


def test_points_inside_stay_where_they_are() -> None:
    points, radius, lower, upper = _problem(4)
    inside = 0.5 * project_l2(points, radius, lower, upper)
    assert torch.equal(project_l2(inside, radius, lower, upper), inside)
    assert torch.equal(project_linf(inside, 10 * radius, lower, upper), inside)


def test_the_linf_projection_clips_to_the_smaller_box() -> None:
    points = torch.tensor([[0.9, -0.9, 0.05, -3.0]])
    lower, upper = torch.tensor([[-1.0, -0.1, -1.0, -INF]]), torch.tensor([[0.2, 1.0, 1.0, INF]])
    found = project_linf(points, torch.tensor([0.5]), lower, upper)
    torch.testing.assert_close(found, torch.tensor([[0.2, -0.1, 0.05, -0.5]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stretching_uses_up_the_budget_where_the_box_allows_it(dtype: torch.dtype) -> None:
    directions, radius, lower, upper = (t.to(dtype) for t in _problem(5, rows=100))
    corner = torch.where(directions > 0, upper, lower)
    corner = torch.where(directions == 0, 0, corner)
    room = corner.norm(dim=1)
    found = stretch_l2(directions, radius, lower, upper)
    expected = torch.minimum(radius, room)
    torch.testing.assert_close(found.norm(dim=1), expected, rtol=10 * torch.finfo(dtype).eps, atol=0)
    assert bool((room < radius).any()) or bool(room.isinf().any())


def test_stretching_fills_the_box_when_the_budget_is_larger() -> None:
    directions = torch.tensor([[1.0, -2.0, 0.0, 1e-12]])
    lower, upper = torch.full((1, 4), -0.25), torch.full((1, 4), 0.5)
    found = stretch_l2(directions, torch.tensor([100.0]), lower, upper)
    torch.testing.assert_close(found, torch.tensor([[0.5, -0.25, 0.0, 0.5]]))


def test_stretching_spends_the_budget_on_faint_coordinates_when_the_strong_ones_are_blocked() -> None:
    directions = torch.tensor([[1.0, 1e-9]], dtype=torch.float64)
    lower, upper = torch.tensor([[-1.0, -1.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    found = stretch_l2(directions, torch.tensor([0.5]).double(), lower, upper)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5]]).double())


def test_stretching_without_bounds_only_rescales() -> None:
    directions = _problem(6)[0]
    free = torch.full_like(directions, INF)
    radius = torch.linspace(0.1, 50, len(directions), dtype=torch.float64)
    found = stretch_l2(directions, radius, -free, free)
    unit = directions / directions.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, radius[:, None] * unit)


@pytest.mark.parametrize("project", [project_l2, project_linf, stretch_l2])
def test_a_zero_point_stays_zero(project) -> None:
    _, radius, lower, upper = _problem(7)
    assert not project(torch.zeros_like(lower), radius, lower, upper).any()


numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
ends = st.floats(0, 10, allow_subnormal=False)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(numbers, ends, ends), min_size=1, max_size=6), st.floats(1e-3, 30))
def test_any_projection_is_feasible_and_nearest_by_its_multiplier(rows: list, radius: float) -> None:
    points, low, high = (torch.tensor([column], dtype=torch.float64) for column in zip(*rows, strict=True))
    reach = torch.tensor([radius], dtype=torch.float64)
    found = project_l2(points, reach, -low, high)
    assert bool(((-low <= found) & (found <= high)).all())
    assert float(found.norm()) <= radius * (1 + 1e-14)
    clipped = points.clamp(-low, high)
    if float(clipped.norm()) <= radius:
        assert torch.allclose(found, clipped, rtol=1e-14, atol=0)
    else:
        assert float(found.norm()) == pytest.approx(radius, rel=1e-12)
