"""Polishing a pair's solutions, which are candidates at all strengths of the pair: only the penalty's factor changes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaeaudit.attacks.penalised import Penalised

ROUNDS = 8
"""Most polishes of a strength, each from a better candidate that another one's polish has brought."""
_IMPROVEMENT = 1e-4


class Exchange:
    """Each pair's best points at all strengths, while they are polished in rounds.

    When all strengths that a pair had in polish have ended, every strength that another's point now suits better is polished
    once more, from there. A pair's rounds depend on that pair alone; they do not wait for the others'.

    Args:
        objective: of the pairs.
        series: C, `(strengths,)`, float64.
        candidates: distortions to begin with, `(pairs, any, n)`.
        goals: F there, `(pairs, any)`, float64.
        rounds: most polishes of a strength.

    Attributes:
        points: the best distortions so far, `(pairs, strengths, n)`.
        values: the objective there, `(pairs, strengths)`, float64.
        converged: whether a polish ended there by itself and no other strength's point suits better, `(pairs, strengths)`.
    """

    def __init__(self, objective: Penalised, series: Tensor, candidates: Tensor, goals: Tensor, rounds: int) -> None:
        self._objective, self._series, self._rounds = objective, series, rounds
        self.values, best = self._lowest(candidates, goals)
        self.points = _taken(candidates, best)
        self._goals = goals.gather(1, best)
        self.converged = torch.zeros_like(self.values, dtype=torch.bool)
        self._polished = torch.zeros(len(goals), dtype=torch.long, device=goals.device)
        self._in_polish = torch.full_like(self._polished, len(series))

    def renew(self, problem: Tensor, points: Tensor, goals: Tensor, converged: Tensor) -> tuple[Tensor, Tensor]:
        """Take what came of polishes, and say which are next (`vaeaudit.optimize.Renew`).

        Args:
            problem: pair times strengths plus strength, `(rows,)`.
            points: distortions, `(rows, n)`.
            goals: F there, `(rows,)`, float64.
            converged: whether the polish ended by itself, `(rows,)`.
        """
        count = len(self._series)
        pair, strength = problem // count, problem % count
        self._take(pair, strength, points, goals, converged)
        self._in_polish.index_add_(0, pair, torch.full_like(pair, -1))
        concerned = pair.unique()
        ended = concerned[self._in_polish[concerned] == 0]
        again = self._exchange(ended)
        pair, strength = torch.nonzero(again, as_tuple=True)
        self._in_polish[ended] = again.sum(1)
        return ended[pair] * count + strength, self.points[ended[pair], strength]

    def _take(self, pair: Tensor, strength: Tensor, points: Tensor, goals: Tensor, converged: Tensor) -> None:
        """Keep what is no worse than what was there."""
        at = pair, strength
        values = goals + self._series[strength] * self._objective.size(points)
        better = values <= self.values[at]
        self.points[at] = torch.where(better[:, None], points, self.points[at])
        self.values[at] = torch.where(better, values, self.values[at])
        self._goals[at] = torch.where(better, goals, self._goals[at])
        self.converged[at] = converged

    def _exchange(self, pairs: Tensor) -> Tensor:
        """Give every strength the best of its pair's points; which ones are to be polished again, `(pairs, strengths)`."""
        points, values, goals = self.points[pairs], self.values[pairs], self._goals[pairs]
        lowest, best = self._lowest(points, goals)
        better = lowest < values - _IMPROVEMENT * values.abs()
        self.points[pairs] = torch.where(better[..., None], _taken(points, best), points)
        self.values[pairs] = torch.where(better, lowest, values)
        self._goals[pairs] = torch.where(better, goals.gather(1, best), goals)
        self.converged[pairs] &= ~better
        self._polished[pairs] += 1
        return better & (self._polished[pairs] < self._rounds)[:, None]

    def _lowest(self, candidates: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """The least objective of the candidates at each strength, and whose it is, both `(pairs, strengths)`."""
        cost = goals[:, None] + self._series[:, None] * self._objective.size(candidates)[:, None]
        value, index = cost.nan_to_num(math.inf, math.inf).min(2)
        return value, index


def _taken(candidates: Tensor, index: Tensor) -> Tensor:
    """The candidates of these indices, `(pairs, strengths, n)`."""
    return candidates.gather(1, index[..., None].expand(-1, -1, candidates.shape[2]))
