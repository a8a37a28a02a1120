"""Bars and verdicts: what a threshold on a score comes to (four outcomes, never a guess)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vaeaudit.digits import spelled
from vaeaudit.errors import OptionError
from vaeaudit.intervals import fewest
from vaeaudit.samples import check_level
from vaeaudit.score_names import PAIR_SCORES as PAIR_SCORES
from vaeaudit.score_names import counted as counted
from vaeaudit.score_names import direction_of, full_name, range_of, short_name, statistic_of
from vaeaudit.statistics import CONFIDENCE, Estimate, holds

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
WORST_FIRST: tuple[Outcome, ...] = ("FAIL", "INVALID", "INCONCLUSIVE", "PASS")
"""In the order in which several outcomes are told; the first of them is what they come to together."""
HOPELESS = 100
"""No advice to take more samples than this many times those there are."""
_WHOLE = 10.0
"""A width that asks for no decimals: counts are whole."""
_RELATIONS = {
    ("at_least", "PASS"): ">=",
    ("at_least", "FAIL"): "<",
    ("at_most", "PASS"): "<=",
    ("at_most", "FAIL"): ">",
}


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
        return f"{self.sign} {self.value:g}"

    @property
    def sign(self) -> str:
        """The relation that is demanded."""
        return ">=" if self.kind == "at_least" else "<="


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
        low: what the score surely is no lower than.
        high: what it surely is no higher than; each bound holds by itself at the level that
            `confidence` and `looks` give.
        confidence: no more than the rest to 1 of all audits give a PASS, or a FAIL, that is wrong.
        looks: how many times the growing sample may be judged with that confidence over all.
        outcome: PASS, FAIL, INCONCLUSIVE or INVALID.
        reason: why it is INVALID, or how much more it would take to settle an INCONCLUSIVE one.
    """

    score: str
    bar: Bar
    estimate: Estimate
    low: float
    high: float
    confidence: float = CONFIDENCE
    looks: int = 1
    outcome: Outcome
    reason: str = ""

    def __bool__(self) -> bool:
        return self.outcome == "PASS"

    def __str__(self) -> str:
        return f"{self.headline}: {self.reason}" if self.reason else self.headline

    @property
    def headline(self) -> str:
        """Figure, bounds, bar and outcome in a line: `hinge 0.21 [0.18, 0.24] < 0.30 FAIL (95 %, 50 pairs)`.

        Digits are shared, as many as the bounds make meaningful, and never so few that the rounded
        numbers would contradict the outcome.
        """
        width = self._width()
        (value, low, high), bar = spelled(
            (self.estimate.value, self.low, self.high), self.bar.value, width=width, holds=self._still_holds
        )
        bounds = f"[{low}, {high}]" if math.isfinite(self.low) or math.isfinite(self.high) else "[no bounds]"
        relation = _RELATIONS.get((self.bar.kind, self.outcome), f"against {self.bar.sign}")
        sample = f"{100 * self.confidence:.10g} %, {_number_of(self.estimate.n, counted(self.score))}"
        return f"{short_name(self.score)} {value} {bounds} {relation} {bar} {self.outcome} ({sample})"

    @property
    def margin(self) -> float:
        """How far the bound that must clear the bar lies beyond it, as a share of the bar: 0 or more for a PASS.

        In the score's own unit where the bar is 0; -inf where the measurement is invalid or has no bound.
        """
        if self.outcome == "INVALID":
            return -math.inf
        beyond = self.low - self.bar.value if self.bar.kind == "at_least" else self.bar.value - self.high
        return beyond / (abs(self.bar.value) or 1.0)

    def _width(self) -> float:
        """How much the bounds leave open; twice what one leaves open, if only that is finite."""
        if self.estimate.statistic == "count":
            return _WHOLE
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.high - self.low
        finite = [bound for bound in (self.low, self.high) if math.isfinite(bound)]
        return 2 * abs(self.estimate.value - finite[0]) if finite else math.inf

    def _still_holds(self, rounded: list[float]) -> bool:
        """Whether the rounded bounds and bar lead to the same outcome."""
        _, low, high, bar = rounded
        return self.outcome == "INVALID" or _outcome(low, high, Bar(self.bar.kind, bar)) == self.outcome


def judge(
    score: str,
    estimate: Estimate,
    bar: Bar,
    *,
    bounds: tuple[float, float],
    confidence: float = CONFIDENCE,
    looks: int = 1,
    distrust: str = "",
) -> Verdict:
    """Hold a score against a bar, by its one-sided bounds (definitions D11).

    PASS if the bound on the safe side clears the bar, FAIL if the other bound is beyond it,
    INCONCLUSIVE if neither is so, INVALID if the measurement is not to be trusted, or the figure is not that of its sample.

    Args:
        score: name of the score.
        estimate: its estimate.
        bar: the threshold.
        bounds: lower and upper bound, from `Sample.bounds(level(confidence, looks))`.
        confidence: of the verdict.
        looks: how many times the growing sample may be judged.
        distrust: what the health checks hold against the measurement, for the message.

    Raises:
        OptionError: a bar that cannot be: see `check_bar`.
    """
    name = check_bar(score, bar)
    low, high = bounds
    outcome: Outcome
    if distrust or not estimate.trusted or math.isnan(estimate.value):
        outcome, reason = "INVALID", distrust or "there is no measurement to hold against the bar"
    elif not holds(bounds, estimate.value):
        outcome, reason = (
            "INVALID",
            "the figure lies outside the bounds of the sample behind it: the report was changed",
        )
    else:
        outcome = _outcome(low, high, bar)
        needed = smallest_sample(name, confidence=confidence, looks=looks)
        reason = _what_would_settle(name, estimate, bar, bounds, needed) if outcome == "INCONCLUSIVE" else ""
    return Verdict(
        score=name, bar=bar, estimate=estimate, low=low, high=high, confidence=confidence, looks=looks,
        outcome=outcome, reason=reason,
    )  # fmt: skip


def level(confidence: float = CONFIDENCE, looks: int = 1) -> float:
    """The level of each one-sided bound: the chance of a false verdict is shared out over all looks (Bonferroni).

    Raises:
        OptionError: a confidence that is not above 0.5 and below 1, or fewer than one look.
    """
    check_level("confidence", confidence)
    if isinstance(looks, bool) or not isinstance(looks, int) or looks < 1:
        raise OptionError(f"looks expects how many times a sample may be judged, 1 or more, got {looks!r}")
    return 1 - (1 - confidence) / looks


def smallest_sample(score: str, *, confidence: float = CONFIDENCE, looks: int = 1) -> int:
    """The fewest pairs or images with which a bar on a score can be passed at all.

    Raises:
        OptionError: an unknown score, or a confidence or looks that cannot be.
    """
    return fewest(statistic_of(full_name(score)), level(confidence, looks))


def check_bar(score: str, bar: Bar) -> str:
    """The full name of a score on which that bar makes sense; what can be known before anything is measured.

    Raises:
        OptionError: an unknown score, no bar, a bar that points the wrong way for this score, or one
            that it cannot reach, whatever the model and the number of pairs.
    """
    name = full_name(score)
    if not isinstance(bar, Bar):
        raise OptionError(f"{score}: expected at_least(...) or at_most(...), got {bar!r}")
    wrong = {True: "at_most", False: "at_least", None: None}[direction_of(name)]
    if bar.kind == wrong:
        right = "at_least" if wrong == "at_most" else "at_most"
        better = "higher" if wrong == "at_most" else "lower"
        raise OptionError(f"{name}: {better} is more robust, so the bar is {right}(...), got {wrong}({bar.value:g})")
    least, most = range_of(name)
    if (bar.kind == "at_least" and bar.value > most) or (bar.kind == "at_most" and bar.value < least):
        never, end = ("above", most) if bar.kind == "at_least" else ("below", least)
        raise OptionError(
            f"{name} is never {never} {end:g}, so no model can pass {bar.kind}({bar.value:g}); choose a bar within reach"
        )
    return name


def _outcome(low: float, high: float, bar: Bar) -> Outcome:
    clears, misses = (
        (low >= bar.value, high < bar.value) if bar.kind == "at_least" else (high <= bar.value, low > bar.value)
    )
    return "PASS" if clears else "FAIL" if misses else "INCONCLUSIVE"


def _what_would_settle(score: str, estimate: Estimate, bar: Bar, bounds: tuple[float, float], needed: int) -> str:
    """Bounds close in as 1/sqrt(n): how many more samples until one no longer lies across the bar."""
    low, high = bounds
    distance = abs(estimate.value - bar.value)
    half = (high - estimate.value) if bar.value >= estimate.value else (estimate.value - low)
    if not math.isfinite(half):
        return _why_unbounded(score, estimate.n, needed)
    if estimate.statistic == "count":
        return "some units vary too nearly as much as an active one must for all to be counted surely"
    if distance == 0:
        return "the figure lies on the bar"
    ratio = half / distance
    if (growth := ratio * ratio) > HOPELESS:
        return "more samples are unlikely to settle it: the figure lies too close to the bar"
    more = max(math.ceil(estimate.n * growth) - estimate.n, 1)
    return f"about {more} more {_noun(more, counted(score))} would settle it"


def _why_unbounded(score: str, n: int, needed: int) -> str:
    noun = counted(score)
    if n < needed:
        return f"too few {noun} for a verdict: at least {needed} are needed, these are {n}"
    return f"too many {noun} are known only by a bound of their own: see the health findings"


def _number_of(count: int, plural: str) -> str:
    return f"{count} {_noun(count, plural)}"


def _noun(count: int, plural: str) -> str:
    return plural[:-1] if count == 1 else plural
