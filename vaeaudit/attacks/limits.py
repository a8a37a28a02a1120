"""A goal with a limit: what is minimised to meet it with little distortion, and points brought exactly onto it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaeaudit.attacks.balls import room
from vaeaudit.attacks.brackets import Brackets
from vaeaudit.attacks.goals import Goal
from vaeaudit.attacks.steering import RootSearch
from vaeaudit.optimize import BoxLBFGS, Minimum, follow

_TRIED = (1.0, 1.0001, 1.001, 1.01, 1.1)
"""Scales of which the first that keeps a limit ends the stretch in which it is met: much farther along, a point that
breaks it by little may break it on the other side."""
_SECANTS, _INNER, _MOST = 16, 1e-4, 700.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Limited:
    """F(x+d) and the most it may be, one problem a row.

    Attributes:
        goal: F, at least 0.
        limits: w, at least 0, `(pairs,)`, float64.
    """

    goal: Goal
    limits: Tensor

    def select(self, pairs: Tensor) -> Limited:
        """Some of the pairs."""
        return replace(self, goal=self.goal.select(pairs), limits=self.limits[pairs])

    def excess(self, points: Tensor, pair: Tensor) -> Tensor:
        """F / w of the images that distortions `(rows, n)` make after rounding and clipping, `(rows,)`, float64.

        Infinite where F is not finite: that is no less than any limit.
        """
        originals = self.goal.originals[pair]
        images = (originals + points.view_as(originals)).clamp(*self.goal.autoencoder.bounds)
        value, limit = self.goal.of(images, pair), self.limits[pair]
        return torch.where(
            value <= limit, (value / limit).nan_to_num(0), (value / limit).nan_to_num(torch.inf, torch.inf)
        )

    def multipliers(self, points: Tensor, pair: Tensor) -> Tensor:
        """The C at which the gradient of F + C |d|^2 vanishes along d where no bound holds it, `(rows,)`, float64."""
        low, high = (side[pair] for side in room(self.goal.autoencoder, self.goal.originals))
        free = torch.where((points > low) & (points < high), points, 0).double()
        _, gradient = self.goal.with_gradient(points, pair)
        tiny = torch.finfo(points.dtype).tiny
        along = -(gradient.double() * free).sum(1) / (2 * free.square().sum(1)).clamp_min(tiny)
        return along.nan_to_num(tiny).clamp_min(tiny)

    def follow(
        self, start: Tensor, pair: Tensor, power: Tensor, weights: Tensor, *,
        search: RootSearch, solver: BoxLBFGS, stages: int,
    ) -> Minimum:  # fmt: skip
        """Minimise F (F / w)^(p - 1) / p + C |d|^2 for C that lead to F = w.

        There the multiplier of |d|^2 is C for any power p. Where the least distortion is no minimum of F + C |d|^2 for
        any C, because the trade-off between the two is not convex, it may still be one for a larger p: such an increasing
        convex function of F adds curvature along its gradient, like the square of an augmented Lagrangian.

        Args:
            start: distortions, `(rows, n)`.
            pair: of each, `(rows,)`.
            power: p, `(rows,)`, float64.
            weights: the first C, `(rows,)`, float64.
            search: chooses the others.
            solver: settings of the optimiser.
            stages: most values of C.
        """
        limits = self.limits[pair]

        def lifted(points: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = self.goal.with_gradient(points, pair[row])
            factor = (value.clamp_min(0) / limits[row]) ** (power[row] - 1)
            return value * factor / power[row], gradient * factor.to(gradient.dtype)[:, None]

        def steer(row: Tensor, at: Tensor, _: Tensor, value: Tensor) -> Tensor:
            figures = (power[row] * value.clamp_min(0) / limits[row]) ** (1 / power[row])
            return search.next(row, at, figures)

        low, high = (side[pair] for side in room(self.goal.autoencoder, self.goal.originals))
        begin = torch.full((len(start), stages), torch.nan, dtype=torch.float64, device=start.device)
        begin[:, 0] = weights
        return follow(lifted, start, low, high, begin, solver, steer=steer)

    def met(self, points: Tensor, pair: Tensor) -> Tensor:
        """The shortest stretch of each distortion that keeps the limit, `(rows, n)`; NaN where none is found.

        A minimum of F + C |d|^2 has its gradient along d, so that to first order no other way onto the limit is
        shorter. Coordinates stop at their bounds.
        """
        low, high = (side[pair] for side in room(self.goal.autoencoder, self.goal.originals))

        def stretched(scale: Tensor) -> Tensor:
            return (scale.to(points.dtype)[:, None] * points).clamp(low, high)

        scale = least_below(lambda scale: self.excess(stretched(scale), pair).log(), len(points), points.device)
        return torch.where(scale.isfinite()[:, None], stretched(scale), torch.nan)


def least_below(values: Callable[[Tensor], Tensor], rows: int, device: torch.device) -> Tensor:
    """Where a figure of each row falls to 0 or below on the way from 0 to 1 or little beyond, `(rows,)`; else infinite.

    See `Brackets`. What is returned has been evaluated, and is the end that lies below.

    Args:
        values: from scales `(rows,)` to figures `(rows,)`, float64.
        rows: how many.
        device: of the scales.
    """
    zero = torch.zeros(rows, dtype=torch.float64, device=device)
    above, above_value = zero, _held(values(zero))
    below, below_value = zero + 1, zero + _MOST
    for scale in _TRIED:
        value, looking = _held(values(zero + scale)), below_value > 0
        falls, stays = looking & (value <= 0), looking & (value > 0)
        below, below_value = torch.where(falls, scale, below), torch.where(falls, value, below_value)
        above, above_value = torch.where(stays, scale, above), torch.where(stays, value, above_value)
    brackets = Brackets(low=below, low_value=below_value, high=above, high_value=above_value)
    every = torch.arange(rows, device=device)
    for _ in range(_SECANTS):
        guess = brackets.guess(every, _INNER)
        brackets.note(every, guess, _held(values(guess)))
    return torch.where(brackets.low_value <= 0, brackets.low, torch.inf)


def _held(figures: Tensor) -> Tensor:
    """Away from infinity, where F is 0 or not finite."""
    return figures.clamp(-_MOST, _MOST)
