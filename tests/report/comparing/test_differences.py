"""Intervals and p-values of differences hold what they promise, and many of them are corrected for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy

from vaeaudit.report.comparing.differences import corrected, difference_of, p_value, paired_change
from vaeaudit.statistics import Estimate, estimate


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=50)


def test_the_interval_of_a_difference_joins_the_distances_that_work_in_its_direction() -> None:
    # below: 5 down from the new one with 12 up from the old one; above: 3 up with 4 down
    old, new = _estimate(10.0, 6.0, 22.0), _estimate(30.0, 25.0, 33.0)
    assert difference_of(old, new) == (20.0, 20.0 - 13.0, 20.0 + 5.0)


def test_an_open_end_leaves_the_difference_open_on_its_side() -> None:
    difference, low, high = difference_of(_estimate(1.0, 0.5, math.inf), _estimate(2.0, 1.5, 2.5))
    assert (difference, low) == (1.0, -math.inf)
    assert math.isfinite(high)


def test_intervals_of_differences_of_means_hold_the_truth_as_often_as_they_say() -> None:
    rng, held, trials = np.random.default_rng(0), 0, 1500
    for _ in range(trials):
        old = estimate(rng.normal(1.0, 1.0, 24), statistic="mean")
        new = estimate(rng.normal(1.5, 2.0, 24), statistic="mean")
        _, low, high = difference_of(old, new)
        held += low <= 0.5 <= high
    z = (held / trials - 0.95) / math.sqrt(0.95 * 0.05 / trials)
    assert z > -3
    assert held / trials < 0.985


def test_a_change_of_medians_has_the_percentiles_of_all_that_resampled_pairs_can_give() -> None:
    """Six pairs have 6^6 resamples, few enough to go through."""
    rng = np.random.default_rng(4)
    before = rng.normal(size=6)
    after = before + rng.normal(0.2, 0.3, 6)
    rows = np.stack(np.meshgrid(*[range(6)] * 6), axis=-1).reshape(-1, 6)
    exact = np.median(after[rows], axis=1) - np.median(before[rows], axis=1)
    change, *ends = paired_change(before, after, "median")
    assert change == pytest.approx(np.median(after) - np.median(before))
    for end, share in zip(ends, (0.025, 0.975), strict=True):
        assert np.mean(exact < end - 1e-9) - 0.01 <= share <= np.mean(exact <= end + 1e-9) + 0.01


def test_equal_populations_differ_by_chance_no_more_often_than_the_p_value_says() -> None:
    rng, trials = np.random.default_rng(1), 1500
    found = []
    for _ in range(trials):
        old, new = (estimate(rng.exponential(1.0, 24), statistic="median") for _ in range(2))
        found.append(p_value(*difference_of(old, new), 24))
    for level in (0.05, 0.01):
        share = float(np.mean(np.array(found) <= level))
        assert (share - level) / math.sqrt(level * (1 - level) / trials) < 3


def test_the_p_value_of_a_mean_is_students() -> None:
    values = np.random.default_rng(2).normal(0.3, 1.0, 30)
    half = scipy.stats.t.ppf(0.975, 29) * values.std(ddof=1) / math.sqrt(30)
    expected = scipy.stats.ttest_1samp(values, 0.0).pvalue
    mean = float(values.mean())
    assert p_value(mean, mean - half, mean + half, 30) == pytest.approx(expected)
    assert p_value(-mean, -mean - half, -mean + half, 30) == pytest.approx(expected)


@pytest.mark.parametrize("difference", [0.2, -0.2])
def test_an_interval_that_touches_zero_has_a_p_value_of_one_in_twenty(difference: float) -> None:
    ends = sorted([0.0, 5 * difference])
    assert p_value(difference, *ends, 20) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("difference", "low", "high", "expected"),
    [(0.0, -1.0, 1.0, 1.0), (0.3, -math.inf, math.inf, 1.0), (0.02, 0.02, 0.02, 0.0), (0.3, -math.inf, 0.4, 1.0)],
)
def test_the_ends_of_what_a_p_value_can_be(difference: float, low: float, high: float, expected: float) -> None:
    assert p_value(difference, low, high, 50) == expected


def test_p_values_are_corrected_step_by_step_in_their_own_order() -> None:
    # 0.01 * 4, 0.02 * 3, 0.03 * 2 made no smaller than the one before, 0.9 * 1
    assert corrected([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert corrected([0.5, 0.6]) == [1.0, 1.0]
    assert corrected([]) == []
