"""Euclidean projections onto a ball around zero intersected with a box that holds zero."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def project_l2(points: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Project rows onto {||d||_2 <= radius, lower <= d <= upper}.

    The projection is clip(s * v) for the largest s <= 1 that fits the ball (its Lagrange condition).

    Args:
        points: `(rows, n)`.
        radius: `(rows,)`.
        lower: at most 0, `(rows, n)`.
        upper: at least 0, `(rows, n)`.
    """
    factor = _largest_factor(points, radius, lower, upper, 1).clamp(max=1)
    return (factor[:, None].to(points.dtype) * points).clamp(lower, upper)


def project_linf(points: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Project rows onto {||d||_inf <= radius, lower <= d <= upper}; arguments as `project_l2`."""
    reach = radius[:, None]
    return points.clamp(torch.maximum(lower, -reach), torch.minimum(upper, reach))


def stretch_l2(directions: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Go along each direction, clipping to the box, until the L2 length is `radius` or the box is full.

    Args:
        directions: `(rows, n)`.
        radius: `(rows,)`.
        lower: at most 0, `(rows, n)`.
        upper: at least 0, `(rows, n)`.
    """
    wide = directions.double()
    factor = _largest_factor(directions, radius, lower, upper)
    factor = factor.clamp(max=torch.finfo(factor.dtype).max)[:, None]
    far = (factor * wide).clamp(lower.double(), upper.double())
    return far.to(directions.dtype).clamp(lower, upper)


def _largest_factor(points: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, most: float = math.inf) -> Tensor:
    """The largest s with ||clip(s * v)||_2 <= radius, `(rows,)`, float64; infinite where the box always fits.

    If the coordinates that are at their bounds were known, s would follow from (sum of their squared bounds) + s^2 *
    (sum of the other v^2) = radius^2. As long as only some of them are, the others' lengths count in full, so that this s is
    too small, and what it brings to its bounds belongs to them. So the set grows from nothing until it is complete, in
    a few passes, and s is exact (as Michelot 1986 projects onto a simplex).

    Args:
        points: v, `(rows, n)`.
        radius: `(rows,)`.
        lower: at most 0, `(rows, n)`.
        upper: at least 0, `(rows, n)`.
        most: rows of which s is known to be as large are left at that, or above.
    """
    v, square = points.double(), radius.double().square()
    bound = torch.where(v > 0, upper, lower).double().abs()
    length, moves = v.abs(), v != 0
    full, ends = length.square(), bound.square()
    reached = torch.zeros_like(moves)
    left, moving = square, full.sum(1)
    while True:
        factor = torch.where(moving > 0, (left.clamp_min(0) / moving).sqrt(), torch.inf)
        further = (factor.clamp_max(most)[:, None] * length >= bound) & moves & ~reached
        if not bool(further.any()):
            return factor
        reached = reached | further
        left = square - torch.where(reached, ends, 0).sum(1)
        moving = torch.where(reached, 0, full).sum(1)
