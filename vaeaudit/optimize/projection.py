"""Euclidean projections onto a ball around zero intersected with a box that holds zero."""

from __future__ import annotations

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
    factor = _largest_factor(points, radius, lower, upper).clamp(max=1)
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


def _largest_factor(points: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The largest s with ||clip(s * v)||_2 <= radius, `(rows,)`, float64; infinite where the box always fits.

    As s grows, coordinates reach their bounds one after the other; between two such events the squared
    length is (sum of the squared bounds reached) + s^2 * (sum of the other v^2), so s is found exactly.
    """
    v, radius = points.double(), radius.double()
    bound = torch.where(v > 0, upper, lower).double()
    events, order = torch.where(v == 0, torch.inf, bound / torch.where(v == 0, 1.0, v)).sort(1)
    ends = torch.where(events.isfinite(), bound.gather(1, order), 0).square().cumsum(1)
    moving = v.square().gather(1, order).flip(1).cumsum(1).flip(1)
    reached = torch.cat([torch.zeros_like(ends[:, :1]), ends], 1)[:, :-1]
    left = radius.square()[:, None] - reached
    factors = torch.where(moving > 0, (left.clamp_min(0) / moving).sqrt(), torch.inf)
    fits = (factors <= events) & (left >= 0)
    first = fits.int().argmax(1, keepdim=True)
    return torch.where(fits.any(1), factors.gather(1, first)[:, 0], torch.inf)
