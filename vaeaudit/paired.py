"""Two models, or two attacks, on the same pairs: their curves at equal distortion, and their figures pair by pair."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from vaeaudit.errors import DataError
from vaeaudit.statistics import CONFIDENCE, Estimate, estimate, figures_of

Floats = NDArray[np.float64]
_FEWEST = 4
"""Pairs that a signed-rank test is asked of."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Figures of the first less those of the second, pair by pair.

    Attributes:
        mean: of the differences, with its 95 % interval.
        p: of Wilcoxon's signed-rank test, two-sided; 1 for fewer than four pairs, NaN without any.
    """

    mean: Estimate
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out and the test agrees, else 0."""
        return (int(self.mean.low > 0) - int(self.mean.high < 0)) * int(self.p < 1 - CONFIDENCE)


def paired_difference(first: ArrayLike, second: ArrayLike) -> PairedDifference:
    """Hold the figures of two models against each other, pair by pair.

    Args:
        first: one figure a pair, `(pairs,)`, such as `Curves.auddc`. NaN or infinite where there is none, and to be made NaN
            where it is known to be a bound alone: a hinge where `Curves.censored`.
        second: the same of the other model, the pairs in the same order. A pair that lacks either is left out.

    Returns:
        First minus second; no interval for fewer than six pairs, as for every mean.

    Raises:
        DataError: shapes that differ, or what is no number.
    """
    a, b = figures_of(first=first, second=second)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"first and second expect one shape (pairs,), got {a.shape} and {b.shape}")
    both = np.isfinite(a) & np.isfinite(b)
    apart = a[both] - b[both]
    p = 1.0 if len(apart) else math.nan
    if len(apart) >= _FEWEST and apart.any():
        p = float(scipy.stats.wilcoxon(apart).pvalue)
    return PairedDifference(mean=estimate(apart, statistic="mean"), p=p)


def gap_at(distortion: ArrayLike, gap: ArrayLike, at: ArrayLike) -> Floats:
    """Y of each pair at a distortion of one's choice, by straight lines between the points of its curve, `(pairs,)`.

    Beyond its ends a curve goes on as it is there. Any other figure over the same distortions can stand for the gap.

    Args:
        distortion: X, `(pairs, strengths)`, in any order.
        gap: Y, the same shape.
        at: X for each pair, `(pairs,)`, or one for all; where it or a point of the curve is missing, so is the answer (NaN).

    Raises:
        DataError: shapes that do not match, or what is no number.
    """
    x, y, wanted = figures_of(distortion=distortion, gap=gap, at=at)
    if x.ndim != 2 or x.shape != y.shape or not x.shape[1] or wanted.shape not in ((), x.shape[:1]):
        raise DataError(
            "distortion and gap expect one shape (pairs, strengths), and at one (pairs,) or a single number, got "
            f"{x.shape}, {y.shape} and {wanted.shape}"
        )
    order = np.argsort(x, axis=1, kind="stable")
    x, y = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1)
    usable = np.isfinite(np.stack([x, y])).all((0, 2))
    places = np.broadcast_to(wanted, len(x))
    return np.array([np.interp(*row) for row in zip(places, x, y, strict=True)]) * np.where(usable, 1, np.nan)
