"""Bars and verdicts: what a threshold on an estimate comes to (four outcomes, never a guess)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vaeaudit.errors import OptionError
from vaeaudit.statistics import Estimate

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
PAIR_SCORES = frozenset({"hinge", "auddc", "linearity", "floor", "reach"})
HOPELESS = 100
"""No advice to take more samples than this many times those there are."""


@dataclass(frozen=True)
class Bar:
    """A threshold: `at_least` for scores where higher is better, `at_most` where lower is."""

    kind: Literal["at_least", "at_most"]
    value: float

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise OptionError(f"{self.kind} expects a number, got {self.value!r}")
        if not math.isfinite(self.value):
            raise OptionError(f"{self.kind} expects a finite number, got {self.value}")

    def __str__(self) -> str:
        return f"{'>=' if self.kind == 'at_least' else '<='} {self.value:g}"


def at_least(value: float) -> Bar:
    """Demand that a score is surely no lower than `value`."""
    return Bar("at_least", value)


def at_most(value: float) -> Bar:
    """Demand that a score is surely no higher than `value`."""
    return Bar("at_most", value)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one bar came to.

    Attributes:
        score: full name of the score.
        bar: the threshold.
        estimate: the figure it was held against.
        outcome: PASS, FAIL, INCONCLUSIVE or INVALID.
        reason: why it is INVALID, or how much more it would take to settle an INCONCLUSIVE one.
    """

    score: str
    bar: Bar
    estimate: Estimate
    outcome: Outcome
    reason: str = ""

    def __bool__(self) -> bool:
        return self.outcome == "PASS"

    def __str__(self) -> str:
        e = self.estimate
        interval = f"[{e.low:.3g}, {e.high:.3g}]" if math.isfinite(e.low) and math.isfinite(e.high) else "[no interval]"
        line = f"{self.score} {e.value:.3g} {interval} {self.bar} {self.outcome} (95 %, n = {e.n})"
        return f"{line}: {self.reason}" if self.reason else line


def judge(score: str, estimate: Estimate, bar: Bar, *, distrust: str = "") -> Verdict:
    """Hold an estimate against a bar.

    PASS if the whole interval clears the bar, FAIL if the whole interval misses it, INCONCLUSIVE
    if it straddles the bar, INVALID if the measurement is not to be trusted.

    Args:
        score: full name of the score.
        estimate: its estimate.
        bar: the threshold.
        distrust: what the health checks hold against the measurement, for the message.

    Raises:
        OptionError: the bar points the wrong way for this score.
    """
    _check_direction(score, estimate, bar)
    if distrust or not estimate.trusted or math.isnan(estimate.value):
        outcome: Outcome = "INVALID"
        reason = distrust or "there is no measurement to hold against the bar"
    elif _clears(estimate.low, estimate.high, bar):
        outcome, reason = "PASS", ""
    elif _misses(estimate.low, estimate.high, bar):
        outcome, reason = "FAIL", ""
    else:
        outcome, reason = "INCONCLUSIVE", _what_would_settle(score, estimate, bar)
    return Verdict(score=score, bar=bar, estimate=estimate, outcome=outcome, reason=reason)


def counted(score: str) -> str:
    """What the n of a score counts."""
    return "pairs" if score in PAIR_SCORES else "images"


def _clears(low: float, high: float, bar: Bar) -> bool:
    return low >= bar.value if bar.kind == "at_least" else high <= bar.value


def _misses(low: float, high: float, bar: Bar) -> bool:
    return high < bar.value if bar.kind == "at_least" else low > bar.value


def _check_direction(score: str, estimate: Estimate, bar: Bar) -> None:
    wrong = {True: "at_most", False: "at_least", None: None}[estimate.higher_is_better]
    if bar.kind == wrong:
        right = "at_least" if wrong == "at_most" else "at_most"
        better = "higher" if wrong == "at_most" else "lower"
        raise OptionError(f"{score}: {better} is more robust, so the bar is {right}(...), got {wrong}({bar.value:g})")


def _what_would_settle(score: str, estimate: Estimate, bar: Bar) -> str:
    """An interval shrinks as 1/sqrt(n): how many more samples until it no longer straddles."""
    distance = abs(estimate.value - bar.value)
    half = (estimate.high - estimate.value) if bar.value >= estimate.value else (estimate.value - estimate.low)
    if not math.isfinite(half):
        return "too few samples for an interval; audit more"
    if distance == 0:
        return "the figure lies on the bar"
    ratio = half / distance
    if (growth := ratio * ratio) > HOPELESS:
        return "more samples are unlikely to settle it: the figure lies too close to the bar"
    more = max(math.ceil(estimate.n * growth) - estimate.n, 1)
    noun = counted(score)
    return f"about {more} more {noun[:-1] if more == 1 else noun} would settle it"
