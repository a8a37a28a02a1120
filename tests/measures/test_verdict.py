"""Verdicts: the four outcomes as one table, bars that make no sense, headlines, and what would settle a doubt."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from vaeaudit.errors import OptionError
from vaeaudit.report import codec
from vaeaudit.score_names import DIRECTIONS, RANGES
from vaeaudit.statistics import Estimate
from vaeaudit.verdict import Bar, Verdict, at_least, at_most, check_bar, judge, level, smallest_sample

INF = math.inf


def _judge(
    low: float, value: float, high: float, bar: Bar, *, score: str = "reach", n: int = 25, trusted: bool = True,
    statistic: Any = "mean", **options: Any,
) -> Verdict:  # fmt: skip
    """A verdict on a figure between two bounds; by default of a score that takes either bar."""
    figure = Estimate(value=value, low=-INF, high=INF, n=n, statistic=statistic, trusted=trusted)
    return judge(score, figure, bar, bounds=(low, high), **options)


@pytest.mark.parametrize(
    ("low", "value", "high", "bar", "outcome"),
    [
        (0.4, 0.5, 0.6, at_least(0.3), "PASS"),
        (0.4, 0.5, 0.6, at_least(0.4), "PASS"),
        (0.4, 0.5, 0.6, at_least(0.45), "INCONCLUSIVE"),
        (0.4, 0.5, 0.6, at_least(0.55), "INCONCLUSIVE"),
        (0.4, 0.5, 0.6, at_least(0.6), "INCONCLUSIVE"),
        (0.4, 0.5, 0.6, at_least(0.7), "FAIL"),
        (0.4, 0.5, 0.6, at_most(0.7), "PASS"),
        (0.4, 0.5, 0.6, at_most(0.6), "PASS"),
        (0.4, 0.5, 0.6, at_most(0.55), "INCONCLUSIVE"),
        (0.4, 0.5, 0.6, at_most(0.4), "INCONCLUSIVE"),
        (0.4, 0.5, 0.6, at_most(0.3), "FAIL"),
        (-INF, 0.5, INF, at_least(0.1), "INCONCLUSIVE"),
        (-INF, 0.5, INF, at_most(0.9), "INCONCLUSIVE"),
        (0.4, 0.5, INF, at_least(0.3), "PASS"),  # censored above: still surely above the bar
        (0.4, 0.5, INF, at_least(0.9), "INCONCLUSIVE"),  # ... but never surely below one
        (0.4, 0.5, INF, at_most(0.9), "INCONCLUSIVE"),
        (0.4, 0.5, INF, at_most(0.3), "FAIL"),
        (-INF, math.nan, INF, at_least(0.1), "INVALID"),
        (0.4, math.nan, 0.6, at_least(0.1), "INVALID"),
        (0.4, 0.9, 0.6, at_least(0.1), "INVALID"),  # a figure that is not that of the sample behind it
        (0.4, 0.1, 0.6, at_most(0.7), "INVALID"),
        (0.4, 0.4 - 1e-12, 0.6, at_most(0.7), "PASS"),  # rounding
    ],
)
def test_the_bounds_decide(low: float, value: float, high: float, bar: Bar, outcome: str) -> None:
    verdict = _judge(low, value, high, bar)
    assert verdict.outcome == outcome
    assert bool(verdict) == (outcome == "PASS")
    assert (verdict.reason == "") == (outcome in ("PASS", "FAIL"))
    assert (verdict.low, verdict.high) == (low, high)


@pytest.mark.parametrize("bar", [at_least(0.3), at_least(0.5), at_least(0.9)])
def test_a_distrusted_measurement_is_invalid_wherever_the_bar_lies(bar: Bar) -> None:
    verdict = _judge(0.4, 0.5, 0.6, bar, trusted=False)
    assert verdict.outcome == "INVALID"
    assert verdict.reason == "there is no measurement to hold against the bar"
    told = _judge(0.4, 0.5, 0.6, bar, distrust="gradient_masked: gradients mislead the attack")
    assert told.outcome == "INVALID"
    assert told.reason == "gradient_masked: gradients mislead the attack"
    assert not told


@pytest.mark.parametrize(
    ("score", "bar", "message"),
    [
        ("hinge", at_most(0.3), r"hinge: higher is more robust, so the bar is at_least\(...\), got at_most\(0.3\)"),
        ("trace", at_least(200), r"trace: lower is more robust, so the bar is at_most\(...\), got at_least\(200\)"),
        ("hing", at_least(0.3), r"unknown score 'hing' \(did you mean 'hinge'\?\); choose one of hinge, auddc"),
        ("hinge", 0.3, r"hinge: expected at_least\(\.\.\.\) or at_most\(\.\.\.\), got 0\.3"),
        (
            "hinge",
            at_least(1.01),
            r"hinge is never above 1, so no model can pass at_least\(1.01\); choose a bar within",
        ),
        ("auddc", at_least(30), r"auddc is never above 1, so no model can pass at_least\(30\)"),
        ("condition_number", at_most(0.9), r"condition_number is never below 1, so no model can pass at_most\(0.9\)"),
        ("decoder.effective_rank", at_most(0), r"decoder.effective_rank is never below 1"),
        ("damage", at_most(-1e-9), "damage is never below 0"),
        ("linearity", at_least(2), "linearity is never above 1"),
    ],
)
def test_a_bar_that_makes_no_sense_is_refused_before_anything_is_measured(score: str, bar: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_bar(score, bar)
    with pytest.raises(OptionError, match=message):
        _judge(0.4, 0.5, 0.6, bar, score=score)


@pytest.mark.parametrize(
    ("score", "bar"),
    [
        ("hinge", at_least(1)),
        ("hinge", at_least(-3)),
        ("condition_number", at_most(1)),
        ("trace", at_most(0)),
        ("reach", at_most(-5)),
        ("round_trip.log_pseudo_determinant", at_most(-80)),
    ],
)
def test_a_bar_at_the_end_of_a_range_or_on_nothing_is_allowed(score: str, bar: Bar) -> None:
    assert check_bar(score, bar) in DIRECTIONS


def test_a_bare_geometry_score_is_the_encoders() -> None:
    assert check_bar("trace", at_most(3)) == "encoder.trace"


def test_every_score_has_a_range_that_holds_something() -> None:
    assert RANGES.keys() == DIRECTIONS.keys()
    assert all(low < high for low, high in RANGES.values())


def test_a_score_without_direction_takes_either_bar() -> None:
    assert _judge(0.4, 0.5, 0.6, at_least(0.3)).outcome == "PASS"
    assert _judge(0.4, 0.5, 0.6, at_most(0.7)).outcome == "PASS"


@pytest.mark.parametrize("make", [at_least, at_most])
@pytest.mark.parametrize("value", [math.nan, INF, -INF])
def test_a_bar_must_be_finite(make: Any, value: float) -> None:
    with pytest.raises(OptionError, match=f"{make.__name__} expects a finite number"):
        make(value)


@pytest.mark.parametrize("value", ["0.3", None, True, [0.3]])
def test_a_bar_must_be_a_number(value: Any) -> None:
    with pytest.raises(OptionError, match="at_least expects a number, got "):
        at_least(value)


def test_bars_read_as_comparisons() -> None:
    assert str(at_least(0.3)) == ">= 0.3"
    assert str(at_most(200)) == "<= 200"


@pytest.mark.parametrize(
    ("low", "value", "high", "n", "bar", "more"),
    [
        # from the figure to its bound 0.1 must shrink to the distance, 0.05: four times the sample
        (0.4, 0.5, 0.6, 25, at_least(0.45), 75),
        (0.4, 0.5, 0.6, 25, at_least(0.55), 75),
        (0.4, 0.5, 0.8, 10, at_most(0.6), 80),
        (0.2, 0.5, 0.6, 10, at_least(0.4), 80),
        (0.499, 0.5, 0.52, 10, at_most(0.52 - 1e-12), 1),
    ],
)
def test_a_doubt_says_how_many_more_would_settle_it(
    low: float, value: float, high: float, n: int, bar: Bar, more: int
) -> None:
    verdict = _judge(low, value, high, bar, n=n)
    assert verdict.outcome == "INCONCLUSIVE"
    words = verdict.reason.split()
    assert words[0] == "about"
    assert int(words[1]) == pytest.approx(more, abs=1)


@pytest.mark.parametrize(
    ("score", "noun"),
    [
        ("reach", "pairs"),
        ("linearity", "pairs"),
        ("reconstruction_error", "images"),
        ("encoder.active_units", "images"),
    ],
)
def test_a_doubt_says_what_it_takes_more_of(score: str, noun: str) -> None:
    reason = _judge(0.25, 0.5, 0.75, at_least(0.375), score=score, n=10).reason
    assert reason == f"about 30 more {noun} would settle it"


def test_one_more_is_not_plural() -> None:
    assert _judge(0.4, 0.5, 0.6, at_least(0.4 + 1e-9)).reason == "about 1 more pair would settle it"


@pytest.mark.parametrize("distance", [0.1 / 10.1, 1e-9, 1e-160, 5e-324])
def test_a_figure_too_close_to_the_bar_gets_no_absurd_advice(distance: float) -> None:
    reason = _judge(-0.1, distance, 0.1, at_least(0.0)).reason
    assert reason == "more samples are unlikely to settle it: the figure lies too close to the bar"


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (_judge(0.4, 0.5, 0.6, at_least(0.5)), "the figure lies on the bar"),
        (_judge(-INF, 0.5, INF, at_least(0.3), n=3), "too few pairs for a verdict: at least 6 are needed, these are 3"),
        (
            _judge(-INF, 0.5, INF, at_least(0.3), n=9, score="hinge", confidence=0.999),
            "too few pairs for a verdict: at least 10 are needed, these are 9",
        ),
        (
            _judge(0.4, 0.5, INF, at_least(0.6), score="hinge"),
            "too many pairs are known only by a bound of their own: see the health findings",
        ),
        (
            _judge(9, 10, 12, at_most(11), score="active_units", statistic="count"),
            "some units vary too nearly as much as an active one must for all to be counted surely",
        ),
    ],
)
def test_a_doubt_that_more_alone_would_not_settle_says_so(verdict: Verdict, reason: str) -> None:
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.reason == reason


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        (
            _judge(0.1823, 0.2134, 0.2421, at_least(0.3), score="hinge", n=50),
            "hinge 0.21 [0.18, 0.24] < 0.30 FAIL (95 %, 50 pairs)",
        ),
        (
            _judge(0.447, 0.5, 0.553, at_least(0.3), score="hinge", n=50),
            "hinge 0.50 [0.45, 0.55] >= 0.30 PASS (95 %, 50 pairs)",
        ),
        (
            _judge(16.1, 18.0, 21.3, at_most(200), score="condition_number", n=1),
            "condition_number 18.0 [16.1, 21.3] <= 200.0 PASS (95 %, 1 image)",
        ),
        (
            _judge(16.1, 18.0, 21.3, at_most(15), score="decoder.trace", confidence=0.999),
            "decoder.trace 18.0 [16.1, 21.3] > 15.0 FAIL (99.9 %, 25 images)",
        ),
        (
            _judge(0.18, 0.31, 0.44, at_least(0.3), trusted=False),
            "reach 0.31 [0.18, 0.44] against >= 0.30 INVALID (95 %, 25 pairs)",
        ),
        (
            _judge(-INF, math.nan, INF, at_least(0.3), n=0),
            "reach no figure [no bounds] against >= 0.30 INVALID (95 %, 0 pairs)",
        ),
        (
            _judge(-INF, 0.5, INF, at_most(0.3), n=3),
            "reach 0.50 [no bounds] against <= 0.30 INCONCLUSIVE (95 %, 3 pairs)",
        ),
        (
            _judge(0.47, 0.52, INF, at_least(0.3), score="hinge"),
            "hinge 0.52 [0.47, inf] >= 0.30 PASS (95 %, 25 pairs)",
        ),
        (
            _judge(11, 12, 12, at_least(10), score="active_units", statistic="count"),
            "active_units 12 [11, 12] >= 10 PASS (95 %, 25 images)",
        ),
    ],
)
def test_a_headline_says_figure_bounds_bar_and_outcome(verdict: Verdict, headline: str) -> None:
    assert verdict.headline == headline
    assert str(verdict) == (f"{headline}: {verdict.reason}" if verdict.reason else headline)


@pytest.mark.parametrize("bar", [at_least(0.3), at_most(0.3)])
@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-15])
@pytest.mark.parametrize("low", [0.2, 0.3])
def test_rounding_never_contradicts_the_outcome(bar: Bar, gap: float, low: float) -> None:
    for shift in (-gap, gap):
        verdict = _judge(low + shift, low + 0.05, low + 0.1 + shift, bar)
        numbers = [float(x) for x in re.findall(r"\d+\.\d+", verdict.headline)][:4]
        again = _judge(numbers[1], numbers[0], numbers[2], Bar(bar.kind, numbers[3]))
        assert again.outcome == verdict.outcome


@pytest.mark.parametrize(
    ("bar", "margin"),
    [
        (at_least(0.2), 1.0),
        (at_least(0.4), 0.0),
        (at_least(0.5), -0.2),
        (at_least(0.8), -0.5),
        (at_most(0.8), 0.25),
        (at_most(0.5), -0.2),
        (at_least(0), 0.4),
        (at_least(-0.4), 2.0),
    ],
)
def test_the_margin_is_how_far_the_bound_clears_the_bar(bar: Bar, margin: float) -> None:
    verdict = _judge(0.4, 0.5, 0.6, bar)
    assert verdict.margin == pytest.approx(margin, abs=1e-12)
    assert (verdict.margin >= 0) == bool(verdict)


def test_the_margin_of_nothing_is_infinitely_bad() -> None:
    assert _judge(0.4, 0.5, 0.6, at_least(0.1), trusted=False).margin == -INF
    assert _judge(-INF, 0.5, INF, at_least(0.1)).margin == -INF


def test_a_verdict_survives_as_builtin_types() -> None:
    for verdict in (_judge(0.4, 0.5, INF, at_least(0.3), looks=3), _judge(-INF, 0.5, 0.6, at_most(0.55))):
        assert codec.from_builtin(Verdict, codec.to_builtin(verdict)) == verdict


@pytest.mark.parametrize(("confidence", "looks", "expected"), [(0.95, 1, 0.95), (0.95, 5, 0.99), (0.8, 2, 0.9)])
def test_looks_share_the_chance_of_a_false_verdict(confidence: float, looks: int, expected: float) -> None:
    assert level(confidence, looks) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", [0.5, 1, 95, math.nan, "0.95", True])
def test_a_confidence_lies_between_a_half_and_one(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"confidence expects a number above 0.5 and below 1, such as 0.95, got"):
        level(wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
def test_there_is_at_least_one_look(wrong: Any) -> None:
    with pytest.raises(OptionError, match="looks expects how many times a sample may be judged, 1 or more, got"):
        level(0.95, wrong)


@pytest.mark.parametrize(
    ("score", "confidence", "looks", "n"),
    [
        ("hinge", 0.95, 1, 5),
        ("hinge", 0.95, 3, 6),
        ("condition_number", 0.99, 1, 7),
        ("hinge", 1 - 2**-5, 1, 5),
        ("auddc", 0.95, 1, 6),
        ("auddc", 0.999, 1, 10),
        ("active_units", 0.95, 1, 6),
    ],
)
def test_the_smallest_sample_that_can_pass_is_known_beforehand(
    score: str, confidence: float, looks: int, n: int
) -> None:
    assert smallest_sample(score, confidence=confidence, looks=looks) == n
