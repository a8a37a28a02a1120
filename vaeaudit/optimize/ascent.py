"""Batched projected ascent: every row climbs on its own, and never comes down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""`points (rows, n) -> (values (rows,), gradients (rows, n))`."""
SETTLED = 1e-3
"""A row has nothing left to gain when steps down to this fraction of its radius were refused."""


@dataclass(frozen=True, kw_only=True)
class Maximum:
    """Where the climb ended.

    Attributes:
        point: best point of each row, `(rows, n)`.
        value: objective there, `(rows,)`.
        last_gain: relative gain of each row's last accepted step, `(rows,)`; 0 once even steps of
            a thousandth of the radius were refused, infinite if no step was accepted before that.
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
    """Climb by steps of a row's own length, halved when they fail and lengthened when they succeed.

    Args:
        objective: value and gradient of every row.
        start: feasible starting points, `(rows, n)`.
        radius: scale of the feasible set, `(rows,)`; the first step has this length.
        project: projection onto the feasible set.
        steepest: the ascent direction of unit length for a gradient `(rows, n)`.
        steps: gradient evaluations.
    """
    point, length = start, torch.ones_like(radius)
    value, gradient = objective(point)
    gain = torch.full_like(value, torch.inf)
    for _ in range(steps):
        trial = project(point + (length * radius)[:, None] * steepest(gradient))
        new_value, new_gradient = objective(trial)
        better = new_value > value
        step_gain = (new_value - value) / new_value.clamp_min(torch.finfo(value.dtype).tiny)
        gain = torch.where(better, step_gain, torch.where(length < SETTLED, 0, gain))
        point = torch.where(better[:, None], trial, point)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        value = torch.where(better, new_value, value)
        length = torch.where(better, (1.5 * length).clamp_max(4), 0.5 * length)
    return Maximum(point=point, value=value, last_gain=gain)
