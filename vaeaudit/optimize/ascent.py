"""Batched projected ascent with momentum: every row climbs on its own, and keeps the best point it has met.

The steps are those of Auto-PGD (Croce and Hein 2020): a projected step, averaged with the momentum of the last one; a
row whose windows of steps bring too little goes back to its best point and takes shorter ones. Windows do not
depend on the number of steps that are left, as theirs do, so that more steps never find less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""`points (rows, n) -> (values (rows,), gradients (rows, n))`."""
SETTLED = 1e-3
"""A row has nothing left to gain when steps down to this fraction of its radius brought nothing."""
_FIRST = 2.0
"""Length of the first steps in radii: across the whole ball."""
_FORWARD = 0.75
"""Share of the new step in the next one; the rest is momentum."""
_WINDOW = 3
_LONGER = 1.3
"""A window that gained is followed by one longer by this factor: shorter steps need more of them."""
_RISING = 0.75
"""Steps of a window that must rise for their length to stay."""
_SHORTER, _MUCH_SHORTER = 0.5, 0.25
"""Factors of the length after a window that gained something, and after one that gained nothing."""


@dataclass(frozen=True, kw_only=True)
class Maximum:
    """Where the climb ended.

    Attributes:
        point: best point of each row, `(rows, n)`.
        value: objective there, `(rows,)`.
        last_gain: gain of each row's last window of steps that gained anything, as a fraction of the value, `(rows,)`;
            0 once even steps of a thousandth of the radius brought nothing, infinite if no window gained before that.
    """

    point: Tensor
    value: Tensor
    last_gain: Tensor


def ascend(
    objective: Objective,
    start: Tensor,
    radius: Tensor,
    *,
    project: Callable[[Tensor], Tensor],
    steepest: Callable[[Tensor], Tensor],
    steps: int,
) -> Maximum:
    """Climb by steps of a row's own length, shortened when they bring too little.

    Args:
        objective: value and gradient of every row.
        start: feasible starting points, `(rows, n)`.
        radius: scale of the feasible set, `(rows,)`.
        project: projection onto the feasible set, which is convex.
        steepest: the ascent direction of unit length for a gradient `(rows, n)`.
        steps: gradient evaluations beside the first.
    """
    climb = _Climb(start, *objective(start))
    for _ in range(steps):
        # lengths are float64, as values are; points stay what they were, so that the model sees what it is made for
        length = (climb.length * radius).to(start.dtype)[:, None]
        step = project(climb.point + length * steepest(climb.gradient)) - climb.point
        # back on the segment, a convex combination may leave the set by rounding or by its momentum
        trial = project(climb.point + climb.mixed(step))
        climb.move(trial, *objective(trial))
    return Maximum(point=climb.best, value=climb.best_value, last_gain=climb.last_gain)


class _Climb:
    """The state of all rows; every tensor has one entry a row."""

    def __init__(self, start: Tensor, value: Tensor, gradient: Tensor) -> None:
        self.point, self.value, self.gradient = start, value, gradient
        self.best, self.best_value, self.best_gradient = start, value, gradient
        self.momentum = torch.zeros_like(start)
        self.forward = torch.ones_like(value)
        self.length = torch.full_like(value, _FIRST)
        self.window = torch.full_like(value, _WINDOW)
        self.taken, self.rises = torch.zeros_like(value), torch.zeros_like(value)
        self.before = value
        self.last_gain = torch.full_like(value, torch.inf)

    def mixed(self, step: Tensor) -> Tensor:
        """The step with the momentum; none on a row that has just begun anew."""
        share = self.forward.to(step.dtype)[:, None]
        return share * step + (1 - share) * self.momentum

    def move(self, point: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the step, remember the best, and judge the windows that end here."""
        self.momentum = point - self.point
        self.rises = self.rises + (value > self.value)
        self.taken = self.taken + 1
        self.forward = torch.full_like(self.forward, _FORWARD)
        self.point, self.value, self.gradient = point, value, gradient
        better = value > self.best_value
        self.best = torch.where(better[:, None], point, self.best)
        self.best_gradient = torch.where(better[:, None], gradient, self.best_gradient)
        self.best_value = torch.where(better, value, self.best_value)
        self._judge(self.taken >= self.window.round())

    def _judge(self, ended: Tensor) -> None:
        gained = self.best_value > self.before
        scale = self.best_value.abs().clamp_min(torch.finfo(self.value.dtype).tiny)
        gain = torch.where(self.length < SETTLED, 0, self.last_gain)
        gain = torch.where(gained, (self.best_value - self.before) / scale, gain)
        self.last_gain = torch.where(ended, gain, self.last_gain)
        failed = ended & (~gained | (self.rises < _RISING * self.taken))
        self._return(failed)
        self.length = torch.where(failed, self.length * torch.where(gained, _SHORTER, _MUCH_SHORTER), self.length)
        self.window = torch.where(ended & gained, _LONGER * self.window, self.window)
        self.before = torch.where(ended, self.best_value, self.before)
        self.taken, self.rises = (torch.where(ended, 0, count) for count in (self.taken, self.rises))

    def _return(self, rows: Tensor) -> None:
        """Back to the best point, without momentum."""
        self.point = torch.where(rows[:, None], self.best, self.point)
        self.gradient = torch.where(rows[:, None], self.best_gradient, self.gradient)
        self.momentum = torch.where(rows[:, None], 0, self.momentum)
        self.value = torch.where(rows, self.best_value, self.value)
        self.forward = torch.where(rows, 1.0, self.forward)
