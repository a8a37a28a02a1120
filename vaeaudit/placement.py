"""Where a series of C is made denser: where the trade-off curves bend, until hinge and area are resolved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeaudit.tradeoff import FEWEST_STRENGTHS, areas_under, fit_hinge

Floats = NDArray[np.float64]

RESOLUTION = 0.01
"""Hinge and AUDDC are resolved when every other strength left out moves their median and mean by no more than this."""


def resolution(distortion: Floats, gap: Floats) -> float:
    """By how much the hinge or the AUDDC over all pairs moves when every other strength is left out, but for the ends.

    An upper estimate of what twice as many strengths would change, since the trapezoids' error falls with the square
    of their width.

    Args:
        distortion: X, by ascending or descending strength, `(pairs, strengths)`.
        gap: Y, the same shape, finite.
    """
    count = distortion.shape[1]
    hinge, area = _figures(distortion, gap)
    moved = [0.0]
    for first in (1, 2):
        kept = np.setdiff1d(np.arange(count), np.arange(first, count - 1, 2))
        if len(kept) < FEWEST_STRENGTHS:
            return float("inf")
        coarse_hinge, coarse_area = _figures(distortion[:, kept], gap[:, kept])
        moved += [abs(coarse_hinge - hinge), abs(coarse_area - area)]
    return max(moved)


def resolution_of(distortion: Floats, gap: Floats) -> float:
    """`resolution` over the pairs that have a curve; 0 where none has."""
    known = _known(distortion, gap)
    return resolution(distortion[known], gap[known]) if known.any() else 0.0


def _known(distortion: Floats, gap: Floats) -> NDArray[np.bool_]:
    """Which pairs have a curve, `(pairs,)`."""
    return np.asarray(np.isfinite(gap).all(1) & np.isfinite(distortion).all(1))


def _figures(distortion: Floats, gap: Floats) -> tuple[float, float]:
    """Median hinge and mean AUDDC."""
    return float(np.nanmedian(fit_hinge(distortion, gap).hinge)), float(np.mean(areas_under(distortion, gap)))


def strengths_between(strengths: Floats, distortion: Floats, gap: Floats, count: int) -> Floats:
    """Up to `count` further strengths, each between two neighbours about which the curves bend most.

    How much they bend at a point is the area of the triangle with its two neighbours, mean over pairs; an interval
    is worth the triangles at its ends. Empty where hinge and AUDDC are resolved, or no pair has a curve.

    Args:
        strengths: C, ascending, `(strengths,)`.
        distortion: X, `(pairs, strengths)`.
        gap: Y, `(pairs, strengths)`; NaN for pairs without a curve.
        count: at most so many.
    """
    if count < 1 or len(strengths) < 3 or resolution_of(distortion, gap) <= RESOLUTION:
        return np.empty(0)
    known = _known(distortion, gap)
    x, y = distortion[known], gap[known]
    dx, dy = np.diff(x, axis=1), np.diff(y, axis=1)
    bends = 0.5 * np.abs(dx[:, :-1] * dy[:, 1:] - dx[:, 1:] * dy[:, :-1]).mean(0)
    worth = np.append(bends, 0) + np.insert(bends, 0, 0)
    worth = np.where(strengths[:-1] > 0, worth, 0)
    intervals = np.argsort(-worth, kind="stable")[:count]
    intervals = np.sort(intervals[worth[intervals] > 0])
    middle: Floats = np.sqrt(strengths[intervals] * strengths[intervals + 1])
    return middle
