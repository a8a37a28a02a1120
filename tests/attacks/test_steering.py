"""Paths steered to the C at which a goal meets its limit, and points stretched onto it: roots known in closed form."""

from __future__ import annotations

import math

import torch

from vaeaudit.attacks.limits import least_below
from vaeaudit.attacks.steering import RootSearch
from vaeaudit.optimize import BoxLBFGS, follow


def test_paths_from_either_side_end_where_the_goal_meets_its_limit() -> None:
    # the minimum of (d - 1)^2 + C d^2 is 1 / (1 + C), and (d - 1)^2 there is (C / (1 + C))^2: 1/4 at C = 1
    search = RootSearch(2, 4.0, 1e-6, torch.device("cpu"))
    weights = torch.full((2, 30), math.nan, dtype=torch.float64)
    weights[:, 0] = torch.tensor([1e3, 1e-4])
    start = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    path = follow(
        lambda d, _: ((d - 1).square().sum(1), 2 * (d - 1)), start, start - 9, start + 9, weights,
        BoxLBFGS(tolerance=1e-14), steer=lambda row, at, points, value: search.next(row, at, 4 * value),
    )  # fmt: skip
    last = (path.evaluations > 0).sum(1) - 1
    ends = path.point[torch.arange(2), last, 0]
    torch.testing.assert_close(ends, torch.full((2,), 0.5, dtype=torch.float64), rtol=1e-6, atol=0)
    assert int(last.max()) < 25


def test_a_root_search_closes_on_a_jump_and_ends() -> None:
    search = RootSearch(1, 4.0, 1e-6, torch.device("cpu"))
    at, tried = torch.tensor([100.0], dtype=torch.float64), 0
    row = torch.zeros(1, dtype=torch.long)
    while bool(at.isfinite()) and tried < 200:
        last, tried = float(at), tried + 1
        at = search.next(row, at, torch.where(at > 3, 5.0, 0.3).double())
    assert tried < 200
    assert abs(math.log(last / 3)) < 1e-2


def test_the_least_scale_that_keeps_a_limit_is_found_before_one_and_a_little_beyond_it_and_no_farther() -> None:
    roots = torch.tensor([0.3, 1.0, 1.05, 2.5], dtype=torch.float64)
    found = least_below(lambda scale: (roots - scale) * (1 + scale.square()), 4, torch.device("cpu"))
    torch.testing.assert_close(found[:3], roots[:3], rtol=1e-9, atol=0)
    assert bool((found[:3] >= roots[:3]).all())
    assert found[3] == math.inf
