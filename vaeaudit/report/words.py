"""How a report speaks: numbers, intervals and directions, the names of scores, and its headline."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import get_args

import numpy as np

from vaeaudit.health import Finding, Severity
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import SCORES as DAMAGE_SCORES
from vaeaudit.report.meanings import MEANINGS, ROOMS
from vaeaudit.report.model import AuditReport
from vaeaudit.statistics import CONFIDENCE, SMALLEST_SAMPLE, Estimate
from vaeaudit.verdict import counted as counted

NOTHING = "–"
"""Stands where there is no figure."""
_LEVEL = 1 - CONFIDENCE
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def clean(text: object) -> str:
    """One printable line of a string from outside: no line breaks, no control characters."""
    spaced = re.sub(r"\s+", " ", str(text)).strip()
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in spaced)


def printable(page: str) -> str:
    """A page without control characters and marks that turn the direction of writing, which hide what a page says."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", page)


def label(score: str) -> str:
    """What to call a score given by its full name: `encoder.trace` is "Encoder trace"."""
    room, _, name = score.rpartition(".")
    known = MEANINGS[name].label if name in MEANINGS else name.replace("_", " ")
    return f"{ROOMS.get(room, room)} {known[0].lower()}{known[1:]}" if room else known


def label_at_budget(report: AuditReport, score: str) -> str:
    """What to call a score of a report, with the budget that its figure belongs to if there is one: "Damage at 0.56"."""
    measured = {} if report.worst_case is None else report.worst_case.families()
    section = report.damage if score in DAMAGE_SCORES else measured.get(score)
    return label(score) if section is None else f"{label(score)} at {setting(section.radii[section.middle])}"


def in_a_sentence(score: str) -> str:
    """What to call a score in the middle of a sentence: "worst damage, L∞", but "AUDDC"."""
    said = label(score)
    return said if said[:2].isupper() else said[0].lower() + said[1:]


def number(value: float, *, whole: bool = False) -> str:
    """A figure to three significant digits; a dash for NaN."""
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if whole:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    if 1e3 <= abs(rounded) < 1e6:
        return f"{value:,.0f}"
    if 1e-3 <= abs(rounded) < 1e3:
        return f"{rounded:#.3g}".rstrip(".")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def figure(estimate: Estimate) -> str:
    """The point estimate, a count without decimals."""
    return number(estimate.value, whole=estimate.statistic == "count")


def interval(estimate: Estimate, counted: str = "samples") -> str:
    """The 95 % interval in words; an open end is said, and why there is none at all."""
    if math.isnan(estimate.value):
        return NOTHING
    whole = estimate.statistic == "count"
    low, high = number(estimate.low, whole=whole), number(estimate.high, whole=whole)
    if math.isinf(estimate.low) and math.isinf(estimate.high):
        return f"too few {counted} for an interval" if estimate.n < SMALLEST_SAMPLE else "no interval"
    if math.isinf(estimate.high):
        return f"{low} or more"
    if math.isinf(estimate.low):
        return f"{high} or less"
    return f"{low} to {high}"


def p_value(value: float) -> str:
    """A p-value, the small ones as a bound; rounding never takes one across the level of what is significant."""
    if value < 0.001:
        return "p < 0.001"
    texts = (f"{value:.{decimals}f}" for decimals in range(3 if value < 0.1 else 2, 20))
    return next(f"p = {text}" for text in texts if (float(text) <= _LEVEL) == (value <= _LEVEL))


def setting(value: float) -> str:
    """A number that somebody chose, such as a budget or a strength: as short as it can be."""
    return f"{value:.3g}"


def trusted(report: AuditReport, score: str) -> bool:
    """Whether neither the estimate nor a health finding forbids to rely on a score."""
    return report.scores()[score].trusted and not any(finding.invalidates(score) for finding in report.health)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Health findings, those that make scores unfit for verdicts before warnings before what is for the record."""
    return sorted(findings, key=lambda finding: get_args(Severity)[::-1].index(finding.severity))


def sample(score: str, estimate: Estimate) -> str:
    """The n of a score with its noun: "50 pairs", "1 image"."""
    noun = counted(score)
    return f"{estimate.n:,} {noun[:-1] if estimate.n == 1 else noun}"


def direction(estimate: Estimate) -> str:
    """Which way is more robust: "higher", "lower", or a dash."""
    return {True: "higher", False: "lower", None: NOTHING}[estimate.higher_is_better]


def hinge_is_a_bound(report: AuditReport) -> bool:
    """Whether the median hinge itself is only a lower bound, because curves that do not saturate lie below it."""
    curves = report.curves
    kept = ~curves.excluded & ~np.isnan(curves.hinge)
    if not kept.any():
        return False
    hinges = curves.hinge[kept]
    return bool(np.median(np.where(curves.censored[kept], np.inf, hinges)) > np.median(hinges) * (1 + 1e-9))


def is_a_bound(report: AuditReport, score: str) -> bool:
    """Whether a score is known only to be at least its figure."""
    return score == "hinge" and hinge_is_a_bound(report)


def curve_notes(curves: Curves) -> tuple[str, ...]:
    """What a reader must know about the pairs before quoting a hinge."""
    kept = int((~curves.excluded).sum())
    censored = int((curves.censored & ~curves.excluded).sum())
    notes = []
    if censored:
        verb, rest = ("does", "its hinge is") if censored == 1 else ("do", "their hinges are")
        notes.append(
            f"{censored} of {plural(kept, 'curve')} {verb} not saturate: {rest} known only to be at least the "
            "distortion reached."
        )
    if kept < curves.excluded.size:
        out = curves.excluded.size - kept
        notes.append(
            f"{out} of {plural(curves.excluded.size, 'pair')} {'was' if out == 1 else 'were'} excluded: the model "
            "does not tell original and target apart clearly."
        )
    return tuple(notes)


def plural(count: int, noun: str) -> str:
    """So many of something: "1 pair", "2 pairs"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def summary(report: AuditReport) -> str:
    """The headline in a sentence or two."""
    hinge = report.hinge
    if math.isnan(hinge.value):
        return "No hinge could be measured: no pair gave a trade-off curve to read one from."
    share = f"{'at least ' if hinge_is_a_bound(report) else ''}{number(100 * hinge.value)} %"
    sentence = (
        f"To turn one reconstruction into another, an attack has to cover {share} of the distance between the two "
        f"images (median over {plural(hinge.n, 'pair')}; 95 % interval: {_share_interval(hinge)})."
    )
    warning = "" if trusted(report, "hinge") else " A health check says that this must not be relied upon."
    return sentence + warning


def percent(share: float) -> str:
    """A share as a whole percentage; a dash for NaN."""
    return NOTHING if math.isnan(share) else f"{100 * share:.0f} %"


def _share_interval(hinge: Estimate) -> str:
    scaled = dataclasses.replace(hinge, value=100 * hinge.value, low=100 * hinge.low, high=100 * hinge.high)
    text = interval(scaled, "pairs")
    return re.sub(r"( or |$)", r" %\1", text, count=1) if re.match(r"[\d-]", text) else text
