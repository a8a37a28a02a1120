"""Samples: the figures behind a score, one a pair or an image, and the one-sided bounds that verdicts rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.statistics import SMALLEST_SAMPLE, Statistic

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The figures that one score was estimated from; those of excluded pairs are left out.

    Attributes:
        values: one figure a pair or an image, `(n,)`; for a count, one variance a latent unit, `(units,)`.
        statistic: how the score combines them.
        originals: position of each value's image in the user's data, `(n,)`; empty for a count,
            whose values belong to latent units.
        targets: position of each pair's target, `(n,)`; None where a value belongs to one image.
        upper: the largest each value could be, `(n,)`; +inf for a curve that does not saturate or an
            eigenvalue lost in rounding. None where all values are exact.
        errors: standard error of each value, `(units,)`; only for a count.
        threshold: what a value must exceed to be counted; only for a count.
    """

    values: Floats
    statistic: Statistic
    originals: Integers
    targets: Integers | None = None
    upper: Floats | None = None
    errors: Floats | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("originals", "targets", "upper", "errors"):
            array = getattr(self, name)
            optional = name == "originals" and self.statistic == "count"
            if array is not None and not optional and array.shape != self.values.shape:
                raise ReportError(f"Sample.{name} has shape {array.shape}, expected {self.values.shape}")
        if self.statistic == "count" and self.errors is None:
            raise ReportError("Sample expects errors beside the values of a count, got none")

    def bounds(self, level: float) -> tuple[float, float]:
        """Lower and upper bound of the score, each holding by itself with probability `level`.

        Args:
            level: one-sided confidence, above 0.5 and below 1.

        Returns:
            The two bounds; infinite where the sample carries none.
        """
        check_level("level", level)
        if self.statistic == "count":
            assert self.errors is not None
            return bounds_of_count(self.values, self.errors, self.threshold, level)
        of = bounds_of_median if self.statistic == "median" else bounds_of_mean
        low, high = of(self.values, level)
        if self.upper is not None:
            high = of(self.upper, level)[1]
        return float(low), float(high)


def check_level(name: str, value: float) -> None:
    """Refuse a level that no one-sided bound has.

    Raises:
        OptionError: it is no number above 0.5 and below 1.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0.5 < value < 1:
        raise OptionError(f"{name} expects a number above 0.5 and below 1, such as 0.95, got {value!r}")


def fewest(statistic: Statistic, level: float) -> int:
    """The smallest sample that carries a one-sided bound at a level.

    The least of n values is a lower bound of their median with confidence 1 - 0.5**n. A mean asks for
    no fewer, and for as many as its skewness can be judged from.
    """
    median = math.ceil(math.log2(1 / (1 - level)) - _ROUNDING)
    return median if statistic == "median" else max(median, SMALLEST_SAMPLE)


def bounds_of_median(values: Floats, level: float) -> tuple[Floats, Floats]:
    """One-sided bounds of a median: order statistics, exact for any distribution (David and Nagaraja 2003, 7.1).

    The k-th smallest of n values lies above the median with probability P(B < k) at most, B binomial
    (n, 1/2); ties make it less. k is the largest that keeps it within 1 - level.

    Args:
        values: `(..., n)`; infinite values are ordered like any other.
        level: one-sided confidence.

    Returns:
        Lower and upper bounds, `(...)`; infinite where n is too small.
    """
    n = values.shape[-1]
    ranks = np.arange(n // 2 + 1)
    k = int((scipy.stats.binom.cdf(ranks, n, 0.5) <= 1 - level).sum()) if n else 0
    if k == 0:
        return _unbounded(values)
    ordered = np.sort(values, axis=-1)
    return ordered[..., k - 1], ordered[..., n - k]


def bounds_of_mean(values: Floats, level: float) -> tuple[Floats, Floats]:
    """One-sided bounds of a mean: the worse of Student's t and Hall's transformation, on either side.

    Student's t misses on the long side of a skewed sample. Hall (1992, J. R. Stat. Soc. B 54, 221-228)
    transforms it by a cubic that takes the skewness out, and is inverted here at a quantile of t;
    that one misses on the short side of a symmetric sample. No resampling, so nothing depends on a seed.

    How often a bound at level 0.95 missed the mean, in per cent of 8,000 samples, below and above it:

    | population, n | this | t | BCa bootstrap |
    |---|---|---|---|
    | normal, 24 | 4.6, 4.9 | 5.0, 5.3 | 6.2, 6.6 |
    | gamma of skewness 1, 24 | 3.3, 5.5 | 3.3, 7.3 | 5.9, 6.9 |
    | exponential, 24 | 2.4, 6.3 | 2.4, 10.5 | 5.4, 8.0 |
    | exponential, 50 | 3.0, 5.4 | 3.0, 8.7 | 5.9, 6.5 |
    | lognormal of sigma 1, 50 | 1.2, 8.2 | 1.2, 13.2 | 5.2, 9.7 |

    So the level is kept for the skewness that scores have (about 1 or less), and missed by a little beyond.

    Args:
        values: `(..., n)`.
        level: one-sided confidence.

    Returns:
        Lower and upper bounds, `(...)`; infinite where n is too small or a value is not finite.
    """
    n = values.shape[-1]
    if n < fewest("mean", level) or not np.isfinite(values).all():
        return _unbounded(values)
    mean = values.mean(-1)
    centred = values - mean[..., None]
    spread = np.sqrt((centred**2).sum(-1) / (n - 1))
    # rounding noise of equal values has no shape to correct for
    flat = spread <= _ROUNDING * np.abs(values).max(-1)
    skewness = n / ((n - 1) * (n - 2)) * ((centred / np.where(flat, 1, spread)[..., None]) ** 3).sum(-1)
    student = scipy.stats.t.ppf(level, n - 1) / math.sqrt(n)
    below = mean - spread * np.maximum(student, _untransformed(student, skewness, n))
    above = mean - spread * np.minimum(-student, _untransformed(-student, skewness, n))
    least, most = values.min(-1), values.max(-1)
    return np.where(flat, least, below), np.where(flat, most, above)


def _untransformed(y: float, skewness: Floats, n: int) -> Floats:
    """Inverse of Hall's g(T) = T + skew T^2 / 3 + skew^2 T^3 / 27 + skew / (6 n)."""
    shift = y - skewness / (6 * n)
    cubic = skewness * shift
    small = np.abs(cubic) < 1e-6
    safe = np.where(small, 1, skewness)
    # where the cubic hardly bends, its inverse is the line; 3 (cbrt(1 + c) - 1) would lose all digits
    return np.where(small, shift * (1 - cubic / 3), 3 * (np.cbrt(1 + np.where(small, 0, cubic)) - 1) / safe)


def bounds_of_count(values: Floats, errors: Floats, threshold: float, level: float) -> tuple[float, float]:
    """One-sided bounds of how many values exceed a threshold, from their standard errors.

    A count errs as soon as one value does, so each is given its share of the level (Bonferroni).
    """
    if not values.size:
        return -math.inf, math.inf
    z = scipy.stats.norm.ppf(1 - (1 - level) / values.size)
    sure, possible = (values - z * errors > threshold).sum(), (values + z * errors > threshold).sum()
    return float(sure), float(possible)


def _unbounded(values: Floats) -> tuple[Floats, Floats]:
    infinite = np.full(values.shape[:-1], math.inf)
    return -infinite, infinite
