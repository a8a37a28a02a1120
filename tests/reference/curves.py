"""Trade-off curves of known hinge, and slow ways to read them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def grid(kind: str, count: int = 24, *, reach: float = 1.2) -> Floats:
    """X values, ascending, unequally spaced as an attack's are (`log`) or equally (`uniform`)."""
    if kind == "uniform":
        return np.linspace(0, reach, count)
    return np.sort(reach / (1 + np.logspace(3, -3, count, base=4)))


def stick(x: Floats, hinge: float, floor: float = 0.02, start: float = 1.0) -> Floats:
    """Y = floor + slope max(0, hinge - X) with Y = start at X = 0."""
    return floor + (start - floor) / hinge * np.maximum(0, hinge - x)


def spacing_weights(x: Floats) -> Floats:
    """Half the distance between each point's neighbours."""
    return np.array([(x[min(i + 1, len(x) - 1)] - x[max(i - 1, 0)]) / 2 for i in range(len(x))])


def stick_error(x: Floats, y: Floats, hinge: float) -> float:
    """Weighted squared error of the best stick with a given hinge."""
    root = np.sqrt(spacing_weights(x))
    design = np.column_stack([np.ones_like(x), np.maximum(0, hinge - x)])
    solution = np.linalg.lstsq(root[:, None] * design, root * y, rcond=None)[0]
    return float(np.sum((root * (y - design @ solution)) ** 2))


def hinge_by_grid(x: Floats, y: Floats, count: int = 2001) -> float:
    """The best of equally spaced hinges (definitions 2.6)."""
    candidates = np.linspace(x.min(), x.max(), count)
    return float(candidates[np.argmin([stick_error(x, y, h) for h in candidates])])


def area_by_loop(x: Floats, y: Floats) -> float:
    """AUDDC of one curve, trapezoid by trapezoid (definitions row 9)."""
    points = sorted((a, b) for a, b in zip(x, y, strict=True) if a <= 1)
    lowest = min(b for _, b in points)
    points += [(points[-1][0], lowest), (1.0, lowest)]
    return sum((c - a) * (b + d) / 2 for (a, b), (c, d) in itertools.pairwise(points))
