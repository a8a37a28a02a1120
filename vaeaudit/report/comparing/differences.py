"""Differences between estimates: their intervals, their p-values, and the correction for looking at many of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vaeaudit.statistics import CONFIDENCE, Estimate, estimate

SIGNIFICANT = 1 - CONFIDENCE
"""Largest corrected p-value of a difference that is called clear."""
_RESAMPLES = 4000
_KEPT = 512
"""Models whose resamples are kept, at 32 kB each: a leaderboard holds each of its models against all others."""
Floats = NDArray[np.float64]


def difference_of(old: Estimate, new: Estimate) -> tuple[float, float, float]:
    """New minus old, with the 95 % interval that follows from the two estimates' own.

    MOVER (Zou and Donner 2008, Stat. Med. 27, 1693-1702, equation 5): the distance from a difference to its limit
    is the root of the squared distances of the estimates to those limits that work in that direction. It asks
    for independent estimates, and is too wide where they agree in what they were measured on.
    """
    difference = new.value - old.value
    below = math.hypot(new.value - new.low, old.high - old.value)
    above = math.hypot(new.high - new.value, old.value - old.low)
    return difference, difference - below, difference + above


def paired_change(before: Floats, after: Floats, statistic: str) -> tuple[float, float, float]:
    """After minus before: of medians, with its bootstrap interval over pairs, or the mean of differences.

    A change of a score is one of the estimate that the score is, whereas `vaeaudit.paired_difference` holds any figures
    against each other, pair by pair.
    """
    if statistic == "mean":
        mean = estimate(after - before, statistic="mean")
        return mean.value, mean.low, mean.high
    difference = float(np.median(after) - np.median(before))
    if np.ptp(after - before) == 0:
        return difference, difference, difference
    changes = _resampled_medians(after.tobytes()) - _resampled_medians(before.tobytes())
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(changes, [outside, 1 - outside])
    return difference, float(low), float(high)


@functools.lru_cache(maxsize=_KEPT)
def _resampled_medians(values: bytes) -> Floats:
    """Medians of as many resamples of float64 values, `(resamples,)`; resample i takes the same pairs of any n values."""
    array = np.frombuffer(values)
    rows = np.random.default_rng(0).integers(len(array), size=(_RESAMPLES, len(array)))
    return np.asarray(np.median(array[rows], axis=1))


def p_value(difference: float, low: float, high: float, n: int) -> float:
    """Two-sided p-value of a difference with this 95 % interval, the interval's widths at other levels being Student's t's.

    Exact for the mean of normal values, an approximation for all else; at 0.05 it agrees with the interval.

    Args:
        difference: the estimate.
        low: lower end of its interval.
        high: upper end.
        n: values behind it, of the smaller sample.
    """
    if difference == 0:
        return 1.0
    to_zero = difference - low if difference > 0 else high - difference
    width = to_zero if to_zero > 0 else (high - low) / 2
    if not math.isfinite(width):
        return 1.0
    if width == 0:
        return 0.0
    freedom = max(n - 1, 1)
    steps = special.stdtrit(freedom, 0.5 + CONFIDENCE / 2) * abs(difference) / width
    return float(2 * special.stdtr(freedom, -steps))


def corrected(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm (1979, Scand. J. Stat. 6, 65-70), in the same order.

    Calling those at most 0.05 significant errs anywhere with a probability of at most 0.05, however the tests depend
    on each other.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    found = np.empty_like(p)
    found[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1.0)
    return [float(value) for value in found]
