"""The search behind the attacks over a series of C: paths from both ends, then exchange and polish."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaeaudit.attacks.balls import room
from vaeaudit.attacks.penalised import Penalised, Penalty
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.optimize import BoxLBFGS, Minimum, follow

_ROUGH: dict[Penalty, float] = {"l2_squared": 1e-2, "l2": 1e-4}
"""Tolerance of the paths. An unsquared norm bends where it is least, and rough paths end far from its minima."""
_FOLLOWED = 4
"""Most strengths that are followed one after the other."""
ROUNDS = 8
"""Most polishes of a strength, each from a better candidate that another one's polish has brought."""
_IMPROVEMENT = 1e-4


@dataclass(kw_only=True)
class Followed:
    """What was found: distortions `(pairs, strengths, n)`; all else `(pairs, strengths)`, evaluations `(pairs,)`."""

    points: Tensor
    values: Tensor
    converged: Tensor
    disagreement: Tensor
    evaluations: Tensor


@dataclass(frozen=True, kw_only=True)
class SeriesSearch:
    """The search for the best distortion of a few pairs at all strengths of a series.

    Attributes:
        ae: the model.
        series: C, ascending, `(strengths,)`, float64.
        restarts: random starts beside the two ends.
        seed: of these.
        precision: in which the paths are followed.
        solver: settings of the polish.
        rounds: most polishes of a strength.
    """

    ae: Autoencoder
    series: Tensor
    restarts: int
    seed: int
    precision: Precision | None
    solver: BoxLBFGS
    rounds: int = ROUNDS

    def solve(self, objective: Penalised, targets: Tensor) -> Followed:
        """Follow the series from all starts, then polish the best point at each strength."""
        ends, evaluations = self._follow(objective, self._starts(objective, targets))
        values = torch.stack([self._cost_along(objective, end) for end in ends])
        candidates = torch.cat([*ends.unbind(), *self._corners(objective, targets)], 1)
        points, best = self._best(objective, candidates)
        found = Followed(
            points=points, values=best, converged=torch.zeros_like(best, dtype=torch.bool),
            disagreement=_disagreement(values[:2]), evaluations=evaluations,
        )  # fmt: skip
        todo = torch.ones_like(found.converged)
        for _ in range(self.rounds):
            self._polish(objective, found, todo)
            better, lowest = self._best(objective, found.points)
            todo = lowest < found.values - _IMPROVEMENT * found.values.abs()
            found.points = torch.where(todo[..., None], better, found.points)
            found.values = torch.where(todo, lowest, found.values)
            if not bool(todo.any()):
                break
        found.converged &= ~todo
        return found

    def _corners(self, objective: Penalised, targets: Tensor) -> tuple[Tensor, Tensor]:
        """No distortion, and all the way to the target, each `(pairs, 1, n)`."""
        apart = (targets - objective.originals).flatten(1)[:, None]
        return torch.zeros_like(apart), apart

    def _starts(self, objective: Penalised, targets: Tensor) -> Tensor:
        """The original, the target, and random points as far away, `(starts, pairs, n)`."""
        stay, apart = (corner[:, 0] for corner in self._corners(objective, targets))
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.restarts, apart.shape[1], generator=generator, dtype=torch.float64).to(apart)
        noise = noise / noise.norm(dim=1, keepdim=True).clamp_min(1e-12)
        low, high = room(self.ae, objective.originals)
        wander = (noise[:, None] * apart.norm(dim=1, keepdim=True)).clamp(low, high)
        return torch.cat([stay[None], apart[None], wander])

    def _follow(self, objective: Penalised, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Rough solutions along the series from every start, `(starts, pairs, strengths, n)`, and evaluations a pair.

        From the original and from random points the series is followed downwards, from the target upwards. It is
        cut into short segments, each of which starts anew: long paths end in fewer different minima, and leave
        the device waiting for the last of them. How it is cut depends on the series alone.
        """
        count, pairs, n = starts.shape
        order = self._order(upwards=torch.arange(count, device=starts.device) == 1)
        segments, length = order.shape[1:]
        order = order[:, None].expand(-1, pairs, -1, -1).reshape(-1, length)
        visited = order >= 0
        strengths = torch.where(visited, self.series[order], torch.nan)
        rows = torch.arange(pairs, device=starts.device)[None, :, None].expand(count, -1, segments).flatten()
        begin = starts[:, :, None].expand(-1, -1, segments, -1).reshape(-1, n)
        tolerance = max(self.solver.tolerance, _ROUGH[objective.penalty])
        rough = replace(self.solver, tolerance=tolerance, patience=min(self.solver.patience, 2))
        with self.ae.evaluated_in(self.precision):
            minimum = self._minimize(objective, begin, rows, strengths, rough)
        points = torch.empty(count * pairs, len(self.series), n, dtype=starts.dtype, device=starts.device)
        path = torch.arange(count * pairs, device=starts.device).repeat_interleave(segments)
        points[path[:, None].expand_as(order)[visited], order[visited]] = minimum.point[visited]
        spent = torch.zeros_like(rows[:pairs]).index_add(0, rows, minimum.evaluations.sum(1))
        return points.view(count, pairs, len(self.series), n), spent

    def _order(self, upwards: Tensor) -> Tensor:
        """Indices into the series as each start's segments visit them, `(starts, segments, longest)`; -1 past an end."""
        count, device = len(self.series), self.series.device
        segments = -(-count // _FOLLOWED)
        length = -(-count // segments)
        first = torch.arange(0, segments * length, length, device=device)[:, None]
        sizes, steps = (count - first).clamp(0, length), torch.arange(length, device=device)
        order = torch.where(upwards[:, None, None], first + steps, first + sizes - 1 - steps)
        return torch.where(steps < sizes, order, -1)

    def _polish(self, objective: Penalised, found: Followed, todo: Tensor) -> None:
        """Improve the points in question in place; none gets worse."""
        pair, strength = torch.nonzero(todo, as_tuple=True)
        start, strengths = found.points[pair, strength], self.series[strength]
        minimum = self._minimize(objective, start, pair, strengths[:, None], self.solver)
        point, value = minimum.point[:, 0], minimum.value[:, 0]
        if objective.penalty == "l2":  # the optimiser saw it rounded off at zero
            inputs = objective.originals[pair] + point.view_as(objective.originals[pair])
            value = objective.goal.of(inputs, pair) + strengths * objective.size(point)
        better = value <= found.values[pair, strength]
        found.points[pair, strength] = torch.where(better[:, None], point, start)
        found.values[pair, strength] = torch.where(better, value, found.values[pair, strength])
        found.converged[pair, strength] = minimum.converged[:, 0]
        found.evaluations.index_add_(0, pair, minimum.evaluations[:, 0])

    def _minimize(
        self, objective: Penalised, start: Tensor, pairs: Tensor, strengths: Tensor, solver: BoxLBFGS
    ) -> Minimum:
        low, high = room(self.ae, objective.originals)
        return follow(
            lambda points, problem: objective.goal.with_gradient(points, pairs[problem]),
            start, low[pairs], high[pairs], strengths, solver,
            penalty=lambda squares, problem: objective.smooth_penalty(squares, pairs[problem]),
        )  # fmt: skip

    def _cost_along(self, objective: Penalised, points: Tensor) -> Tensor:
        """The objective of points `(pairs, strengths, n)`, each at its own strength."""
        return self._goals(objective, points) + self.series * objective.size(points)

    def _best(self, objective: Penalised, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """For each strength the candidate of least objective, `(pairs, strengths, n)`, and its value."""
        delta = self._goals(objective, candidates)
        cost = delta[:, None] + self.series[None, :, None] * objective.size(candidates)[:, None]
        value, index = cost.nan_to_num(math.inf, math.inf).min(2)
        return candidates.gather(1, index[..., None].expand(-1, -1, candidates.shape[2])), value

    def _goals(self, objective: Penalised, points: Tensor) -> Tensor:
        pairs, count, _ = points.shape
        rows = torch.arange(pairs, device=points.device).repeat_interleave(count)
        inputs = objective.originals[rows] + points.reshape(pairs * count, *objective.originals.shape[1:])
        return objective.goal.of(inputs, rows).view(pairs, count)


def _disagreement(values: Tensor) -> Tensor:
    """By how much the worse of two objectives exceeds the better, as a fraction of it, `(pairs, strengths)`."""
    better, worse = values.amin(0), values.amax(0)
    return ((worse - better) / better.abs().clamp_min(torch.finfo(better.dtype).tiny)).nan_to_num(0, math.inf)
