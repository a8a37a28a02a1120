"""How a report speaks: numbers, intervals, directions and the names and meanings of the scores."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import numpy as np

from vaeaudit.health import Finding, Severity
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import SCORES as DAMAGE_SCORES
from vaeaudit.report.local import LINEAR, LocalPrediction, LocalStep
from vaeaudit.report.model import AuditReport
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate
from vaeaudit.verdict import counted as counted

NOTHING = "–"
"""Stands where there is no figure."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a score is called, what it says, and what it must not be read as."""

    label: str
    says: str
    caution: str = ""


MEANINGS = {
    "hinge": Meaning(
        label="Hinge",
        says="The distortion at which the trade-off curve saturates, as a fraction of the distance between original "
        "and target: from there on the reconstruction is as close to the target's as the attack gets it.",
        caution="It is normalised by the model's own reach. A model that reconstructs everything as one blur has "
        "little reach and a small hinge, although it is hard to damage: read it beside the reach and the damage.",
    ),
    "auddc": Meaning(
        label="AUDDC",
        says="Area under the distortion-distortion curve, from no distortion to the whole distance between original "
        "and target. About half the hinge where the curve is an ideal broken stick.",
        caution="Like the hinge it is normalised by the reach.",
    ),
    "reach": Meaning(
        label="Reach",
        says="How far apart the model can place the reconstructions of an original and of its target.",
        caution="Not a robustness score: two models' hinges compare fairly only where their reaches are alike.",
    ),
    "reconstruction_error": Meaning(
        label="Reconstruction error",
        says="L2 distance between an unattacked image and its reconstruction.",
        caution="Quality rather than robustness, but robustness is cheap for a model that reconstructs badly.",
    ),
    "certified_distortion": Meaning(
        label="Certified distortion",
        says="No attack whatever brings the posterior as close to the target's as ours does with less distortion than "
        "this, as a fraction of the distance between original and target.",
        caution="A lower bound, often a loose one: a small figure does not say that the model is easy to fool.",
    ),
    "linearity": Meaning(
        label="Linearity",
        says="How well a straight line fits the trade-off left of the hinge (R²); 1 is a steady price per step "
        "towards the target.",
    ),
    "floor": Meaning(
        label="Floor",
        says="The gap that is left right of the hinge; near 0 the reconstruction is the target's own.",
        caution="A high floor means that the attack, or the model, never gets all the way there.",
    ),
    "damage": Meaning(
        label="Damage",
        says="How far an untargeted attack of a fixed L2 budget moves the reconstruction.",
        caution="Absolute, so it is not deceived by a small reach.",
    ),
    "damage_gain": Meaning(
        label="Damage gain",
        says="Damage per unit of distortion spent; above 1 the model amplifies what is done to its input.",
    ),
    "damage_latent": Meaning(
        label="Damage, latent",
        says="How far the same attacked images move the posterior mean, in each latent channel's standard deviations "
        "over the clean images: root mean square over a channel's places and over channels.",
        caution="The attack raises the displacement of the reconstruction; another may move the latent further. Channels "
        "that the decoder hardly uses count like any other.",
    ),
    "worst_damage": Meaning(
        label="Worst damage",
        says="How far the worst of all untargeted attacks inside the same L2 ball moves the reconstruction.",
        caution='Measured by the preset "thorough" only.',
    ),
    "worst_damage_linf": Meaning(
        label="Worst damage, L∞",
        says="The same inside an L∞ ball: no pixel changes by more than the budget.",
    ),
    "worst_gap": Meaning(
        label="Worst gap",
        says="What the worst of all targeted attacks inside the same L2 ball leaves of the gap to the target: 1 where "
        "nothing was gained, 0 where the reconstruction is the target's own.",
        caution="Like the hinge it is normalised by the reach.",
    ),
    "worst_gap_linf": Meaning(label="Worst gap, L∞", says="The same inside an L∞ ball."),
    "spectral_radius": Meaning(
        label="Spectral radius",
        says="The largest eigenvalue of the pullback metric: how strongly the worst direction is stretched.",
        caution="Local: it describes infinitely small distortions.",
    ),
    "condition_number": Meaning(
        label="Condition number",
        says="Root of the largest over the smallest eigenvalue among the active latent units: how uneven the "
        "stretching is.",
        caution="Meaningful only beside the number of active units: latent units that are switched off are left out.",
    ),
    "active_units": Meaning(
        label="Active units",
        says="Latent units whose posterior mean varies over the data by more than 0.01.",
    ),
    "von_neumann_entropy": Meaning(
        label="Von Neumann entropy",
        says="How evenly the stretching is spread over directions: -Σ p ln p of the normalised spectrum.",
    ),
    "effective_rank": Meaning(
        label="Effective rank",
        says="The exponential of the entropy: how many directions share the stretching.",
    ),
    "entropy_khan2022": Meaning(
        label="Entropy, Khan 2022",
        says="The same sum over the spectrum divided by its maximum, as Khan and Storkey's code computes it.",
        caution="Not an entropy; kept for comparison with published figures.",
    ),
    "trace": Meaning(
        label="Trace",
        says="The sum of the eigenvalues: the stretching of all directions together.",
    ),
    "log_pseudo_determinant": Meaning(
        label="Log pseudo-determinant",
        says="The sum of the logarithms of the eigenvalues that are not zero: the change of volume.",
    ),
}
GEOMETRY = tuple(MEANINGS)[list(MEANINGS).index("spectral_radius") :]
"""The scores of a pullback spectrum, in reading order."""
ROOMS = {"encoder": "Encoder", "decoder": "Decoder", "round_trip": "Round trip"}


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
    """A p-value, the small ones as a bound."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


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
            f"{censored} of {_plural(kept, 'curve')} {verb} not saturate: {rest} known only to be at least the "
            "distortion reached."
        )
    if kept < curves.excluded.size:
        out = curves.excluded.size - kept
        notes.append(
            f"{out} of {_plural(curves.excluded.size, 'pair')} {'was' if out == 1 else 'were'} excluded: the model "
            "does not tell original and target apart clearly."
        )
    return tuple(notes)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def summary(report: AuditReport) -> str:
    """The headline in a sentence or two."""
    hinge = report.hinge
    if math.isnan(hinge.value):
        return "No hinge could be measured: no pair gave a trade-off curve to read one from."
    share = f"{'at least ' if hinge_is_a_bound(report) else ''}{number(100 * hinge.value)} %"
    sentence = (
        f"To turn one reconstruction into another, an attack has to cover {share} of the distance between the two "
        f"images (median over {_plural(hinge.n, 'pair')}; 95 % interval: {_share_interval(hinge)})."
    )
    warning = "" if trusted(report, "hinge") else " A health check says that this must not be relied upon."
    return sentence + warning


def local_summary(local: LocalPrediction) -> tuple[str, ...]:
    """How far local geometry can be trusted, and what it leaves to better attacks, in two sentences."""
    latent, reconstruction = (
        f"{_budget(step)} ({interval(step.breaking_budget, 'images')})" for step in (local.latent, local.reconstruction)
    )
    linear = (
        f"Inside the bounds, local geometry predicts a step's displacement to a factor of {LINEAR[0]:g} to "
        f"{LINEAR[1]:g} up to an L2 budget of {latent} for the latent, {reconstruction} for the reconstruction."
    )
    middle = local.compared.size // 2
    untargeted, targeted = local.untargeted[middle], local.targeted[middle]
    attained = (
        f"At {setting(local.compared[middle])} the round trip's eigenvector does {percent(untargeted)} of the damage "
        f"of the untargeted attack, and the encoder's goes {percent(targeted)} of the targeted attack's way."
    )
    return linear, attained


def _budget(step: LocalStep) -> str:
    """The median budget at which linearity breaks, and whether it is a lower bound."""
    kept = ~np.isnan(step.breaks)
    exact = np.where(step.censored, math.inf, step.breaks)[kept]
    bound = kept.any() and np.median(exact) > step.breaking_budget.value * (1 + 1e-9)
    return f"{'at least ' if bound else ''}{number(step.breaking_budget.value)}"


def percent(estimate: Estimate) -> str:
    """A share as a whole percentage."""
    return NOTHING if math.isnan(estimate.value) else f"{100 * estimate.value:.0f} %"


def _share_interval(hinge: Estimate) -> str:
    scaled = dataclasses.replace(hinge, value=100 * hinge.value, low=100 * hinge.low, high=100 * hinge.high)
    text = interval(scaled, "pairs")
    return re.sub(r"( or |$)", r" %\1", text, count=1) if re.match(r"[\d-]", text) else text
