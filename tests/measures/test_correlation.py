"""Rank correlations over few models, and how often their intervals hold the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from vaeaudit import Correlation, DataError, OptionError, correlation, rank_correlation


def test_a_rank_correlation_is_scipys_and_lies_within_its_interval() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=12), rng.integers(4, size=12)
    found = rank_correlation(x, y + x)
    assert found.value == pytest.approx(scipy.stats.spearmanr(x, y + x).statistic)
    assert -1 < found.low < found.value < found.high < 1
    assert found.n == 12


def test_a_perfect_order_of_few_models_is_not_taken_for_certainty() -> None:
    found = rank_correlation([1.0, 2, 3, 4, 5, 6], [6.0, 5, 4, 3, 2, 1])
    assert found.value == pytest.approx(-1)
    assert found.low == -1
    assert -0.9 < found.high < -0.3
    assert rank_correlation(np.arange(20.0), -np.arange(20.0)).high < found.high


def test_models_without_a_figure_are_left_out_and_counted() -> None:
    found = rank_correlation([1.0, 2, 3, 4, 5], [2.0, math.nan, 3, 4, 5])
    assert (found.value, found.n) == (pytest.approx(1), 4)
    few = rank_correlation([1.0, 2], [1.0, 2])
    assert (few.low, few.high, few.n) == (-1, 1, 2)
    assert math.isnan(rank_correlation([1.0, 2, 3, 4], [7.0, 7, 7, 7]).value)


def test_an_infinite_figure_has_a_rank() -> None:
    found = rank_correlation([1.0, 2, 3, 4, 5], [-math.inf, 2, 3, 4, math.inf])
    assert (found.value, found.n) == (pytest.approx(1), 5)


@pytest.mark.parametrize("pearson", [0.0, 0.97])
def test_the_intervals_hold_what_they_promise_for_ten_models(pearson: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many sets of ten normal pairs, of known rank correlation, at least about 95 % hold it."""
    truth = 6 / math.pi * math.asin(pearson / 2)
    rng = np.random.default_rng(2)
    monkeypatch.setattr(correlation, "_RESAMPLES", 500)
    held = 0
    for _ in range(200):
        x, noise = rng.normal(size=(2, 10))
        found = rank_correlation(x, pearson * x + math.sqrt(1 - pearson**2) * noise)
        held += found.low <= truth <= found.high
    assert held / 200 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)


def test_figures_of_other_models_are_refused() -> None:
    with pytest.raises(DataError, match=r"one shape \(models,\), got \(3,\) and \(2,\)"):
        rank_correlation([1.0, 2, 3], [1.0, 2])


@pytest.mark.parametrize(
    "figures", [["a", "b", "c"], [1j, 2, 3], np.array(["2026", "2027", "2028"], "M8[D]"), [[1], [2, 3]]]
)
def test_what_is_no_number_is_refused_by_the_name_of_its_argument(figures: Any) -> None:
    with pytest.raises(DataError, match="second expects an array of real numbers, got "):
        rank_correlation([1.0, 2, 3], figures)


@pytest.mark.parametrize("models", range(4, 40))
def test_rounding_puts_no_perfect_order_beyond_one(models: int) -> None:
    found = rank_correlation(np.arange(models), np.arange(models) ** 2)
    assert found.low < found.value <= found.high == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": 0.9}, r"lies in its interval, and that from -1 to 1, got 0\.9 \[0\.1, 0\.8\]"),
        ({"high": 1.5}, "from -1 to 1"),
        ({"low": math.nan}, "from -1 to 1"),
        ({"n": -1}, "n = -1"),
    ],
)
def test_a_correlation_that_cannot_be_is_refused_where_it_is_made(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Correlation(**{"value": 0.5, "low": 0.1, "high": 0.8, "n": 10, **changed})
