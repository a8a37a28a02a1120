"""Two-sided intervals: how often they hold the truth, by simulation at fixed seeds, and where they are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vaeaudit.intervals import SMALLEST_SAMPLE, bounds_of_count, bounds_of_mean, interval_of_median
from vaeaudit.statistics import count_above, estimate
from vaeaudit.tradeoff import hinge_estimate

INF = math.inf
Floats = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]
TRIALS = 10_000
LEAST, MOST = 0.93, 0.97
SIZES = [SMALLEST_SAMPLE, 7, 8, 12, 24, 50]


def _mostly_zero(rng: np.random.Generator, size: tuple[int, int], share: float) -> Floats:
    return np.where(rng.random(size) < share, 0.0, rng.exponential(size=size))


# how to draw, the mean, the median
SMOOTH: dict[str, tuple[Draw, float, float]] = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0, 0.0),
    "share": (lambda rng, size: rng.beta(2.0, 5.0, size), 2 / 7, float(stats.beta(2, 5).median())),
    "lognormal": (lambda rng, size: rng.lognormal(0.0, 0.5, size), math.exp(0.125), 1.0),
    "skewed to the left": (lambda rng, size: -rng.gamma(4.0, size=size), -4.0, -float(stats.gamma(4).median())),
    "heavy tails": (lambda rng, size: rng.standard_t(3, size), 0.0, 0.0),
}
TIED: dict[str, tuple[Draw, float, float]] = {
    "poisson": (lambda rng, size: rng.poisson(4.0, size).astype(float), 4.0, 4.0),
    "three values": (lambda rng, size: rng.integers(0, 3, size).astype(float), 1.0, 1.0),
    "mostly zero": (lambda rng, size: _mostly_zero(rng, size, 0.6), 0.4, 0.0),
}
SKEWED: dict[str, tuple[Draw, float, float]] = {
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0, math.log(2)),
    "zeros": (lambda rng, size: _mostly_zero(rng, size, 0.3), 0.7, -math.log(1 - 0.2 / 0.7)),
}


def _covered(interval: tuple[Floats, Floats], truth: float) -> float:
    return float(((interval[0] <= truth) & (truth <= interval[1])).mean())


def _slack(rate: float, trials: int = TRIALS) -> float:
    """What chance may add: three standard errors."""
    return 3 * math.sqrt(rate * (1 - rate) / trials)


def _drawn(case: tuple[Draw, float, float], n: int) -> Floats:
    return case[0](np.random.default_rng(n), (TRIALS, n))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", [*SMOOTH, *SKEWED])
def test_an_interval_of_a_median_holds_it_95_times_in_100(name: str, n: int) -> None:
    case = {**SMOOTH, **SKEWED}[name]
    covered = _covered(interval_of_median(_drawn(case, n), 0.95), case[2])
    assert LEAST - _slack(LEAST) < covered < MOST + _slack(MOST)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", TIED)
def test_with_ties_an_interval_of_a_median_holds_it_at_least_as_often(name: str, n: int) -> None:
    assert _covered(interval_of_median(_drawn(TIED[name], n), 0.95), TIED[name][2]) > 0.95 - _slack(0.95)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", [*SMOOTH, "poisson"])
def test_the_bounds_of_a_mean_hold_it_95_times_in_100(name: str, n: int) -> None:
    case = {**SMOOTH, **TIED}[name]
    covered = _covered(bounds_of_mean(_drawn(case, n), 0.975), case[1])
    assert LEAST - _slack(LEAST) < covered < MOST + _slack(MOST)


@pytest.mark.parametrize("n", [8, 12, 24, 50])
@pytest.mark.parametrize("name", SKEWED)
def test_strong_skew_leaves_the_bounds_of_a_mean_within_their_band_from_eight_values_on(name: str, n: int) -> None:
    covered = _covered(bounds_of_mean(_drawn(SKEWED[name], n), 0.975), SKEWED[name][1])
    assert LEAST - _slack(LEAST) < covered < MOST + _slack(MOST)


@pytest.mark.parametrize("n", [7, 10, 24, 49])
def test_the_place_between_order_statistics_is_right_for_a_laplace_distribution(n: int) -> None:
    covered = _covered(interval_of_median(np.random.default_rng(n).laplace(size=(40_000, n)), 0.95), 0.0)
    assert covered == pytest.approx(0.95, abs=_slack(0.95, 40_000))


@pytest.mark.parametrize(("n", "known"), [(7, 0.875), (11, 0.9346), (18, 0.9037), (24, 0.9361), (50, 0.9351)])
def test_between_two_modes_the_level_is_that_of_the_nearer_order_statistics(n: int, known: float) -> None:
    """The worst case the docstring owns up to: the median in a wide gap, the end of the interval past its middle."""
    draws = np.where(np.random.default_rng(n).random((TRIALS, n)) < 0.5, -1.0, 1.0)
    assert _covered(interval_of_median(draws, 0.95), 0.0) == pytest.approx(known, abs=_slack(known))


def test_order_statistics_that_hold_the_level_exactly_are_taken_as_they_are() -> None:
    values = np.random.default_rng(7).permutation(np.arange(1.0, 11.0))
    # of 10: 1 - 2 P(B <= 1) = 1 - 22 / 1024; a hair more or less moves the ends by as little
    for confidence in (1 - 22 / 1024, 1 - 22.0001 / 1024, 1 - 21.9999 / 1024):
        low, high = interval_of_median(values, confidence)
        assert (float(low), float(high)) == pytest.approx((2.0, 9.0), abs=1e-4)
    low, high = interval_of_median(values, 0.95)
    assert 2.0 < low < 3.0
    assert 8.0 < high < 9.0


def test_an_infinite_order_statistic_is_not_interpolated() -> None:
    values = np.append(np.arange(22.0), [INF, INF])
    assert np.isfinite(interval_of_median(values, 0.95)).all()
    values[16:] = INF
    low, high = interval_of_median(values, 0.95)
    assert np.isfinite(low)
    assert high == INF
    assert interval_of_median(-values, 0.95) == (-INF, -low)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_values_carry_no_interval(n: int) -> None:
    assert interval_of_median(np.arange(float(n)), 0.95) == (-INF, INF)


@pytest.mark.parametrize("n", [12, 24])
def test_ratios_without_those_that_cannot_be_formed_keep_the_level(n: int) -> None:
    rng, trials = np.random.default_rng(n), 1500
    predicted, realised = rng.lognormal(0.0, 1.0, (2, trials, n))
    rows = np.where(rng.random((trials, n)) < 0.25, np.nan, realised / predicted)
    found = [estimate(row) for row in rows]
    covered = np.mean([one.low <= 1 <= one.high for one in found])
    assert LEAST - _slack(LEAST, trials) < covered < MOST + _slack(MOST, trials)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_censored_hinges_hold_the_median_at_least_95_times_in_100(share: float) -> None:
    rng, trials, n = np.random.default_rng(2), 1500, 24
    hinges = rng.lognormal(0.0, 0.5, (trials, n))
    censored = rng.random((trials, n)) < share
    seen = np.where(censored, hinges * rng.uniform(0.5, 1.0, (trials, n)), hinges)
    seen[:, :3] = np.nan  # excluded pairs
    found = [hinge_estimate(a, b) for a, b in zip(seen, censored, strict=True)]
    lows, highs = np.array([(one.low, one.high) for one in found]).T
    # each side by itself: a hinge that is only known from below moves the lower end down and the upper one up
    assert (lows > 1).mean() <= 0.025 + _slack(0.025, trials)
    assert (highs < 1).mean() <= 0.025 + _slack(0.025, trials)


@pytest.mark.parametrize("images", [200, 1000])
def test_a_count_of_units_at_the_threshold_is_rarely_wrong(images: int) -> None:
    """The hardest case: every unit varies as much as an active one must, to a hair."""
    rng, trials, units = np.random.default_rng(images), 300, 8
    missed = {"active": 0, "off": 0}
    for _ in range(trials):
        means = 0.1 * rng.standard_normal((images, units))
        centred = means - means.mean(0)
        seen = (centred**2).sum(0) / (images - 1)
        error = np.sqrt(((centred**4).mean(0) - seen**2) / images)
        missed["active"] += count_above(seen, error, 0.01 * (1 - 1e-9), n=images).high < units
        missed["off"] += count_above(seen, error, 0.01 * (1 + 1e-9), n=images).low > 0
    assert max(missed.values()) <= trials * (0.05 + _slack(0.05, trials))


def test_a_unit_that_never_moves_is_surely_off() -> None:
    assert bounds_of_count(np.array([0.0, 1.0]), np.array([0.0, 1e-3]), 0.01, 0.975) == (1.0, 1.0)
