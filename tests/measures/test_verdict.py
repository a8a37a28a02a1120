"""Verdicts: the four outcomes as one table, bars that point the wrong way, and what would settle a doubt."""

from __future__ import annotations

import math

import pytest

from vaeaudit import Bar, Estimate, OptionError, at_least, at_most
from vaeaudit.verdict import judge

INF = math.inf


def _figure(low: float, value: float, high: float, *, n: int = 25, better: bool | None = None, trusted: bool = True):
    return Estimate(value=value, low=low, high=high, n=n, higher_is_better=better, trusted=trusted)


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
    ],
)
def test_the_whole_interval_decides(low: float, value: float, high: float, bar: Bar, outcome: str) -> None:
    verdict = judge("hinge", _figure(low, value, high), bar)
    assert verdict.outcome == outcome
    assert bool(verdict) == (outcome == "PASS")
    assert (verdict.reason == "") == (outcome in ("PASS", "FAIL"))


@pytest.mark.parametrize("bar", [at_least(0.3), at_least(0.5), at_least(0.9)])
def test_a_distrusted_measurement_is_invalid_wherever_the_bar_lies(bar: Bar) -> None:
    verdict = judge("hinge", _figure(0.4, 0.5, 0.6, trusted=False), bar)
    assert verdict.outcome == "INVALID"
    assert verdict.reason == "there is no measurement to hold against the bar"
    told = judge("hinge", _figure(0.4, 0.5, 0.6), bar, distrust="gradient_masked: gradients mislead the attack")
    assert told.outcome == "INVALID"
    assert told.reason == "gradient_masked: gradients mislead the attack"
    assert not told


@pytest.mark.parametrize(
    ("better", "bar", "message"),
    [
        (True, at_most(0.3), r"hinge: higher is more robust, so the bar is at_least\(...\), got at_most\(0.3\)"),
        (False, at_least(200), r"hinge: lower is more robust, so the bar is at_most\(...\), got at_least\(200\)"),
    ],
)
def test_a_bar_that_points_the_wrong_way_is_refused(better: bool, bar: Bar, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        judge("hinge", _figure(0.4, 0.5, 0.6, better=better), bar)


def test_a_score_without_direction_takes_either_bar() -> None:
    figure = _figure(0.4, 0.5, 0.6, better=None)
    assert judge("effective_rank", figure, at_least(0.3)).outcome == "PASS"
    assert judge("effective_rank", figure, at_most(0.7)).outcome == "PASS"


@pytest.mark.parametrize("make", [at_least, at_most])
@pytest.mark.parametrize("value", [math.nan, INF, -INF])
def test_a_bar_must_be_finite(make, value: float) -> None:
    with pytest.raises(OptionError, match=f"{make.__name__} expects a finite number"):
        make(value)


@pytest.mark.parametrize("value", ["0.3", None, True, [0.3]])
def test_a_bar_must_be_a_number(value: object) -> None:
    with pytest.raises(OptionError, match="at_least expects a number, got "):
        at_least(value)


def test_bars_read_as_comparisons() -> None:
    assert str(at_least(0.3)) == ">= 0.3"
    assert str(at_most(200)) == "<= 200"


@pytest.mark.parametrize(
    ("low", "value", "high", "n", "bar", "more"),
    [
        # the half width towards the bar, 0.1, must shrink to the distance, 0.05: four times the sample
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
    verdict = judge("hinge", _figure(low, value, high, n=n), bar)
    assert verdict.outcome == "INCONCLUSIVE"
    words = verdict.reason.split()
    assert words[0] == "about"
    assert int(words[1]) == pytest.approx(more, abs=1)


@pytest.mark.parametrize(
    ("score", "noun"),
    [
        ("hinge", "pairs"),
        ("auddc", "pairs"),
        ("reach", "pairs"),
        ("damage", "images"),
        ("damage_gain", "images"),
        ("reconstruction_error", "images"),
        ("encoder.trace", "images"),
    ],
)
def test_a_doubt_says_what_it_takes_more_of(score: str, noun: str) -> None:
    reason = judge(score, _figure(0.25, 0.5, 0.75, n=10), at_least(0.375)).reason
    assert reason == f"about 30 more {noun} would settle it"


def test_one_more_is_not_plural() -> None:
    assert judge("hinge", _figure(0.4, 0.5, 0.6), at_least(0.4 + 1e-9)).reason == "about 1 more pair would settle it"


@pytest.mark.parametrize("distance", [0.1 / 10.1, 1e-9, 1e-160, 5e-324])
def test_a_figure_too_close_to_the_bar_gets_no_absurd_advice(distance: float) -> None:
    reason = judge("hinge", _figure(-0.1, distance, 0.1), at_least(0.0)).reason
    assert reason == "more samples are unlikely to settle it: the figure lies too close to the bar"


def test_a_doubt_that_no_sample_settles_says_so() -> None:
    assert judge("hinge", _figure(0.4, 0.5, 0.6), at_least(0.5)).reason == "the figure lies on the bar"
    assert (
        judge("hinge", _figure(-INF, 0.5, INF), at_least(0.3)).reason == "too few samples for an interval; audit more"
    )


def test_a_verdict_reads_as_one_line() -> None:
    passed = judge("hinge", _figure(0.4, 0.5, 0.6), at_least(0.3))
    assert str(passed) == "hinge 0.5 [0.4, 0.6] >= 0.3 PASS (95 %, n = 25)"
    doubt = judge("hinge", _figure(-INF, 0.5, INF, n=3), at_least(0.3))
    assert str(doubt).startswith("hinge 0.5 [no interval] >= 0.3 INCONCLUSIVE (95 %, n = 3): too few samples")
