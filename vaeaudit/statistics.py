"""Estimates: a figure with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeaudit.errors import DataError, OptionError, brief
from vaeaudit.intervals import SMALLEST_SAMPLE as SMALLEST_SAMPLE
from vaeaudit.intervals import Statistic as Statistic
from vaeaudit.intervals import bounds_of_count, bounds_of_mean, interval_of_median

CONFIDENCE = 0.95
_EACH_SIDE = 0.5 + CONFIDENCE / 2
_ROUNDING = 1e-9
_NUMBERS = "biufO"
"""Kinds of arrays that figures come in: not text, dates, or complex numbers, which numpy would turn into some figure."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One reported figure.

    Attributes:
        value: the point estimate; NaN where there is none.
        low: lower end of the 95 % interval; -inf where the sample carries none.
        high: upper end of the interval; +inf where the sample carries none.
        n: number of pairs or images behind it.
        unit: what it is measured in; empty for a pure number.
        higher_is_better: True if a higher figure is more robust, False if a lower one is,
            None if the score has no such direction.
        statistic: how the n values were combined.
        trusted: False where a health check found the measurement unfit for a verdict.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    higher_is_better: bool | None = None
    statistic: Statistic = "median"
    trusted: bool = True

    def __post_init__(self) -> None:
        if self.n < 0:
            raise OptionError(f"an estimate has at least no values behind it, got n = {self.n}")
        if not self.low <= self.high:
            raise OptionError(f"an interval runs from low to high, got [{self.low}, {self.high}]")
        if not math.isnan(self.value) and not holds((self.low, self.high), self.value):
            raise OptionError(f"an interval holds its figure, got {self.value} outside [{self.low}, {self.high}]")

    def distrusted(self) -> Estimate:
        """The same figure, marked as not to be relied upon."""
        return replace(self, trusted=False)


def holds(bounds: tuple[float, float], value: float) -> bool:
    """Whether a figure lies inside its bounds, but for rounding."""
    slack = _ROUNDING * abs(value) if math.isfinite(value) else 0.0
    return bounds[0] - slack <= value <= bounds[1] + slack


def all_distrusted(estimates: tuple[Estimate, ...]) -> tuple[Estimate, ...]:
    """The same estimates, marked as not to be relied upon."""
    return tuple(one.distrusted() for one in estimates)


def figures_of(**given: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Arrays that somebody hands over, as float64; None among numbers is NaN.

    Args:
        given: the arrays, by the names of the arguments they came in.

    Raises:
        DataError: one of them is not made of numbers, or its rows differ in length.
    """
    return tuple(_as_floats(name, values) for name, values in given.items())


def _as_floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in _NUMBERS:
            raise TypeError(f"{array.dtype} is no kind of real number")
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} expects an array of real numbers, got {brief(values)} ({error})") from None


def estimate(
    values: NDArray[np.float64],
    *,
    statistic: Literal["median", "mean"] = "median",
    unit: str = "",
    higher_is_better: bool | None = None,
    upper: NDArray[np.float64] | None = None,
) -> Estimate:
    """An estimate over independent values, the same to the last bit in whatever order they come.

    A median lies between interpolated order statistics, a mean between the two one-sided bounds that
    verdicts use, each at 97.5 %. `docs/statistics.md` tells how often either misses, and where by more
    than 2 per cent: strong skewness in few values, and values of which many are equal.

    Args:
        values: one figure a pair or an image, `(n,)`; NaN entries are left out of `n`.
        statistic: what is estimated.
        unit: unit of the values.
        higher_is_better: direction of the score.
        upper: for right-censored values, the largest each could be (+inf where unknown), `(n,)`;
            the interval's upper end is then taken from these. It holds at least as often as without
            censoring.
    """
    kept = ~np.isnan(values)
    # sums round alike only in one order
    lower = np.sort(values[kept])
    n = int(lower.size)
    value = float(np.median(lower) if statistic == "median" else _mean(lower)) if n else math.nan
    low, high = _interval(lower, statistic)
    if upper is not None:
        high = _interval(np.sort(upper[kept]), statistic)[1]
    return Estimate(
        value=value, low=low, high=high, n=n, unit=unit,
        higher_is_better=higher_is_better, statistic=statistic,
    )  # fmt: skip


def _mean(ordered: NDArray[np.float64]) -> float:
    """The mean, which rounding takes out of the range of values that are all but equal."""
    return float(np.clip(np.mean(ordered), ordered[0], ordered[-1]))


def _interval(ordered: NDArray[np.float64], statistic: str) -> tuple[float, float]:
    if ordered.size < SMALLEST_SAMPLE:
        return -math.inf, math.inf
    mean = statistic == "mean"
    low, high = bounds_of_mean(ordered, _EACH_SIDE) if mean else interval_of_median(ordered, CONFIDENCE)
    return float(low), float(high)


def count_above(
    variances: NDArray[np.float64], standard_errors: NDArray[np.float64], threshold: float, *, n: int
) -> Estimate:
    """How many variances exceed a threshold, bracketed by how many surely and possibly do.

    All units together hold the level (Bonferroni), so the bracket misses far less often than 5 times in
    100 unless many units lie close to the threshold.

    Args:
        variances: one variance a latent unit, `(units,)`.
        standard_errors: their standard errors, `(units,)`.
        threshold: the bar.
        n: number of images behind each variance.
    """
    low, high = bounds_of_count(variances, standard_errors, threshold, _EACH_SIDE)
    value = float((variances > threshold).sum())
    return Estimate(value=value, low=low, high=high, n=n, unit="units", statistic="count")
