"""Starts inside L2 balls by duality: a minimum of F + C * L2(d)^2 is one of F in the ball that it just reaches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaeaudit.attacks.balls import room
from vaeaudit.attacks.goals import Goal
from vaeaudit.attacks.strengths import OCTAVES, break_even
from vaeaudit.attacks.targeted import TargetedAttack
from vaeaudit.optimize import BoxLBFGS, follow, project_l2

STRENGTHS = 12
_FACTOR = 2.0 ** ((OCTAVES[1] - OCTAVES[0]) / (STRENGTHS - 1))
"""Between one C of a path and the next."""
_ROUGH = BoxLBFGS(memory=5, tolerance=1e-2, patience=2, max_evaluations=150)


def path_starts(originals: Tensor, path: TargetedAttack, radius: float | Sequence[float]) -> Tensor:
    """What a targeted attack over a series of C found, as starts inside L2 balls, `(2, pairs, budgets, *event)`.

    For each budget these are the largest distortion of the series inside the ball and the smallest outside it,
    or the nearest where there is none.

    Args:
        originals: x, `(pairs, *event)`.
        path: the attack on them.
        radius: one budget or several, input units.
    """
    budgets = torch.as_tensor(radius, dtype=path.distortion.dtype, device=path.distortion.device).reshape(-1)
    sizes = path.distortion[:, None].expand(-1, len(budgets), -1)
    beyond = sizes > budgets.sort().values[:, None]
    outside, inside = torch.where(beyond, sizes, torch.inf), torch.where(beyond, -torch.inf, sizes)
    outer = torch.where(beyond.any(2), outside.argmin(2), sizes.argmax(2))
    inner = torch.where(beyond.all(2), sizes.argmin(2), inside.argmax(2))
    moved = path.adversarial - originals.to(path.adversarial)[:, None]
    pairs = torch.arange(len(moved), device=moved.device)[:, None]
    return torch.stack([moved[pairs, inner], moved[pairs, outer]])


def starts_on_paths(goal: Goal, targets: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """The best points of each ball on two rough paths, down from the original and up from the target.

    Each pair's series of C lies around its own break-even, so that it does not depend on other pairs. A path ends as
    soon as it has left the largest ball, or entered the smallest one: no point farther along belongs to any budget.

    Args:
        goal: to be lowered.
        targets: t, `(pairs, *event)`.
        radii: L2 budgets, `(budgets,)`.

    Returns:
        Distortions `(2, pairs, budgets, n)`, and gradient evaluations spent on each pair `(pairs,)`.
    """
    count = len(targets)
    pairs = torch.arange(count, device=targets.device)
    apart = (targets - goal.originals).flatten(1)
    low, high = (side.repeat(2, 1) for side in room(goal.autoencoder, goal.originals))
    weights = _strengths(goal, targets, apart)
    problem = pairs.repeat(2)

    def onwards(row: Tensor, weight: Tensor, points: Tensor, _: Tensor) -> Tensor:
        length, outwards = points.norm(dim=1), row < count
        past = torch.where(outwards, length > radii.max(), length < radii.min())
        return torch.where(past, torch.nan, torch.where(outwards, weight / _FACTOR, weight * _FACTOR))

    path = follow(
        lambda points, row: goal.with_gradient(points, problem[row]),
        torch.cat([torch.zeros_like(apart), apart]), low, high, torch.cat([weights.flip(1), weights]), _ROUGH,
        steer=onwards,
    )  # fmt: skip
    spent = path.evaluations.sum(1).view(2, count).sum(0)
    best = [_best_in_ball(goal, path.point, problem, radius, low, high) for radius in radii]
    return torch.stack(best, 1).view(2, count, len(radii), -1), spent


def _strengths(goal: Goal, targets: Tensor, apart: Tensor) -> Tensor:
    """C around each pair's break-even, ascending, `(pairs, strengths)`, float64."""
    centre = break_even(goal, targets, apart.double().square().sum(1))
    centre = centre.nan_to_num(1, 1, 1).clamp_min(torch.finfo(apart.dtype).tiny)
    octaves = torch.linspace(*OCTAVES, STRENGTHS, dtype=torch.float64, device=centre.device)
    return centre[:, None] * 2.0**octaves


def _best_in_ball(goal: Goal, points: Tensor, problem: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The lowest of each row's points `(rows, points, n)` after projection, `(rows, n)`."""
    lowest, best = torch.full((len(points),), torch.inf, dtype=torch.float64, device=points.device), points[:, 0]
    for along in points.unbind(1):
        inside = project_l2(along, radius.expand(len(along)), low, high)
        value = goal.at(inside, problem)
        lower = value < lowest
        best, lowest = torch.where(lower[:, None], inside, best), torch.where(lower, value, lowest)
    return best
