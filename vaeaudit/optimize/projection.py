"""Euclidean projections onto a ball around zero intersected with a box that holds zero."""

from __future__ import annotations

import torch
from torch import Tensor

_BISECTIONS = 30


def project_l2(points: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Project rows onto {||d||_2 <= radius, lower <= d <= upper}.

    The projection is clip(s * v) for the largest s <= 1 that fits the ball (its Lagrange condition),
    found by bisection.

    Args:
        points: `(rows, n)`.
        radius: `(rows,)`.
        lower: at most 0, `(rows, n)`.
        upper: at least 0, `(rows, n)`.
    """
    inside = points.clamp(lower, upper)
    low, high = torch.zeros_like(radius), torch.ones_like(radius)
    fits = inside.norm(dim=1) <= radius
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        within = (middle[:, None] * points).clamp(lower, upper).norm(dim=1) <= radius
        low, high = torch.where(within, middle, low), torch.where(within, high, middle)
    return torch.where(fits[:, None], inside, (low[:, None] * points).clamp(lower, upper))


def project_linf(points: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Project rows onto {||d||_inf <= radius, lower <= d <= upper}; arguments as `project_l2`."""
    reach = radius[:, None]
    return points.clamp(torch.maximum(lower, -reach), torch.minimum(upper, reach))


def stretch_l2(directions: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Go along each direction, clipping to the box, until the L2 length is `radius` or the box is full.

    Args:
        directions: `(rows, n)`.
        radius, lower, upper: as `project_l2`.
    """
    unit = directions / directions.norm(dim=1, keepdim=True).clamp_min(torch.finfo(directions.dtype).tiny)
    far = radius[:, None] * unit * 2.0 ** torch.arange(0, 20, 2, device=unit.device, dtype=unit.dtype)[:, None, None]
    lengths = far.clamp(lower, upper).norm(dim=2)
    enough = lengths >= radius
    first = torch.where(enough.any(0), enough.int().argmax(0), len(far) - 1)
    chosen = far[first, torch.arange(len(unit), device=unit.device)]
    return project_l2(chosen, radius, lower, upper)
