"""Estimates: a figure with its interval, and the bootstrap that makes one."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import scipy
from numpy.typing import NDArray

from vaeaudit.errors import OptionError

Statistic = Literal["median", "mean", "count"]
CONFIDENCE = 0.95
RESAMPLES = 4000
_ROUNDING = 1e-9
SMALLEST_SAMPLE = 6
"""Fewer values than this carry no 95 % interval for a median: 1 - 2 * 0.5**n < 0.95."""


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
        slack = _ROUNDING * abs(self.value) if math.isfinite(self.value) else 0.0
        if self.value < self.low - slack or self.value > self.high + slack:
            raise OptionError(f"an interval holds its figure, got {self.value} outside [{self.low}, {self.high}]")

    def distrusted(self) -> Estimate:
        """The same figure, marked as not to be relied upon."""
        return replace(self, trusted=False)


def estimate(
    values: NDArray[np.float64],
    *,
    statistic: Literal["median", "mean"] = "median",
    unit: str = "",
    higher_is_better: bool | None = None,
    upper: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Estimate:
    """Bootstrap an estimate over independent values.

    The median takes the percentile interval (BCa's acceleration is undefined for it), the mean
    the bias-corrected and accelerated one (Efron 1987).

    Args:
        values: one figure a pair or an image, `(n,)`; NaN entries are left out of `n`.
        statistic: what is estimated.
        unit: unit of the values.
        higher_is_better: direction of the score.
        upper: for right-censored values, the largest each could be (+inf where unknown), `(n,)`;
            the interval's upper end is then taken from these.
        seed: seed of the resampling.
    """
    kept = ~np.isnan(values)
    lower = values[kept]
    n = int(lower.size)
    value = float(_reduce(lower, statistic)) if n else math.nan
    low, high = _interval(lower, statistic, seed)
    if upper is not None:
        high = _interval(upper[kept], statistic, seed)[1]
    return Estimate(
        value=value, low=low, high=high, n=n, unit=unit,
        higher_is_better=higher_is_better, statistic=statistic,
    )  # fmt: skip


def _reduce(values: NDArray[np.float64], statistic: str, axis: int = -1) -> NDArray[np.float64]:
    reduced = np.median(values, axis=axis) if statistic == "median" else np.mean(values, axis=axis)
    return cast("NDArray[np.float64]", reduced)


def _interval(values: NDArray[np.float64], statistic: str, seed: int) -> tuple[float, float]:
    if values.size < SMALLEST_SAMPLE:
        return -math.inf, math.inf
    finite = bool(np.isfinite(values).all())
    if finite and np.ptp(values) <= _ROUNDING * np.abs(values).max():
        return float(values.min()), float(values.max())
    if statistic == "median":
        low, high = _bootstrap(values, statistic, "percentile", seed)
        return low, math.inf if math.isnan(high) else high
    if not finite:
        return -math.inf, math.inf
    low, high = _bootstrap(values, statistic, "BCa", seed)
    if math.isnan(low) or math.isnan(high):
        return _bootstrap(values, statistic, "percentile", seed)
    return low, high


def _bootstrap(
    values: NDArray[np.float64], statistic: str, method: Literal["percentile", "BCa"], seed: int
) -> tuple[float, float]:
    """A bootstrap interval; NaN where BCa is undefined, as for values that hardly differ."""
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        result = scipy.stats.bootstrap(
            (values,),
            lambda sample, axis: _reduce(sample, statistic, axis),
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method=method,
            vectorized=True,
            rng=np.random.default_rng(seed),
        )
    low, high = result.confidence_interval
    return float(low), float(high)


def count_above(
    variances: NDArray[np.float64], standard_errors: NDArray[np.float64], threshold: float, *, n: int
) -> Estimate:
    """How many variances exceed a threshold, bracketed by how many surely and possibly do.

    Args:
        variances: one variance a latent unit, `(units,)`.
        standard_errors: their standard errors, `(units,)`.
        threshold: the bar.
        n: number of images behind each variance.
    """
    z = scipy.stats.norm.ppf(0.5 + CONFIDENCE / 2)
    return Estimate(
        value=float((variances > threshold).sum()),
        low=float((variances - z * standard_errors > threshold).sum()),
        high=float((variances + z * standard_errors > threshold).sum()),
        n=n,
        unit="units",
        statistic="count",
    )
