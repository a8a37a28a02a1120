"""The search for the shortest distortion that meets a limit: paths from both ends, then a refinement of the best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.attacks.balls import room
from vaeaudit.attacks.climbing import CONVERGED, random_starts
from vaeaudit.attacks.limits import Limited
from vaeaudit.attacks.steering import RootSearch
from vaeaudit.attacks.strengths import OCTAVES, break_even
from vaeaudit.optimize import BoxLBFGS, Minimum

POWERS = (1.0, 2.0)
"""Of the goal that paths lower. The plain one comes closer in fewer steps, the square where the plain one jumps."""
_OUTWARDS = 5.0
"""Octaves above break-even at which a path from the original begins."""
_STAGES, _FACTOR, _NEAR = 24, 4.0, 1e-2
"""Most values of C on a path, the factor between two before C is bracketed, and how near |log F / w| ends it."""
_ROUGH = BoxLBFGS(memory=5, tolerance=1e-3, patience=2, max_evaluations=100)
_REFINED_STAGES, _REFINED_FACTOR, _REFINED_NEAR = 12, 1.5, 1e-4
_ROUNDS = 5
"""Most refinements, each from what the last one came to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shortest:
    """The shortest that was found for each pair.

    Attributes:
        points: d, `(pairs, n)`; NaN where the limit is not reached.
        reached: whether it is, `(pairs,)`.
        converged: whether the last refinement shortened it by less than 0.1 %, `(pairs,)`.
        evaluations: of gradients, `(pairs,)`.
    """

    points: Tensor
    reached: Tensor
    converged: Tensor
    evaluations: Tensor


@dataclass(frozen=True, kw_only=True)
class ShortestSearch:
    """The search for the shortest distortion of a few pairs.

    Attributes:
        restarts: random starts beside the original and the target, each in both directions.
        seed: of these.
        solver: settings of the refinement.
    """

    restarts: int
    seed: int
    solver: BoxLBFGS

    @property
    def points(self) -> int:
        """Points of all paths that are held for a pair."""
        return _STAGES * len(POWERS) * (2 + 2 * self.restarts)

    def solve(self, limited: Limited, targets: Tensor) -> Shortest:
        """Paths from every start for every power, then the shortest of what they meet refined for as long as that helps.

        An original that keeps the limit stays where it is.
        """
        originals = limited.goal.originals
        best = torch.zeros_like(originals).flatten(1)
        spent = torch.zeros(len(originals), dtype=torch.long, device=originals.device)
        leaves = limited.excess(best, torch.arange(len(originals), device=originals.device)) > 1
        rows = torch.nonzero(leaves)[:, 0]
        if len(rows):
            best[rows], spent[rows] = self._from_all_starts(limited.select(rows), targets[rows])
        resting = ~leaves | ~best.isfinite().all(1)
        for _ in range(_ROUNDS):
            going = torch.nonzero(~resting)[:, 0]
            if not len(going):
                break
            found, evaluations = self._refined(limited.select(going), best[going])
            spent[going] += evaluations
            better = _shorter(found, best[going])
            resting[going] = better.norm(dim=1) >= (1 - CONVERGED) * best[going].norm(dim=1)
            best[going] = better
        reached = best.isfinite().all(1)
        return Shortest(points=best, reached=reached, converged=reached & resting, evaluations=spent)

    def _from_all_starts(self, limited: Limited, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The shortest distortion `(pairs, n)` on any path, NaN where none meets the limit; and evaluations."""
        starts, strengths = self._starts(limited, targets)
        pairs = torch.arange(starts.shape[1], device=starts.device)
        count = len(starts) * len(POWERS)
        power = strengths.new_tensor(POWERS).repeat_interleave(len(starts) * len(pairs))
        pair = pairs.repeat(count)
        weights = strengths.flatten().repeat(len(POWERS))
        lift = (limited.excess(torch.zeros_like(starts[0]), pairs)[pair]) ** (power - 1) / power
        path = limited.follow(
            starts.flatten(0, 1).repeat(len(POWERS), 1), pair, power, weights * lift,
            search=RootSearch(len(pair), _FACTOR, _NEAR, starts.device), solver=_ROUGH, stages=_STAGES,
        )  # fmt: skip
        met = _met(limited, path, pair).view(count, len(pairs), -1)
        target = limited.met((targets - limited.goal.originals).flatten(1), pairs)
        best = target
        for some in met:
            best = _shorter(some, best)
        return best, path.evaluations.sum(1).view(count, -1).sum(0)

    def _starts(self, limited: Limited, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Distortions `(starts, pairs, n)`, and the C `(starts, pairs)` at which a path from each begins, float64.

        Far above each pair's break-even at the original, so that the path leads outwards, and far below it elsewhere.
        """
        originals = limited.goal.originals
        apart = (targets - originals).flatten(1)
        squares = apart.double().square().sum(1)
        low, high = room(limited.goal.autoencoder, originals)
        wander = random_starts(originals, self.restarts, self.seed) * apart.norm(dim=1, keepdim=True)
        starts = torch.cat([torch.zeros_like(apart)[None], apart[None], wander.clamp(low, high)])
        centre = break_even(limited.goal, targets, squares).nan_to_num(1, 1, 1)
        centre = centre.clamp_min(torch.finfo(apart.dtype).tiny)
        octaves = centre.new_full((len(starts), 1), OCTAVES[0])
        octaves[0] = _OUTWARDS
        return starts, centre * 2.0**octaves

    def _refined(self, limited: Limited, points: Tensor) -> tuple[Tensor, Tensor]:
        """What a path from each distortion meets, at C around the one that belongs to it; and evaluations."""
        pairs = torch.arange(len(points), device=points.device)
        strengths = limited.multipliers(points, pairs)
        path = limited.follow(
            points, pairs, torch.full_like(strengths, POWERS[-1]), strengths,
            search=RootSearch(len(pairs), _REFINED_FACTOR, _REFINED_NEAR, points.device),
            solver=self.solver, stages=_REFINED_STAGES,
        )  # fmt: skip
        return _met(limited, path, pairs), path.evaluations.sum(1) + 1


def _excess(limited: Limited, path: Minimum, pair: Tensor) -> Tensor:
    """F / w of all points of paths, `(rows, stages)`; infinite past an end."""
    rows, stages, _ = path.point.shape
    excess = limited.excess(path.point.flatten(0, 1), pair.repeat_interleave(stages)).view(rows, stages)
    return torch.where(path.evaluations > 0, excess, torch.inf)


def _met(limited: Limited, path: Minimum, pair: Tensor) -> Tensor:
    """The shortest way onto the limit from any path's last points on either side of it, `(rows, n)`; NaN for none."""
    excess, rows = _excess(limited, path, pair), torch.arange(len(pair), device=pair.device)
    sizes = path.point.norm(dim=2).double()
    inside = torch.where(excess <= 1, sizes, torch.inf).argmin(1)
    outside = torch.where(excess > 1, excess, torch.inf).argmin(1)
    ends = [limited.met(path.point[rows, end], pair) for end in (inside, outside)]
    return _shorter(*ends)


def _shorter(one: Tensor, other: Tensor) -> Tensor:
    """The shorter of two distortions, row by row, `(rows, n)`; NaN only where both are."""
    lengths = torch.stack([points.double().norm(dim=1).nan_to_num(torch.inf) for points in (one, other)])
    return torch.where((lengths[0] <= lengths[1])[:, None], one, other)
