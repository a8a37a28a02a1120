"""What follows over several models: the rank correlation of two of their figures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from vaeaudit.errors import DataError, OptionError
from vaeaudit.statistics import CONFIDENCE, figures_of

Floats = NDArray[np.float64]
_RESAMPLES = 4000
_FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A rank correlation.

    No `Estimate`, which is of one model: it has no unit, no direction, and no measurement of its own to be trusted.

    Attributes:
        value: between -1 and 1; NaN where a figure is the same for all models, or there are fewer than two.
        low: lower end of its 95 % interval; -1 where there are too few models for one.
        high: upper end; 1 where there are too few.
        n: models that have both figures.
    """

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        if not -1 <= self.low <= self.high <= 1 or self.value < self.low or self.value > self.high:
            raise OptionError(
                f"a correlation lies in its interval, and that from -1 to 1, got {self.value} [{self.low}, {self.high}]"
            )
        if self.n < 0:
            raise OptionError(f"a correlation has at least no models behind it, got n = {self.n}")


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Correlation:
    """Spearman's rank correlation over models, such as of a score and of what it is meant to foretell.

    Its interval is, at each end, the wider of two. One is the bootstrap's over models (percentiles), which has no width
    where all are in perfect order; the other Fisher's with the standard error of Bonett and Wright (2000, Psychometrika
    65, 23-28), for which a perfect order counts as one exchange of neighbours short of it.

    Args:
        first: one figure a model, `(models,)`; NaN where a model has none, which leaves it out. Infinity is a rank.
        second: the other figure, the models in the same order.

    Raises:
        DataError: shapes that differ, or what is no number.
    """
    a, b = figures_of(first=first, second=second)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"first and second expect one shape (models,), got {a.shape} and {b.shape}")
    both = ~np.isnan(a) & ~np.isnan(b)
    x, y = a[both], b[both]
    n = len(x)
    value = float(_spearman(x, y)) if n > 1 else math.nan
    low, high = (-1.0, 1.0) if n < _FEWEST or math.isnan(value) else _interval(x, y, value)
    return Correlation(value=value, low=low, high=high, n=n)


def _interval(x: Floats, y: Floats, value: float) -> tuple[float, float]:
    n = len(x)
    rows = np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))
    outside = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(_spearman(x[rows], y[rows]), [outside, 1 - outside])
    nearly = 1 - 12 / (n * (n * n - 1))
    centre = math.atanh(min(max(value, -nearly), nearly))
    half = scipy.stats.norm.isf(outside) * math.sqrt((1 + value**2 / 2) / (n - 3))
    return (
        -1.0 if value < -nearly else float(min(low, math.tanh(centre - half))),
        1.0 if value > nearly else float(max(high, math.tanh(centre + half))),
    )


def _spearman(a: Floats, b: Floats) -> Floats:
    """Along the last axis; NaN where either is constant."""
    x, y = (scipy.stats.rankdata(v, axis=-1) for v in (a, b))
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore"):
        found = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return np.asarray(np.clip(found, -1, 1))  # rounding puts a perfect order beyond 1
