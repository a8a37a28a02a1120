"""How often the intervals and bounds of a report hold the truth, by simulation from populations whose truth is known.

    python benchmarks/coverage.py --trials 20000

Prints the tables of `docs/statistics.md`. The intervals that need a fit, a resampling or many images take fewer trials.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from vaeaudit import fit_hinge
from vaeaudit.intervals import bounds_of_mean, bounds_of_median, interval_of_median
from vaeaudit.report.comparing.differences import paired_change
from vaeaudit.statistics import Estimate, count_above, estimate
from vaeaudit.tradeoff import hinge_estimate

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
SIZES = (6, 8, 12, 24, 50, 100, 200)
CURVE_SIZES = (8, 12, 24, 48)
LEVEL = 0.95
POOL = 2000


def _mostly_zero(rng: np.random.Generator, size: tuple[int, ...], share: float) -> Floats:
    return np.where(rng.random(size) < share, 0.0, rng.exponential(size=size))


def _two_modes(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    return np.where(rng.random(size) < 0.5, -1.0, 1.0) + 0.3 * rng.standard_normal(size)


# how to draw, the mean, the median
POPULATIONS: dict[str, tuple[Draw, float, float]] = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0, 0),
    "uniform": (lambda rng, size: rng.random(size), 0.5, 0.5),
    "beta(2, 5), a share": (lambda rng, size: rng.beta(2, 5, size), 2 / 7, float(scipy.stats.beta(2, 5).median())),
    "gamma, skewness 1": (lambda rng, size: rng.gamma(4, size=size), 4, float(scipy.stats.gamma(4).median())),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1, math.log(2)),
    "lognormal, sigma 0.5": (lambda rng, size: rng.lognormal(0, 0.5, size), math.exp(0.125), 1),
    "lognormal, sigma 1": (lambda rng, size: rng.lognormal(0, 1, size), math.exp(0.5), 1),
    "Student's t, 3 degrees": (lambda rng, size: rng.standard_t(3, size), 0, 0),
    "Pareto, index 3": (lambda rng, size: rng.pareto(3, size), 0.5, 2 ** (1 / 3) - 1),
    "two modes": (_two_modes, 0, 0),
    "Poisson of 4, ties": (lambda rng, size: rng.poisson(4, size).astype(float), 4, 4),
    "30 % zeros": (lambda rng, size: _mostly_zero(rng, size, 0.3), 0.7, -math.log(1 - 0.2 / 0.7)),
    "60 % zeros": (lambda rng, size: _mostly_zero(rng, size, 0.6), 0.4, 0),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trials", type=int, default=20000)
    trials = options.parse_args().trials
    few, fewest = max(trials // 10, 10), max(trials // 80, 10)
    print(f"### Medians\n\n{_head('population', SIZES)}")
    _rows(POPULATIONS, SIZES, lambda case, n: _share(median(case, n, trials), case[2]))
    print(f"\n### Means\n\n{_head('population', SIZES)}")
    _rows(POPULATIONS, SIZES, lambda case, n: _share(mean(case, n, trials), case[1]))
    print(f"\n### Censored medians\n\n{_head('share censored', SIZES)}")
    _rows({f"{share:.0%}": share for share in (0.1, 0.3, 0.5)}, SIZES, lambda share, n: censored(share, n, few))
    print(f"\n### Medians of ratios\n\n{_head('share left out', SIZES)}")
    _rows({f"{share:.0%}": share for share in (0.0, 0.2, 0.4)}, SIZES, lambda share, n: ratios(share, n, few))
    print(f"\n### Hinges\n\n{_head('pairs censored, excluded', CURVE_SIZES)}")
    cases = {f"{cut:.0%}, {out:.0%}": (cut, out) for cut, out in ((0.0, 0.0), (0.0, 0.2), (0.2, 0.0), (0.4, 0.1))}
    _rows(cases, CURVE_SIZES, lambda case, n: hinges(*case, n, few))
    print("\n### One curve's own hinge\n\n| noise of the gap | 8 points | 12 | 24 | 48 |\n|---|---|---|---|---|")
    _rows({f"{noise:g}": noise for noise in (0.005, 0.02, 0.05)}, CURVE_SIZES, lambda s, n: own_hinge(s, n, few))
    print("\n### Counts of active units\n\n| units | 24 images | 50 | 200 | 1000 |\n|---|---|---|---|---|")
    units = {f"{many}, {how}": (many, how == "spread") for how in ("spread", "at the threshold") for many in (8, 32)}
    _rows(units, (24, 50, 200, 1000), lambda case, n: counts(*case, n, fewest))
    print(f"\n### Differences of two models, pair by pair\n\n{_head('score', CURVE_SIZES)}")
    _rows({"median": "median", "mean": "mean"}, CURVE_SIZES, lambda which, n: differences(which, n, fewest))
    print(f"\n### One-sided bounds: false verdicts below, above\n\n{_head('population', (12, 24, 48, 96))}")
    for of, truth in ((bounds_of_median, 2), (bounds_of_mean, 1)):
        print(f"| *{of.__name__.rpartition('_')[2]}* | | | | |")
        _rows(
            POPULATIONS, (12, 24, 48, 96), lambda case, n, of=of, t=truth: false_verdicts(of, case, case[t], n, trials)
        )


def _head(name: str, sizes: tuple[int, ...]) -> str:
    return f"| {name} | n = {' | '.join(map(str, sizes))} |\n|---{'|---' * len(sizes)}|"


def _rows(cases: dict[str, Any], sizes: tuple[int, ...], figure: Callable[[Any, int], float | str]) -> None:
    for name, case in cases.items():
        found = (figure(case, n) for n in sizes)
        print(f"| {name} | {' | '.join(f if isinstance(f, str) else f'{100 * f:.1f}' for f in found)} |", flush=True)


def _share(interval: tuple[Floats, Floats], truth: float) -> float:
    # a truth computed to rounding may stand a bit beside the tied value that it is
    slack = 1e-12 * max(1.0, abs(truth))
    return float(((interval[0] <= truth + slack) & (truth - slack <= interval[1])).mean())


def _held(found: Iterable[Estimate], truth: float) -> float:
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def median(case: tuple[Draw, float, float], n: int, trials: int) -> tuple[Floats, Floats]:
    return interval_of_median(case[0](np.random.default_rng(n), (trials, n)), LEVEL)


def mean(case: tuple[Draw, float, float], n: int, trials: int) -> tuple[Floats, Floats]:
    low, high = bounds_of_mean(case[0](np.random.default_rng(n), (trials, n)), 0.5 + LEVEL / 2)
    return low, high


def censored(share: float, n: int, trials: int) -> float:
    """The median hinge of lognormal ones, of which a share is only known to lie above something."""
    rng = np.random.default_rng(n)
    values = rng.lognormal(0, 0.5, (trials, n))
    hidden = rng.random((trials, n)) < share
    seen = np.where(hidden, values * rng.uniform(0.5, 1, (trials, n)), values)
    return _held((hinge_estimate(a, b) for a, b in zip(seen, hidden, strict=True)), 1.0)


def ratios(share: float, n: int, trials: int) -> float:
    """Realised over predicted, where a share of the images has no prediction to divide by."""
    rng = np.random.default_rng(n)
    predicted, realised = rng.lognormal(0, 1, (2, trials, n))
    missing = rng.random((trials, n)) < share
    return _held((estimate(row) for row in np.where(missing, np.nan, realised / predicted)), 1.0)


def _curves(
    hinge: Floats, noise: float, points: int, reach: float | Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Sticks with noise, as the series of C spaces them, `(curves, points)` each."""
    place = np.sort(1 / (1 + np.logspace(3, -3, points, base=4)))
    x = np.broadcast_to(reach, hinge.shape)[:, None] * place
    y = np.maximum(0, 1 - x / hinge[:, None])
    return x, y + noise * rng.standard_normal(x.shape)


def hinges(cut: float, out: float, n: int, trials: int) -> float:
    """A model's hinge over pairs drawn from many fitted ones; some curves end before they saturate, some are excluded."""
    hinge, censored = _fitted(cut, out)
    rng = np.random.default_rng(n)
    rows = (rng.choice(len(hinge), n, replace=False) for _ in range(trials))
    return _held((hinge_estimate(hinge[drawn], censored[drawn]) for drawn in rows), 0.5)


@functools.cache
def _fitted(cut: float, out: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Fits of noisy curves whose true hinges are the quantiles of a lognormal of median 0.5."""
    rng = np.random.default_rng(0)
    hinge = 0.5 * np.exp(0.25 * scipy.stats.norm.ppf((np.arange(POOL) + 0.5) / POOL))
    x, y = _curves(hinge, 0.02, 24, 1.5, rng)
    ends = rng.random(POOL) < cut
    x[ends], y[ends] = _curves(hinge[ends], 0.02, 24, 0.7 * hinge[ends], rng)
    y[rng.random(POOL) < out] = np.nan
    found = fit_hinge(x, y)
    return found.hinge, found.censored


def own_hinge(noise: float, points: int, trials: int) -> float:
    rng = np.random.default_rng(points)
    hinge = rng.uniform(0.3, 0.8, trials)
    found = fit_hinge(*_curves(hinge, noise, points, 1.2, rng))
    return float(((found.low <= hinge) & (hinge <= found.high)).mean())


def counts(units: int, spread: bool, images: int, trials: int) -> float:
    """Variances of normal posterior means: spread over six decades, or all a hair above the threshold."""
    rng = np.random.default_rng(images)
    held = []
    for _ in range(trials):
        variance = 10 ** rng.uniform(-6, 0, units) if spread else np.full(units, 0.01 * (1 + 1e-9))
        centred = np.sqrt(variance) * rng.standard_normal((images, units))
        centred -= centred.mean(0)
        seen = (centred**2).sum(0) / (images - 1)
        error = np.sqrt(np.maximum((centred**4).mean(0) - seen**2, 0) / images)
        found = count_above(seen, error, 0.01, n=images)
        held.append(found.low <= (variance > 0.01).sum() <= found.high)
    return float(np.mean(held))


def differences(statistic: str, n: int, trials: int) -> float:
    """Two models on the same pairs, whose figures go together."""
    rng = np.random.default_rng(n)
    held = []
    for _ in range(trials):
        pair = rng.standard_normal(n)
        before, after = (np.exp(0.3 * (pair + 0.5 * rng.standard_normal(n)) + shift) for shift in (0.0, 0.1))
        scale = math.exp(0.3**2 * 1.25 / 2) if statistic == "mean" else 1.0
        _, low, high = paired_change(before, after, statistic)
        held.append(low <= scale * (math.exp(0.1) - 1) <= high)
    return float(np.mean(held))


def false_verdicts(of: Callable[..., Any], case: tuple[Draw, float, float], truth: float, n: int, trials: int) -> str:
    """How often a bound at 95 % lies beyond the truth: the false PASS of an `at_least` bar on it, and its false FAIL."""
    low, high = of(case[0](np.random.default_rng(n), (trials, n)), LEVEL)
    slack = 1e-12 * max(1.0, abs(truth))
    return f"{100 * (low > truth + slack).mean():.1f}, {100 * (high < truth - slack).mean():.1f}"


if __name__ == "__main__":
    main()
