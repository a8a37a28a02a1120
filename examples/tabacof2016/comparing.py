"""The figures of a run over pairs: estimates, paired differences, and curves at equal distortion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from vaeaudit.statistics import Estimate, estimate
from vaeaudit.tradeoff import hinge_estimate

from .results import Results, array

Floats = NDArray[np.float64]
SCORES = ("hinge", "floor", "slope", "linearity", "auddc")
MEANS = ("auddc", "reach")
LEVELS = (0.25, 0.5, 0.75)
"""Shares of a pair's own hinge under the latent attack at which the output attack is held beside it."""
_FEWEST = 4
_LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean of paired differences with its interval, and the p of Wilcoxon's signed-rank test."""

    mean: Estimate
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out and the test agrees, else 0."""
        return (int(self.mean.low > 0) - int(self.mean.high < 0)) * int(self.p < _LEVEL)


def kept(trial: Results, score: str) -> Floats:
    """A score of every pair, NaN where the pair is excluded or has none."""
    values = array(trial[score])
    return np.where(np.array(trial["excluded"], bool), np.nan, values)


def measured(trial: Results, score: str) -> Estimate:
    """A score over pairs: the mean of AUDDC, the median of the others."""
    values = kept(trial, score)
    if score == "hinge":
        return hinge_estimate(values, np.array(trial["censored"], bool))
    return estimate(values, statistic="mean" if score in MEANS else "median")


def difference(first: Floats, second: Floats) -> Difference:
    """First minus second, over the pairs that have both."""
    apart = (first - second)[np.isfinite(first) & np.isfinite(second)]
    p = 1.0 if len(apart) else math.nan
    if len(apart) >= _FEWEST and apart.any():
        p = float(scipy.stats.wilcoxon(apart).pvalue)
    return Difference(mean=estimate(apart, statistic="mean"), p=p)


def between(duel: Results, score: str) -> Difference:
    """VAE minus AE under the latent attack. A hinge that was not reached counts as missing."""
    vae, ae = (uncensored(duel["attacks"][role]["latent"], score) for role in ("vae", "ae"))
    return difference(vae, ae)


def uncensored(trial: Results, score: str) -> Floats:
    """A score of every pair; NaN also where the curve does not saturate and the score is its hinge."""
    values = kept(trial, score)
    return np.where(np.array(trial["censored"], bool), np.nan, values) if score == "hinge" else values


def middle(values: Floats, of: Callable[[Floats], Any]) -> float:
    """Mean or median of the values that are there; NaN where none is."""
    there = values[np.isfinite(values)]
    return float(of(there)) if there.size else math.nan


def gaps_at(trial: Results, distortion: Floats, key: str = "gap") -> Floats:
    """Y of each pair at a distortion of its own, by straight lines between the points of its curve, `(pairs,)`.

    Another key takes another curve over the same distortions.
    """
    rows = []
    for x, y, at in zip(array(trial["distortion"]), array(trial[key]), distortion, strict=True):
        order = np.argsort(x, kind="stable")
        usable = np.isfinite(y).all() and np.isfinite(at)
        rows.append(np.interp(at, x[order], y[order]) if usable else np.nan)
    return np.array(rows)


def beside_output(duel: Results, role: str) -> dict[float, tuple[Difference, float]]:
    """By level: gap of the output attack minus that of the latent one, and the latent one's mean gap."""
    latent, output = (duel["attacks"][role][attack] for attack in ("latent", "output"))
    found = {}
    for level in LEVELS:
        at = level * kept(latent, "hinge")
        beside = gaps_at(latent, at)
        found[level] = (difference(gaps_at(output, at), beside), middle(beside, np.mean))
    return found


def greyer(duel: Results, role: str) -> Difference:
    """How much greyer the output attack's reconstructions are than the latent one's at half of its hinge."""
    latent, output = (duel["attacks"][role][attack] for attack in ("latent", "output"))
    at = LEVELS[1] * kept(latent, "hinge")
    return difference(gaps_at(output, at, "grey"), gaps_at(latent, at, "grey"))


def brief(found: Estimate) -> str:
    """A figure with its interval."""
    if math.isnan(found.value):
        return "–"
    return f"{found.value:.3f}{_ends(found.low, found.high, '.3f')}"


def told(found: Difference) -> str:
    """A difference with its interval and test."""
    if math.isnan(found.mean.value):
        return "–"
    p = "–" if math.isnan(found.p) else f"{found.p:.1e}" if found.p < 1e-3 else f"{found.p:.3f}"
    return f"{found.mean.value:+.3f}{_ends(found.mean.low, found.mean.high, '+.3f')}, p = {p}, n = {found.mean.n}"


def _ends(low: float, high: float, form: str) -> str:
    """An interval; nothing where the sample carries none."""
    return "" if math.isinf(low) and math.isinf(high) else f" [{low:{form}}, {high:{form}}]"
