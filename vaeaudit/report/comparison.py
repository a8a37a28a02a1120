"""Two reports side by side: which scores differ clearly, and what stands against comparing them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from vaeaudit.report.model import AuditReport
from vaeaudit.report.words import label, number, setting, trusted
from vaeaudit.statistics import CONFIDENCE, SMALLEST_SAMPLE, Estimate, estimate

_RESAMPLES = 4000
Outcome = Literal["better", "worse", "different", "no clear difference", "not comparable"]
PAIRED = ("hinge", "auddc", "reach")
"""Scores with one figure a pair, which the same pairs allow to be compared pair by pair."""
FROM_MEANS = ("encoder.condition_number", "encoder.active_units")
"""Scores of the posterior's mean alone, the same whatever the encoder's metric (definitions D8, D9)."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One score in two reports.

    Attributes:
        score: full name of the score.
        old, new: its estimates; None where a report does not have it.
        difference: new minus old; NaN where they are not comparable. Paired: over the shared pairs.
        low, high: 95 % interval of the difference; infinite where it is not paired.
        paired: whether the same pairs were compared one by one.
        outcome: `better` or `worse` where the difference is clear, `different` where it is clear
            but the score has no direction, else `no clear difference` or `not comparable`.
        reason: why it is not comparable.
    """

    score: str
    old: Estimate | None
    new: Estimate | None
    difference: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    paired: bool = False
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found.

    Attributes:
        old, new: names of the two models.
        changes: one entry a score, in the order of the report.
        caveats: what a reader must know before trusting the outcomes.
    """

    old: str
    new: str
    changes: tuple[Change, ...]
    caveats: tuple[str, ...]


def compare(old: AuditReport, new: AuditReport) -> Comparison:
    """Hold a report against an earlier one.

    A difference is clear if the 95 % intervals do not overlap; for the hinge, AUDDC and reach of
    the same pairs of the same data, if the paired bootstrap's interval of the difference leaves
    zero out (a curve that does not saturate has no exact figure, so it takes the intervals instead).
    """
    names = list(dict.fromkeys([*old.scores(), *new.scores()]))
    changes = tuple(_change(name, old, new) for name in names)
    return Comparison(old=old.name, new=new.name, changes=changes, caveats=tuple(_caveats(old, new, changes)))


def _change(name: str, old: AuditReport, new: AuditReport) -> Change:
    before, after = old.scores().get(name), new.scores().get(name)
    reason = _incomparable(name, old, new)
    if before is None or after is None or reason:
        missing = "the old report lacks it" if before is None else "the new report lacks it"
        return Change(score=name, old=before, new=after, outcome="not comparable", reason=reason or missing)
    values = _paired_values(name, old, new)
    if values is None:
        difference, low, high = after.value - before.value, -math.inf, math.inf
        clear = after.low > before.high or after.high < before.low
    else:
        difference, low, high = paired_difference(*values, before.statistic)
        clear = low > 0 or high < 0
    return Change(
        score=name, old=before, new=after, difference=difference, low=low, high=high,
        paired=values is not None, outcome=_outcome(difference, clear, after.higher_is_better),
    )  # fmt: skip


def _outcome(difference: float, clear: bool, higher_is_better: bool | None) -> Outcome:
    if not clear:
        return "no clear difference"
    if higher_is_better is None:
        return "different"
    return "better" if (difference > 0) == higher_is_better else "worse"


def _incomparable(name: str, old: AuditReport, new: AuditReport) -> str:
    """Why two estimates of one name do not measure the same thing; empty if they do."""
    for which, report in (("old", old), ("new", new)):
        estimate = report.scores().get(name)
        if estimate is None:
            continue
        if math.isnan(estimate.value):
            return f"the {which} report has no figure"
        if not trusted(report, name):
            return f"the {which} figure is not to be relied upon"
    before, after = _measured_with(name, old), _measured_with(name, new)
    return "" if before is None or after is None or before == after else f"{before} against {after}"


def _measured_with(name: str, report: AuditReport) -> str | None:
    """The yardstick of a score: its unit, and the metric or the budget it belongs to."""
    estimate = report.scores().get(name)
    if estimate is None:
        return None
    if name == "certified_distortion" and report.certificates is not None:
        return f"{report.certificates.balls} balls, {report.certificates.divergence_name}"
    if name.startswith("damage") and report.damage is not None:
        return f"budget {setting(report.damage.radii[len(report.damage.radii) // 2])} {estimate.unit}".strip()
    if "." in name and name not in FROM_MEANS:
        return f"{getattr(report, name.partition('.')[0]).metric} metric {estimate.unit}".strip()
    return f"unit {estimate.unit or 'none'}"


def _same_pairs(old: AuditReport, new: AuditReport) -> bool:
    return (
        old.provenance.data == new.provenance.data
        and np.array_equal(old.curves.originals, new.curves.originals)
        and np.array_equal(old.curves.targets, new.curves.targets)
    )


def _paired_values(
    name: str, old: AuditReport, new: AuditReport
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The figures of the pairs that both reports measured; None if they cannot be compared one by one."""
    if name not in PAIRED or not _same_pairs(old, new):
        return None
    before, after = getattr(old.curves, name), getattr(new.curves, name)
    shared = ~(old.curves.excluded | new.curves.excluded) & np.isfinite(before) & np.isfinite(after)
    censored = (old.curves.censored | new.curves.censored) & shared
    if shared.sum() < SMALLEST_SAMPLE or (name != "reach" and censored.any()):
        return None
    return before[shared], after[shared]


def paired_difference(
    before: NDArray[np.float64], after: NDArray[np.float64], statistic: str
) -> tuple[float, float, float]:
    """Difference of medians, with its bootstrap interval over pairs, or mean of differences."""
    if statistic == "mean":
        mean = estimate(after - before, statistic="mean")
        return mean.value, mean.low, mean.high
    difference = float(np.median(after) - np.median(before))
    if np.ptp(after - before) == 0:
        return difference, difference, difference

    def change(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(np.median(y, axis=axis) - np.median(x, axis=axis))

    result = scipy.stats.bootstrap(
        (before, after), change, paired=True, vectorized=True, n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    low, high = map(float, result.confidence_interval)
    return difference, low, high


def _caveats(old: AuditReport, new: AuditReport, changes: tuple[Change, ...]) -> Iterator[str]:
    for change in changes:
        if change.score in ("reach", "reconstruction_error") and change.outcome in ("better", "worse", "different"):
            yield _scale_caveat(change)
    if old.provenance.data != new.provenance.data:
        yield "The reports audited different data: differences may come from the images."
    elif not _same_pairs(old, new):
        yield "The reports audited different pairs, so they could not be compared pair by pair."
    if old.provenance.preset != new.provenance.preset:
        yield f"The presets differ: {old.provenance.preset} against {new.provenance.preset}."
    if differing := _differing(old.provenance.settings, new.provenance.settings):
        yield f"The settings differ: {differing}."
    if differing := _differing(old.provenance.environment, new.provenance.environment):
        yield f"The environments differ: {differing}."


def _scale_caveat(change: Change) -> str:
    assert change.old is not None
    assert change.new is not None
    figures = f"{label(change.score)} differs clearly ({number(change.old.value)} against {number(change.new.value)}"
    unit = f" {change.new.unit})" if change.new.unit else ")"
    if change.score == "reach":
        return (
            f"{figures}{unit}. Hinge and AUDDC are normalised by the reach, so they do not rank these two models by "
            "themselves: read the damage beside them."
        )
    return f"{figures}{unit}. A model that reconstructs worse can be harder to fool without being a better model."


def _differing(old: dict[str, object] | dict[str, str], new: dict[str, object] | dict[str, str]) -> str:
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return ", ".join(f"{key} {old.get(key, 'unset')} against {new.get(key, 'unset')}" for key in keys)
