"""Figures of two models pair by pair, and curves at equal distortion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from vaeaudit import DataError, fit_hinge, gap_at, paired_difference

LOW = np.array([0.42, 0.45, 0.47, 0.5, 0.52, 0.55, 0.58, 0.6])
HIGH = LOW + 0.1 + 0.01 * np.arange(8)


def test_a_difference_agrees_with_its_known_test() -> None:
    """Eight differences of one sign: Wilcoxon's exact p is 2 / 2^8."""
    found = paired_difference(HIGH, LOW)
    assert found.p == pytest.approx(2 / 2**8)
    assert found.mean.value == pytest.approx(0.135)
    assert 0.1 < found.mean.low < 0.135 < found.mean.high < 0.17
    assert (found.sign, paired_difference(LOW, HIGH).sign) == (1, -1)


def test_equal_models_and_mixed_differences_have_no_sign() -> None:
    assert paired_difference(LOW, LOW).p == 1
    assert paired_difference(LOW, LOW).sign == 0
    assert paired_difference(LOW, LOW[::-1]).sign == 0


def test_pairs_that_lack_a_figure_are_left_out() -> None:
    apart = paired_difference([math.nan, *HIGH[1:7], math.inf], LOW)
    assert apart.mean.n == 6
    assert apart.mean.value == pytest.approx(float((HIGH - LOW)[1:7].mean()))


def test_too_few_pairs_settle_nothing() -> None:
    assert (paired_difference(HIGH[:3], LOW[:3]).p, paired_difference(HIGH[:3], LOW[:3]).sign) == (1, 0)
    none = paired_difference(np.full(8, np.nan), LOW)
    assert math.isnan(none.p)
    assert (none.mean.n, none.sign) == (0, 0)


def test_a_broken_stick_is_read_off_exactly_whatever_the_order_of_its_points() -> None:
    x = np.linspace(0, 1.2, 25)
    hinges = np.array([0.4, 0.8])
    y = np.maximum(0, 1 - x / hinges[:, None])
    shuffled = np.random.default_rng(0).permutation(25)
    curves = np.tile(x, (2, 1))[:, shuffled], y[:, shuffled]
    assert gap_at(*curves, hinges / 2) == pytest.approx([0.5, 0.5], abs=1e-12)
    assert gap_at(*curves, 0.2) == pytest.approx([0.5, 0.75], abs=1e-12)
    assert gap_at(*curves, 9.0) == pytest.approx([0, 0]), "beyond its end a curve goes on as it is there"


def test_a_curve_or_a_place_that_is_missing_has_no_gap() -> None:
    x, y = np.tile(np.linspace(0, 1, 5), (3, 1)), np.ones((3, 5))
    y[1, 2] = np.nan
    assert np.isnan(gap_at(x, y, [0.5, 0.5, math.nan])).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (paired_difference, (LOW, LOW[:3]), r"one shape \(pairs,\), got \(8,\) and \(3,\)"),
        (gap_at, (np.zeros((2, 5)), np.zeros((2, 4)), 0.5), "distortion and gap expect one shape"),
        (gap_at, (np.zeros((2, 5)), np.zeros((2, 5)), [0.5] * 3), r"and at one \(pairs,\) or a single number"),
    ],
)
def test_shapes_that_do_not_match_are_said(call: Any, arguments: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call(*arguments)


@pytest.mark.parametrize(
    ("call", "arguments", "name"),
    [
        (paired_difference, (["a"] * 8, LOW), "first"),
        (paired_difference, (LOW, LOW + 1j), "second"),
        (paired_difference, (LOW, [[1.0], [2.0, 3.0]]), "second"),
        (gap_at, (np.full((2, 5), "x"), np.zeros((2, 5)), 0.5), "distortion"),
        (gap_at, (np.zeros((2, 5)), np.zeros((2, 5)), "half"), "at"),
        (fit_hinge, (["a"] * 5, np.zeros(5)), "distortion"),
    ],
)
def test_what_is_no_number_is_refused_by_the_name_of_its_argument(call: Any, arguments: Any, name: str) -> None:
    with pytest.raises(DataError, match=f"^{name} expects an array of real numbers, got "):
        call(*arguments)


def test_none_stands_for_a_missing_figure() -> None:
    assert paired_difference([None, *HIGH[1:]], LOW).mean.n == 7
