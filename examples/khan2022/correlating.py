"""What follows over models: rank correlations, and differences between models of the same seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import NDArray

RESAMPLES = 4000


class Correlation(NamedTuple):
    """Spearman's rank correlation over n models, and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class Mean(NamedTuple):
    """Mean over n seeds and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Spearman's, along the last axis; NaN where either is constant."""
    x, y = (scipy.stats.rankdata(v, axis=-1) for v in (a, b))
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore"):
        found: NDArray[Any] = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return found


def correlation(a: Sequence[float], b: Sequence[float]) -> Correlation:
    """Rank correlation over the models that have both figures, and the wider of two 95 % intervals at each end.

    One is the bootstrap's over models (percentiles), which has no width where all are in perfect order; the other
    Fisher's with the standard error of Bonett and Wright (2000), for which a perfect order counts as one exchange of
    neighbours short of it.
    """
    x, y = (np.array(v)[np.isfinite(a) & np.isfinite(b)] for v in (a, b))
    n = len(x)
    value = float(rank_correlation(x, y)) if n > 1 else math.nan
    if n < 4 or math.isnan(value):
        return Correlation(value, -1.0, 1.0, n)
    rows = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    resampled = np.nanquantile(rank_correlation(x[rows], y[rows]), [0.025, 0.975])
    nearly = 1 - 12 / (n * (n * n - 1))
    centre = math.atanh(min(max(value, -nearly), nearly))
    half = 1.96 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return Correlation(
        value,
        -1.0 if value < -nearly else float(min(resampled[0], math.tanh(centre - half))),
        1.0 if value > nearly else float(max(resampled[1], math.tanh(centre + half))),
        n,
    )


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """Mean and Student's interval, which is what training again would change; open with fewer than two values."""
    kept = [value for value in values if math.isfinite(value)]
    if len(kept) < 2:
        return Mean(kept[0] if kept else math.nan, -math.inf, math.inf, len(kept))
    centre = statistics.fmean(kept)
    half = float(scipy.stats.t.ppf(0.975, len(kept) - 1)) * statistics.stdev(kept) / math.sqrt(len(kept))
    return Mean(centre, centre - half, centre + half, len(kept))
