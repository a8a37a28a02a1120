"""Numbers and intervals read well at every size."""

from __future__ import annotations

import math

import pytest

from vaeaudit.report import words
from vaeaudit.report.meanings import MEANINGS
from vaeaudit.statistics import Estimate

from .conftest import MakeReport


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.30000001, "0.300"),
        (12, "12.0"),
        (123.4, "123"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
        (6e8, "6.00e8"),
        (0.00099999, "0.00100"),
        (1.234e-7, "1.23e-7"),
        (-3.925, "-3.92"),
        (math.nan, "–"),
        (math.inf, "infinite"),
        (-math.inf, "-infinite"),
    ],
)
def test_a_number_has_three_significant_digits(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("low", "high", "n", "text"),
    [
        (1.0, 2.0, 50, "1.00 to 2.00"),
        (1.0, math.inf, 50, "1.00 or more"),
        (-math.inf, 2.0, 50, "2.00 or less"),
        (-math.inf, math.inf, 5, "too few pairs for an interval"),
        (-math.inf, math.inf, 6, "no interval"),
    ],
)
def test_an_interval_is_said_in_words(low: float, high: float, n: int, text: str) -> None:
    assert words.interval(Estimate(value=1.5, low=low, high=high, n=n), "pairs") == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0004, "p < 0.001"), (0.0123, "p = 0.012"), (0.34, "p = 0.34"), (0.0499999, "p = 0.050"), (0.05, "p = 0.050"),
        (0.0501, "p = 0.0501"), (0.050004, "p = 0.050004"), (math.nextafter(1 - 0.95, 1), "p = 0.0500000000000001"),
    ],
)  # fmt: skip
def test_rounding_takes_no_p_value_across_the_level_of_what_is_significant(p: float, text: str) -> None:
    assert words.p_value(p) == text


def test_a_count_has_no_decimals() -> None:
    estimate = Estimate(value=10, low=9, high=12, n=64, statistic="count")
    assert (words.figure(estimate), words.interval(estimate)) == ("10", "9 to 12")


def test_a_full_name_is_read_out() -> None:
    assert words.label("hinge") == "Hinge"
    assert words.label("round_trip.condition_number") == "Round trip condition number"


def test_every_score_of_a_report_has_a_meaning(make_report: MakeReport) -> None:
    assert {name.rpartition(".")[2] for name in make_report().scores()} == set(MEANINGS)


def test_one_of_anything_is_singular(make_report: MakeReport) -> None:
    assert words.sample("hinge", Estimate(value=1, low=1, high=1, n=1)) == "1 pair"
    assert words.sample("encoder.trace", Estimate(value=1, low=1, high=1, n=1)) == "1 image"
    (note,) = words.curve_notes(make_report(pairs=1, censored=1).curves)
    assert note.startswith("1 of 1 curve does not saturate: its hinge is")
