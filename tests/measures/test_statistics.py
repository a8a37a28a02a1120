"""Estimates: what they do with few, equal, censored and missing values; `test_intervals.py` counts their coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from vaeaudit import Estimate, OptionError
from vaeaudit.intervals import bounds_of_mean, bounds_of_median
from vaeaudit.statistics import SMALLEST_SAMPLE, count_above, estimate

INF = math.inf


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_the_value_is_the_plain_statistic_inside_its_interval(statistic: str) -> None:
    sample = np.random.default_rng(0).standard_normal(30)
    found = estimate(sample, statistic=statistic, unit="nats", higher_is_better=False)
    assert found.value == pytest.approx(getattr(np, statistic)(sample), rel=1e-14)
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


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_the_order_of_values_changes_no_bit(statistic: Any) -> None:
    rng = np.random.default_rng(2)
    sample = rng.lognormal(size=40) * 10.0 ** rng.integers(-3, 4, 40)
    upper = np.where(sample > 2, INF, sample) if statistic == "median" else None
    orders = [rng.permutation(40) for _ in range(20)]
    found = [
        estimate(sample[order], statistic=statistic, upper=None if upper is None else upper[order]) for order in orders
    ]
    assert all(one == found[0] for one in found)


def test_an_estimate_lies_between_the_bounds_that_verdicts_use_at_97_5_percent() -> None:
    sample = np.random.default_rng(2).gamma(2.0, size=40)
    mean, median = estimate(sample, statistic="mean"), estimate(sample)
    assert _ends(mean) == pytest.approx([float(end) for end in bounds_of_mean(sample, 0.975)], rel=1e-12)
    outer = bounds_of_median(sample, 0.975)
    assert outer[0] < median.low < median.high < outer[1], "interpolated inwards"


@pytest.mark.parametrize("statistic", ["median", "mean"])
@pytest.mark.parametrize("value", [0.1, 0.3, 1e-5, 7.7])
def test_an_interval_holds_its_value_where_all_values_are_equal(statistic: Any, value: float) -> None:
    for n in range(SMALLEST_SAMPLE, 30):
        found = estimate(np.full(n, value), statistic=statistic)
        assert found.low <= found.value <= found.high


def test_nothing_is_drawn_from_the_global_random_state() -> None:
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
    plain = estimate(bound)
    for upper, expected in ((few, "finite"), (many, "open")):
        found = estimate(bound, upper=upper)
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
    above = float(np.nextafter(0.1, 1))
    assert Estimate(value=above, low=0.1, high=0.1, n=12).value > 0.1


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
