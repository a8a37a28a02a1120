"""Where an attack on a classifier crosses into the wanted class: bisection on C, and between two images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.attacks.classes import ClassGoal
from vaeaudit.attacks.following import SeriesSearch
from vaeaudit.attacks.penalised import Penalised
from vaeaudit.optimize import follow

_BISECTIONS, _HALVINGS = 10, 40
_BEYOND = 2.0**16
"""Factor on C at which a crossing is bracketed where the series ends before it."""


def between(goal: ClassGoal, rows: Tensor, losing: Tensor, winning: Tensor) -> Tensor:
    """The winning end of the shortest stretch between a losing and a winning image, by halving it, `(rows, *event)`."""
    low, high = (torch.full((len(rows),), end, dtype=torch.float64, device=losing.device) for end in (0.0, 1.0))
    best = winning
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        point = torch.lerp(losing, winning, like(middle, losing).to(losing.dtype)).clamp(*goal.autoencoder.bounds)
        wins = goal.margin(point, rows) > 0
        best = torch.where(like(wins, point), point, best)
        low, high = torch.where(wins, low, middle), torch.where(wins, middle, high)
    return best


@dataclass(kw_only=True)
class _Bracket:
    """A losing and a winning distortion of each image, `(images, n)`, and the C that each belongs to, `(images,)`."""

    losing: Tensor
    losing_strength: Tensor
    winning: Tensor
    winning_strength: Tensor


def crossing_of(
    objective: Penalised, ends: Tensor, search: SeriesSearch, adversarial: Tensor, wins: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distortion, C, image and evaluations of the least distortion at which the wanted class wins.

    All `(images,)` but the image, `(images, *event)`; infinite, NaN and the original where none does.
    """
    goal, originals = objective.goal, objective.originals
    assert isinstance(goal, ClassGoal)
    rows = torch.arange(len(originals), device=originals.device)
    bracket, any_wins = _bracket(objective, ends, search.series, adversarial, wins)
    evaluations = torch.zeros_like(rows)
    for _ in range(_BISECTIONS):
        evaluations += _bisect(objective, search, bracket)
    losing, winning = (
        (originals + part.view_as(originals)).clamp(*goal.autoencoder.bounds)
        for part in (bracket.losing, bracket.winning)
    )
    lowest = between(goal, rows, losing, winning)
    ahead = torch.where(wins, lengths(adversarial, originals[:, None], leading=2), torch.inf)
    least, index = ahead.min(1)
    shorter = least < lengths(lowest, originals)  # a path may leave the class and enter it again
    lowest = torch.where(like(shorter, lowest), adversarial[rows, index], lowest)
    crossing = torch.where(any_wins, lengths(lowest, originals), torch.inf)
    strength = torch.where(any_wins, bracket.winning_strength, torch.nan)
    return crossing, strength, torch.where(like(any_wins, lowest), lowest, originals), evaluations


def _bracket(
    objective: Penalised, ends: Tensor, series: Tensor, adversarial: Tensor, wins: Tensor
) -> tuple[_Bracket, Tensor]:
    """The last winning and the next losing strength of each image; and whether any image found wins, `(images,)`.

    Where all of the series wins, no distortion loses; where none does, the end of the way without penalty may win.
    """
    goal, originals = objective.goal, objective.originals
    assert isinstance(goal, ClassGoal)
    count, device = len(series), series.device
    rows = torch.arange(len(originals), device=device)
    order = torch.arange(count, device=device)
    last = torch.where(wins, order, -1).amax(1)
    moved = (adversarial - originals[:, None]).flatten(2)
    far = (ends - originals).flatten(1)
    end_wins = goal.margin(ends, rows) > 0
    has, has_next = last >= 0, last + 1 < count
    winning = torch.where(has[:, None], moved[rows, last.clamp_min(0)], far)
    losing = torch.where(has_next[:, None], moved[rows, (last + 1).clamp_max(count - 1)], torch.zeros_like(far))
    smallest = series[series > 0].amin() if bool((series > 0).any()) else series.new_ones(())
    floor = torch.where(series[last.clamp_min(0)] > 0, series[last.clamp_min(0)], smallest / _BEYOND)
    below = torch.where(has, floor, smallest / _BEYOND)
    above = torch.where(has_next, series[(last + 1).clamp_max(count - 1)], series[-1] * _BEYOND).clamp_min(below)
    bracket = _Bracket(losing=losing, losing_strength=above, winning=winning, winning_strength=below)
    return bracket, has | end_wins


def _bisect(objective: Penalised, search: SeriesSearch, bracket: _Bracket) -> Tensor:
    """Solve at the geometric middle of each bracket from both of its ends, and halve it; evaluations, `(images,)`."""
    goal, originals = objective.goal, objective.originals
    assert isinstance(goal, ClassGoal)
    flat, (low, high) = originals.flatten(1), goal.autoencoder.bounds
    count = len(flat)
    rows = torch.arange(count, device=flat.device).repeat(2)
    middle = (bracket.losing_strength * bracket.winning_strength).sqrt()
    found = follow(
        lambda points, problem: goal.with_gradient(points, rows[problem]),
        torch.cat([bracket.losing, bracket.winning]), (low - flat).repeat(2, 1), (high - flat).repeat(2, 1),
        middle.repeat(2)[:, None], search.solver,
        penalty=lambda squares, problem: objective.smooth_penalty(squares, rows[problem]),
    )  # fmt: skip
    points, values = found.point.view(2, count, -1), found.value.view(2, count)
    better = values.argmin(0)
    point = points[better, rows[:count]]
    wins = goal.margin((originals + point.view_as(originals)).clamp(low, high), rows[:count]) > 0
    bracket.winning = torch.where(wins[:, None], point, bracket.winning)
    bracket.losing = torch.where(wins[:, None], bracket.losing, point)
    bracket.winning_strength = torch.where(wins, middle, bracket.winning_strength)
    bracket.losing_strength = torch.where(wins, bracket.losing_strength, middle)
    return found.evaluations.view(2, count).sum(0)


def lengths(moved: Tensor, originals: Tensor, *, leading: int = 1) -> Tensor:
    """L2 of the difference over all but the leading dimensions, float64."""
    lengths: Tensor = (moved.double() - originals.double()).flatten(leading).norm(dim=leading)
    return lengths


def like(values: Tensor, other: Tensor) -> Tensor:
    """Values `(rows,)` shaped to go with `(rows, *event)`."""
    return values.view(-1, *(1,) * (other.ndim - 1))
