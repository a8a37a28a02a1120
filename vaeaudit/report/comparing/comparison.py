"""Reports side by side: which scores differ clearly, and what stands against comparing them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import OptionError
from vaeaudit.report.comparing.differences import SIGNIFICANT, corrected, difference_of, p_value, paired_change
from vaeaudit.report.damage import SCORES as DAMAGE_SCORES
from vaeaudit.report.geometry import PER_IMAGE
from vaeaudit.report.model import AuditReport
from vaeaudit.report.words import is_a_bound, label, number, setting, trusted
from vaeaudit.score_names import ROOMS, direction_of
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate

MOST = 12
"""Reports that are compared at once."""
Outcome = Literal["better", "worse", "different", "no clear difference", "not comparable"]
PAIRED = ("hinge", "auddc", "reach")
"""Scores with one figure a pair, which the same pairs allow to be compared one by one."""
FROM_MEANS = ("encoder.condition_number", "encoder.active_units")
"""Scores of the posterior's mean alone, the same whatever the encoder's metric (definitions D8, D9)."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One score in two reports.

    Attributes:
        score: full name of the score.
        old, new: its estimates; None where a report does not have it.
        bounds: of the old and the new figure, whether it is known only to be at least so much.
        difference: new minus old; NaN where they are not comparable. Paired: over the shared pairs.
        low, high: 95 % interval of the difference; infinite where there is none.
        p: two-sided p-value of no difference; NaN where they are not comparable.
        corrected: the same, corrected for all scores that were compared (Holm).
        paired: whether the same pairs or images were compared one by one.
        outcome: `better` or `worse` where the difference is clear, `different` where it is clear
            but the score has no direction, else `no clear difference` or `not comparable`.
        reason: why it is not comparable.
    """

    score: str
    old: Estimate | None
    new: Estimate | None
    bounds: tuple[bool, bool] = (False, False)
    difference: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    p: float = math.nan
    corrected: float = math.nan
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
        tests: for how many scores, in this and in the comparisons made with it, p-values were corrected.
    """

    old: str
    new: str
    changes: tuple[Change, ...]
    caveats: tuple[str, ...]
    tests: int


def compare(old: AuditReport, new: AuditReport) -> Comparison:
    """Hold a report against an earlier one; see `compare_all`."""
    (comparison,) = compare_all([old, new])
    return comparison


def compare_all(reports: Sequence[AuditReport]) -> tuple[Comparison, ...]:
    """Hold every report against the first.

    A difference is clear if its p-value, corrected for all scores of all these comparisons by Holm's procedure, is
    at most 0.05. Hinge, AUDDC, reach and damage of the same pairs or images of the same data are compared one by
    one (a curve that does not saturate has no exact figure, so it is not); for all else the interval of the difference
    follows from the two estimates' own. Figures that are not comparable are not tested, and the reason is kept.

    Raises:
        OptionError: fewer than two reports, or too many.
    """
    if not 2 <= len(reports) <= MOST:
        raise OptionError(f"compare expects 2 to {MOST} reports, got {len(reports)}")
    first, *others = reports
    names = [list(dict.fromkeys([*first.scores(), *other.scores()])) for other in others]
    found = [[_change(name, first, other) for name in asked] for asked, other in zip(names, others, strict=True)]
    tested = [change for changes in found for change in changes if not math.isnan(change.p)]
    judged = {
        id(change): _judged(change, value)
        for change, value in zip(tested, corrected([change.p for change in tested]), strict=True)
    }
    comparisons = []
    for other, changes in zip(others, found, strict=True):
        final = tuple(judged.get(id(change), change) for change in changes)
        caveats = tuple(_caveats(first, other, final))
        comparisons.append(
            Comparison(old=first.name, new=other.name, changes=final, caveats=caveats, tests=len(tested))
        )
    return tuple(comparisons)


def _change(name: str, old: AuditReport, new: AuditReport) -> Change:
    """The difference in one score, not yet judged."""
    before, after = old.scores().get(name), new.scores().get(name)
    bounds = is_a_bound(old, name), is_a_bound(new, name)
    reason = incomparable(name, old, new)
    if before is None or after is None or reason:
        missing = "the old report lacks it" if before is None else "the new report lacks it"
        return Change(
            score=name, old=before, new=after, bounds=bounds, outcome="not comparable", reason=reason or missing
        )
    difference, low, high, n, paired = tested_difference(name, old, new)
    return Change(
        score=name, old=before, new=after, bounds=bounds, difference=difference, low=low, high=high, paired=paired,
        p=p_value(difference, low, high, n), outcome="no clear difference",
    )  # fmt: skip


def tested_difference(name: str, old: AuditReport, new: AuditReport) -> tuple[float, float, float, int, bool]:
    """Difference of a score that both reports have, its interval, the values behind it, and whether it is paired."""
    before, after = old.scores()[name], new.scores()[name]
    values = _paired_values(name, old, new)
    if values is None:
        return *difference_of(before, after), min(before.n, after.n), False
    return *paired_change(*values, before.statistic), len(values[0]), True


def _judged(change: Change, value: float) -> Change:
    outcome = _outcome(change.difference, value <= SIGNIFICANT, direction_of(change.score))
    return replace(change, corrected=value, outcome=outcome)


def _outcome(difference: float, clear: bool, higher_is_better: bool | None) -> Outcome:
    if not clear:
        return "no clear difference"
    if higher_is_better is None:
        return "different"
    return "better" if (difference > 0) == higher_is_better else "worse"


def incomparable(name: str, old: AuditReport, new: AuditReport) -> str:
    """Why two estimates of one name do not measure the same thing; empty if they do."""
    for which, report in (("old", old), ("new", new)):
        estimate = report.scores().get(name)
        if estimate is None:
            continue
        if math.isnan(estimate.value):
            return f"the {which} report has no figure"
        if not trusted(report, name):
            return f"the {which} figure is not to be relied upon"
    before, after = measured_with(name, old), measured_with(name, new)
    return "" if before is None or after is None or before == after else f"{before} against {after}"


def measured_with(name: str, report: AuditReport) -> str | None:
    """The yardstick of a score: its unit, and the metric or the budget it belongs to."""
    estimate = report.scores().get(name)
    if estimate is None:
        return None
    for one in report.extensions:
        if one.name == name:
            return f"{one.plugin} {estimate.unit}".strip()
    if name == "certified_distortion" and report.certificates is not None:
        return f"{report.certificates.balls} balls, {report.certificates.divergence_name}"
    if name.startswith("damage") and report.damage is not None:
        return f"budget {setting(report.damage.radii[report.damage.middle])} {estimate.unit}".strip()
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
    """The figures of the pairs or images that both reports measured; None if they cannot be compared one by one."""
    room, _, score = name.rpartition(".")
    if name in DAMAGE_SCORES or (room in ROOMS and score in PER_IMAGE):
        return _paired_images(name, old, new)
    if name not in PAIRED or not _same_pairs(old, new):
        return None
    before, after = getattr(old.curves, name), getattr(new.curves, name)
    shared = ~(old.curves.excluded | new.curves.excluded) & np.isfinite(before) & np.isfinite(after)
    censored = (old.curves.censored | new.curves.censored) & shared
    if shared.sum() < SMALLEST_SAMPLE or (name != "reach" and censored.any()):
        return None
    return before[shared], after[shared]


def _paired_images(
    name: str, old: AuditReport, new: AuditReport
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    before, after = old.sample(name), new.sample(name)
    same = old.provenance.data == new.provenance.data and np.array_equal(before.originals, after.originals)
    exact = all(sample.upper is None or np.isfinite(sample.upper).all() for sample in (before, after))
    return (before.values, after.values) if same and exact and len(before.values) >= SMALLEST_SAMPLE else None


def _caveats(old: AuditReport, new: AuditReport, changes: tuple[Change, ...]) -> Iterator[str]:
    for change in changes:
        if change.score in ("reach", "reconstruction_error") and change.outcome in ("better", "worse", "different"):
            yield _scale_caveat(change)
    for which, report in (("old", old), ("new", new)):
        if aside := dict.fromkeys(one.name for one in report.health if one.suppressed and one.severity == "invalid"):
            yield f"The {which} report sets aside what would make some of its scores INVALID: {', '.join(aside)}."
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
