"""The figures of a duel over its pairs: estimates, differences of VAE and AE, and attacks at equal distortion."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaeaudit import Estimate, PairedDifference, gap_at, paired_difference
from vaeaudit.statistics import estimate
from vaeaudit.tradeoff import hinge_estimate

from .crossings import Crossings, crossings_of
from .study import Results, array

Floats = NDArray[np.float64]
ROLES = ("vae", "ae")
SCORES = ("hinge", "floor", "slope", "linearity", "auddc")
LEVELS = (0.25, 0.5, 0.75)
"""Shares of a pair's own hinge under the latent attack at which the output attack is held beside it."""
_MEANS = ("auddc", "reach")


def kept(trial: Results, score: str) -> Floats:
    """A score of every pair, NaN where the pair is excluded or has none."""
    return np.where(np.array(trial["excluded"], bool), np.nan, array(trial[score]))


def uncensored(trial: Results, score: str) -> Floats:
    """A score of every pair; NaN also where the curve does not saturate and the score is its hinge."""
    hidden = np.array(trial["censored"], bool) & (score == "hinge")
    return np.where(hidden, np.nan, kept(trial, score))


def measured(trial: Results, score: str) -> Estimate:
    """A score over pairs: the mean of AUDDC and reach, the median of the others."""
    if score == "hinge":
        return hinge_estimate(kept(trial, score), np.array(trial["censored"], bool))
    return estimate(kept(trial, score), statistic="mean" if score in _MEANS else "median")


def between(duel: Results, score: str) -> PairedDifference:
    """VAE minus AE under the latent attack. A hinge that was not reached counts as missing."""
    vae, ae = (uncensored(duel["attacks"][role]["latent"], score) for role in ROLES)
    return paired_difference(vae, ae)


def beside_output(duel: Results, role: str, level: float, key: str = "gap") -> tuple[PairedDifference, float]:
    """Gap, or greyness, under the output attack minus that under the latent one, and the latent one's mean.

    Both at a share of the distortion at which the pair's curve under the latent attack saturates.
    """
    attacks = duel["attacks"][role]
    at = level * kept(attacks["latent"], "hinge")
    output, latent = (gap_at(attacks[name]["distortion"], attacks[name][key], at) for name in ("output", "latent"))
    return paired_difference(output, latent), mean_of(latent)


def mean_of(values: Floats) -> float:
    """Mean of the values that are there; NaN where none is."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else math.nan


def crossings(trial: Results) -> Crossings:
    """The figures of a classifier attack."""
    return crossings_of(*(array(trial[name]) for name in ("distortion", "probability", "logit", "crossing")))


def brief(found: Estimate) -> str:
    """A figure with its interval."""
    return "–" if math.isnan(found.value) else f"{found.value:.3f}{_ends(found, '.3f')}"


def told(found: PairedDifference) -> str:
    """A difference with its interval and test."""
    mean = found.mean
    if math.isnan(mean.value):
        return "–"
    p = f"{found.p:.1e}" if found.p < 1e-3 else f"{found.p:.3f}"
    return f"{mean.value:+.3f}{_ends(mean, '+.3f')}, p = {p}, n = {mean.n}"


def _ends(found: Estimate, form: str) -> str:
    """An interval; nothing where the sample carries none."""
    none = math.isinf(found.low) and math.isinf(found.high)
    return "" if none else f" [{found.low:{form}}, {found.high:{form}}]"
