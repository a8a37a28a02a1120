"""Estimates: coverage by simulation at a fixed n, and what they do with few, censored and missing values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vaeaudit import Estimate, OptionError
from vaeaudit.statistics import SMALLEST_SAMPLE, count_above, estimate

INF = math.inf


@pytest.mark.parametrize("n", [24, 50])
@pytest.mark.parametrize(("statistic", "skewed"), [("median", False), ("median", True), ("mean", False)])
def test_intervals_cover_the_truth_in_about_95_percent_of_samples(n: int, statistic: str, skewed: bool) -> None:
    rng = np.random.default_rng(n)
    trials = 300
    truth = math.log(2) if skewed else 0.0
    covered = 0
    for trial in range(trials):
        sample = rng.exponential(size=n) if skewed else rng.standard_normal(n)
        found = estimate(sample, statistic=statistic, seed=trial)
        covered += found.low <= truth <= found.high
    # between 93 and 97 %, give or take three standard errors of the simulation
    assert 0.93 * trials - 3 * math.sqrt(trials * 0.93 * 0.07) < covered
    assert covered < 0.97 * trials + 3 * math.sqrt(trials * 0.97 * 0.03)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_the_value_is_the_plain_statistic_inside_its_interval(statistic: str) -> None:
    sample = np.random.default_rng(0).standard_normal(30)
    found = estimate(sample, statistic=statistic, unit="nats", higher_is_better=False)
    assert found.value == getattr(np, statistic)(sample)
    assert found.low < found.value < found.high
    assert (found.n, found.unit, found.higher_is_better, found.statistic) == (30, "nats", False, statistic)
    assert found.trusted


def test_intervals_shrink_with_the_root_of_n() -> None:
    rng = np.random.default_rng(1)
    small = np.median([np.ptp(_ends(estimate(rng.standard_normal(20), statistic="mean"))) for _ in range(15)])
    large = np.median([np.ptp(_ends(estimate(rng.standard_normal(320), statistic="mean"))) for _ in range(15)])
    assert small / large == pytest.approx(4, rel=0.2)


def _ends(found: Estimate) -> tuple[float, float]:
    return found.low, found.high


def test_a_seed_repeats_an_interval_and_another_one_hardly_moves_it() -> None:
    sample = np.random.default_rng(2).standard_normal(40)
    first, again, other = (estimate(sample, statistic="mean", seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert _ends(other) == pytest.approx(_ends(first), abs=0.05)


def test_a_seed_leaves_the_global_random_state_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    estimate(np.arange(20.0))
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_fewer_values_than_an_interval_needs_give_an_infinite_one(statistic: str) -> None:
    assert 1 - 2 * 0.5**SMALLEST_SAMPLE > 0.95 > 1 - 2 * 0.5 ** (SMALLEST_SAMPLE - 1)
    few = estimate(np.arange(SMALLEST_SAMPLE - 1.0), statistic=statistic)
    assert few.value == 2.0
    assert _ends(few) == (-INF, INF)
    enough = estimate(np.arange(float(SMALLEST_SAMPLE)), statistic=statistic)
    assert np.isfinite(_ends(enough)).all()


def test_missing_values_are_left_out_and_not_counted() -> None:
    sample = np.random.default_rng(3).standard_normal(20)
    holed = np.insert(sample, [0, 7, 20], math.nan)
    assert estimate(holed) == estimate(sample)
    nothing = estimate(np.full(9, math.nan))
    assert math.isnan(nothing.value)
    assert nothing.n == 0
    assert _ends(nothing) == (-INF, INF)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_equal_values_have_an_interval_of_no_width(statistic: str) -> None:
    assert _ends(estimate(np.full(12, 0.3), statistic=statistic)) == (0.3, 0.3)


def test_censored_values_open_the_upper_end_only_when_the_median_may_lie_among_them() -> None:
    rng = np.random.default_rng(4)
    bound = rng.uniform(0.4, 0.6, 40)
    few, many = bound.copy(), bound.copy()
    few[:4], many[:26] = INF, INF
    plain = estimate(bound, seed=1)
    for upper, expected in ((few, "finite"), (many, "open")):
        found = estimate(bound, upper=upper, seed=1)
        assert found.value == plain.value
        assert found.low == plain.low
        assert found.high > plain.high
        assert math.isfinite(found.high) == (expected == "finite")


def test_the_upper_bounds_of_missing_values_are_left_out_too() -> None:
    sample = np.random.default_rng(5).standard_normal(20)
    upper = sample.copy()
    upper[3] = INF
    kept = np.arange(20) != 3
    sample[3] = math.nan
    assert estimate(sample, upper=upper) == estimate(sample[kept], upper=upper[kept])


def test_an_infinite_value_leaves_a_mean_without_interval_and_a_median_with_one() -> None:
    sample = np.append(np.random.default_rng(6).standard_normal(30), INF)
    assert _ends(estimate(sample, statistic="mean")) == (-INF, INF)
    assert np.isfinite(_ends(estimate(sample))).all()


def test_an_interval_must_run_upwards() -> None:
    with pytest.raises(OptionError, match=r"an interval runs from low to high, got \[1.0, 0.5\]"):
        Estimate(value=0.7, low=1.0, high=0.5, n=3)


@pytest.mark.parametrize(
    ("value", "low", "high", "n", "message"),
    [
        (0.5, 0.4, 0.6, -1, "got n = -1"),
        (0.5, math.nan, 0.6, 3, r"an interval runs from low to high, got \[nan, 0.6\]"),
        (0.5, 0.4, math.nan, 3, r"an interval runs from low to high, got \[0.4, nan\]"),
        (0.3, 0.4, 0.6, 3, r"an interval holds its figure, got 0.3 outside \[0.4, 0.6\]"),
        (0.7, 0.4, 0.6, 3, r"an interval holds its figure, got 0.7 outside \[0.4, 0.6\]"),
        (INF, 0.4, 0.6, 3, r"an interval holds its figure, got inf outside \[0.4, 0.6\]"),
    ],
)
def test_an_estimate_that_contradicts_itself_is_refused(
    value: float, low: float, high: float, n: int, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        Estimate(value=value, low=low, high=high, n=n)


def test_rounding_is_no_contradiction() -> None:
    found = estimate(np.full(12, 0.1), statistic="mean")
    assert found.value > found.high


def test_distrust_changes_nothing_but_the_mark() -> None:
    found = estimate(np.arange(10.0))
    assert found.distrusted() == Estimate(
        value=found.value, low=found.low, high=found.high, n=10, trusted=False
    )  # fmt: skip


def test_a_count_is_bracketed_by_what_is_sure_and_what_is_possible() -> None:
    variances = np.array([1.0, 0.011, 0.009, 1e-6])
    errors = np.array([0.1, 0.001, 0.001, 1e-7])
    found = count_above(variances, errors, 0.01, n=200)
    assert (found.value, found.low, found.high) == (2, 1, 3)
    assert (found.n, found.unit, found.statistic) == (200, "units", "count")
