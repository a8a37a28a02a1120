"""A classifier's curves around the distortion at which the wanted class begins to win."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats

from vaeaudit.statistics import Estimate, estimate

from .comparing import Difference, Floats, difference
from .results import Results, array

_FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """A classifier's curves around the distortion at which the wanted class begins to win.

    Attributes:
        crossed: images whose wanted class ever wins.
        crossing: least distortion at which it does, median over these.
        logit, probability: R2 of a straight line from no distortion to twice the crossing's, median over images.
        straighter: R2 of the logit minus that of the probability.
        width: distance over which the probability rises from 0.1 to 0.9, as a share of the crossing's distortion.
        first_losing: what the paper's code printed, mean over images.
    """

    crossed: int
    crossing: Estimate
    logit: Estimate
    probability: Estimate
    straighter: Difference
    width: Estimate
    first_losing: Estimate


def crossings(trial: Results) -> Crossings:
    """The figures of a classifier attack."""
    x, logit, probability = (array(trial[name]) for name in ("distortion", "logit", "probability"))
    crossing = array(trial["crossing"])
    has = np.isfinite(crossing) & (crossing > 0)
    near = np.abs(x - crossing[:, None]) <= crossing[:, None]
    lines = np.array([
        (_line_r_squared(a[m], b[m]), _line_r_squared(a[m], c[m])) if ok else (np.nan, np.nan)
        for a, b, c, m, ok in zip(x, logit, probability, near, has, strict=True)
    ]).reshape(-1, 2)  # fmt: skip
    widths = np.array([_rise(a, b) if ok else np.nan for a, b, ok in zip(x, logit, has, strict=True)])
    return Crossings(
        crossed=int(has.sum()), crossing=estimate(np.where(has, crossing, np.nan)), logit=estimate(lines[:, 0]),
        probability=estimate(lines[:, 1]),
        straighter=difference(lines[:, 0], lines[:, 1]), width=estimate(widths / np.where(has, crossing, np.nan)),
        first_losing=estimate(array(trial["first_losing"]), statistic="mean"),
    )  # fmt: skip


def _line_r_squared(x: Floats, y: Floats) -> float:
    if len(x) < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(scipy.stats.linregress(x, y).rvalue ** 2)


def _rise(x: Floats, logit: Floats) -> float:
    """Distance between logits of 0.1 and of 0.9, by straight lines between points."""
    order = np.argsort(x, kind="stable")
    ends = np.log([1 / 9, 9.0])
    rising = np.maximum.accumulate(logit[order])
    if rising[0] > ends[0] or rising[-1] < ends[1]:
        return math.nan
    low, high = np.interp(ends, rising, x[order])
    return float(high - low)
