"""The search behind the attacks over a series of C: paths from both ends, then exchange and polish."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaeaudit.attacks.balls import room
from vaeaudit.attacks.exchange import ROUNDS, Exchange
from vaeaudit.attacks.penalised import Penalised, Penalty
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.optimize import BoxLBFGS, Minimum, Renew, follow

_ROUGH: dict[Penalty, float] = {"l2_squared": 1e-2, "l2": 1e-4}
"""Tolerance of the paths. An unsquared norm bends where it is least, and rough paths end far from its minima."""
_FOLLOWED = 4
"""Most strengths that are followed one after the other."""


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
        candidates = torch.cat([*ends.unbind(), *self._corners(objective, targets)], 1)
        goals = self._goals(objective, candidates)
        exchange = Exchange(objective, self.series, candidates, goals, self.rounds)
        count, pairs = len(self.series), torch.arange(len(targets), device=targets.device)
        rows = pairs.repeat_interleave(count)
        polished = self._minimize(
            objective, exchange.points.flatten(0, 1), rows, self.series.repeat(len(targets))[:, None], self.solver,
            renew=exchange.renew,
        )  # fmt: skip
        along = goals[:, : 2 * count].view(-1, 2, count) + self.series * objective.size(ends[:2]).transpose(0, 1)
        return Followed(
            points=exchange.points, values=exchange.values, converged=exchange.converged,
            disagreement=_disagreement(along), evaluations=evaluations + polished.evaluations.view(-1, count).sum(1),
        )  # fmt: skip

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

    def _minimize(
        self,
        objective: Penalised,
        start: Tensor,
        pairs: Tensor,
        strengths: Tensor,
        solver: BoxLBFGS,
        renew: Renew | None = None,
    ) -> Minimum:
        low, high = room(self.ae, objective.originals)
        return follow(
            lambda points, problem: objective.goal.with_gradient(points, pairs[problem]),
            start, low[pairs], high[pairs], strengths, solver,
            penalty=lambda squares, problem: objective.smooth_penalty(squares, pairs[problem]), renew=renew,
        )  # fmt: skip

    def _goals(self, objective: Penalised, points: Tensor) -> Tensor:
        pairs, count, _ = points.shape
        rows = torch.arange(pairs, device=points.device).repeat_interleave(count)
        inputs = objective.originals[rows] + points.reshape(pairs * count, *objective.originals.shape[1:])
        return objective.goal.of(inputs, rows).view(pairs, count)


def _disagreement(values: Tensor) -> Tensor:
    """By how much the worse of two objectives `(pairs, 2, strengths)` exceeds the better, as a fraction of it."""
    better, worse = values.amin(1), values.amax(1)
    return ((worse - better) / better.abs().clamp_min(torch.finfo(better.dtype).tiny)).nan_to_num(0, math.inf)
