"""How a classifier gives way: its curves around the distortion at which the wanted class begins to win."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from vaeaudit import DataError, Estimate, PairedDifference, paired_difference
from vaeaudit.statistics import estimate

Floats = NDArray[np.float64]
_FEWEST = 4
"""Points that a line is asked of."""


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """What the attack on a classifier meets on its way into the wanted class (Tabacof et al. 2016, figure 5).

    Attributes:
        crossed: images whose wanted class ever wins.
        crossing: least distortion at which it does, median over these, input units.
        logit, probability: R2 of a straight line from no distortion to twice the crossing's, median over images.
        straighter: R2 of the logit minus that of the probability, image by image.
        width: distance over which the probability rises from 0.1 to 0.9, as a share of the crossing's distortion.
    """

    crossed: int
    crossing: Estimate
    logit: Estimate
    probability: Estimate
    straighter: PairedDifference
    width: Estimate


def crossings_of(distortion: ArrayLike, probability: ArrayLike, logit: ArrayLike, crossing: ArrayLike) -> Crossings:
    """Sum up what `vaeaudit.attacks.targeted_class` found.

    Args:
        distortion: L2(d), `(images, strengths)`.
        probability: of the wanted class, the same shape.
        logit: of that probability, the same shape.
        crossing: least distortion at which it wins, `(images,)`; an image that is not crossed, or is from the start
            (infinite, NaN or 0), counts nowhere.

    Raises:
        DataError: shapes that do not match.
    """
    x, p, z, at = (np.asarray(values, np.float64) for values in (distortion, probability, logit, crossing))
    if x.ndim != 2 or x.shape != p.shape or x.shape != z.shape or at.shape != x.shape[:1]:
        raise DataError(
            "distortion, probability and logit expect one shape (images, strengths), and crossing (images,), got "
            f"{x.shape}, {p.shape}, {z.shape} and {at.shape}"
        )
    at = np.where(np.isfinite(at) & (at > 0), at, np.nan)
    of_logit, of_probability = (
        np.array([_line_r_squared(*row) for row in zip(x, y, at, strict=True)], np.float64) for y in (z, p)
    )
    widths = np.array([_rise(*row) for row in zip(x, z, strict=True)], np.float64)
    return Crossings(
        crossed=int(np.isfinite(at).sum()), crossing=estimate(at, unit="input units", higher_is_better=True),
        logit=estimate(of_logit), probability=estimate(of_probability),
        straighter=paired_difference(of_logit, of_probability), width=estimate(widths / at),
    )  # fmt: skip


def _line_r_squared(x: Floats, y: Floats, crossing: float) -> float:
    near = np.abs(x - crossing) <= crossing
    if near.sum() < _FEWEST or np.ptp(x[near]) == 0 or np.ptp(y[near]) == 0:
        return math.nan
    return float(scipy.stats.linregress(x[near], y[near]).rvalue ** 2)


def _rise(x: Floats, logit: Floats) -> float:
    """Distance between probabilities of 0.1 and of 0.9, by straight lines between points; NaN where not both are met."""
    order = np.argsort(x, kind="stable")
    ends = np.log([1 / 9, 9.0])
    rising = np.maximum.accumulate(logit[order])
    if not (rising[0] <= ends[0] and rising[-1] >= ends[1]):
        return math.nan
    low, high = np.interp(ends, rising, x[order])
    return float(high - low)
