"""What the paper claims, held up to the figures of a run. Everything here is computed from a results file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from vaeaudit.statistics import Estimate, estimate
from vaeaudit.tradeoff import hinge_estimate

from .reference import AUTOENCODERS
from .results import Results, array

Floats = NDArray[np.float64]
Verdict = Literal["holds", "does not hold", "not settled"]
SCORES = ("hinge", "floor", "slope", "linearity", "auddc")
MEANS = ("auddc", "reach")
LINEAR = 0.95
"""R2 from which a curve counts as quasi-linear here; the paper names no bar."""
SUDDEN = 0.5
"""A probability that rises from 0.1 to 0.9 within this share of the crossing's distortion counts as sudden here."""
LEVELS = (0.25, 0.5, 0.75)
"""Shares of a pair's own hinge under the latent attack at which the output attack is held beside it."""
_FEWEST = 4
_RESAMPLES = 4000
_ROUNDING = 1e-9
_LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean of paired differences, its 95 % bootstrap interval (BCa), and the p of Wilcoxon's signed-rank test."""

    value: float
    low: float
    high: float
    p: float
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out and the test agrees, else 0."""
        return (int(self.low > 0) - int(self.high < 0)) * int(self.p < _LEVEL)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, what it is judged by, and what came of it.

    Attributes:
        says: the claim.
        source: whose it is: the paper's, or this project's definitions.
        verdict: what the figures make of it.
        shown: these figures.
    """

    says: str
    source: str
    verdict: Verdict
    shown: str


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
    n = len(apart)
    if n < _FEWEST:
        return Difference(value=float(apart.mean()) if n else math.nan, low=-math.inf, high=math.inf, p=math.nan, n=n)
    if np.ptp(apart) <= _ROUNDING * np.abs(apart).max():
        same = float(apart[0])
        return Difference(value=same, low=same, high=same, p=1.0 if same == 0 else 2.0 ** (1 - n), n=n)
    found = scipy.stats.bootstrap(
        (apart,), np.mean, n_resamples=_RESAMPLES, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    return Difference(
        value=float(apart.mean()), low=float(found.low), high=float(found.high),
        p=float(scipy.stats.wilcoxon(apart).pvalue), n=n,
    )  # fmt: skip


def between(duel: Results, score: str) -> Difference:
    """VAE minus AE under the latent attack. A hinge that was not reached counts as missing."""
    vae, ae = (_uncensored(duel["attacks"][role]["latent"], score) for role in ("vae", "ae"))
    return difference(vae, ae)


def _uncensored(trial: Results, score: str) -> Floats:
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


def _greyer(duel: Results, role: str) -> Difference:
    """How much greyer the output attack's reconstructions are than the latent one's at half of its hinge."""
    latent, output = (duel["attacks"][role][attack] for attack in ("latent", "output"))
    at = LEVELS[1] * kept(latent, "hinge")
    return difference(gaps_at(output, at, "grey"), gaps_at(latent, at, "grey"))


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """A classifier's curves around the distortion at which the wanted class begins to win.

    Attributes:
        crossed: images whose wanted class ever wins.
        crossing: least distortion at which it does, median over these.
        logit, probability: R2 of a straight line from no distortion to twice the crossing's, median over images.
        straighter: R2 of the logit minus that of the probability.
        width: distance over which the probability rises from 0.1 to 0.9, as a share of the crossing's distortion.
        first_losing: what the paper's code printed, mean over images.
    """

    crossed: int
    crossing: Estimate
    logit: Estimate
    probability: Estimate
    straighter: Difference
    width: Estimate
    first_losing: Estimate


def crossings(trial: Results) -> Crossings:
    """The figures of a classifier attack."""
    x, logit, probability = (array(trial[name]) for name in ("distortion", "logit", "probability"))
    crossing = array(trial["crossing"])
    has = np.isfinite(crossing) & (crossing > 0)
    near = np.abs(x - crossing[:, None]) <= crossing[:, None]
    lines = np.array([
        (_line_r_squared(a[m], b[m]), _line_r_squared(a[m], c[m])) if ok else (np.nan, np.nan)
        for a, b, c, m, ok in zip(x, logit, probability, near, has, strict=True)
    ]).reshape(-1, 2)  # fmt: skip
    widths = np.array([_rise(a, b) if ok else np.nan for a, b, ok in zip(x, logit, has, strict=True)])
    return Crossings(
        crossed=int(has.sum()), crossing=estimate(np.where(has, crossing, np.nan)), logit=estimate(lines[:, 0]),
        probability=estimate(lines[:, 1]),
        straighter=difference(lines[:, 0], lines[:, 1]), width=estimate(widths / np.where(has, crossing, np.nan)),
        first_losing=estimate(array(trial["first_losing"]), statistic="mean"),
    )  # fmt: skip


def _line_r_squared(x: Floats, y: Floats) -> float:
    if len(x) < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(scipy.stats.linregress(x, y).rvalue ** 2)


def _rise(x: Floats, logit: Floats) -> float:
    """Distance between logits of 0.1 and of 0.9, by straight lines between points."""
    order = np.argsort(x, kind="stable")
    ends = np.log([1 / 9, 9.0])
    rising = np.maximum.accumulate(logit[order])
    if rising[0] > ends[0] or rising[-1] < ends[1]:
        return math.nan
    low, high = np.interp(ends, rising, x[order])
    return float(high - low)


def claims(results: Results) -> dict[str, list[Claim]]:
    """Every claim that can be held up to these results, by duel, and "classifiers"."""
    found = {name: list(_of_duel(duel)) for name, duel in results["duels"].items()}
    found["classifiers"] = [
        claim for name, trial in results["classifiers"].items() for claim in _of_classifier(name, trial)
    ]
    return found


def _of_duel(duel: Results) -> Iterator[Claim]:
    attacks = duel["attacks"]
    linear = {role: measured(attacks[role]["latent"], "linearity") for role in ("vae", "ae")}
    yield Claim(
        says="Up to the hinge the trade-off is quasi-linear.", source="the paper",
        verdict=_above([linear["vae"], linear["ae"]], LINEAR),
        shown=_both(linear, f"median R2 of a straight line left of the hinge, against a bar of {LINEAR}"),
    )  # fmt: skip
    hinges = {role: measured(attacks[role]["latent"], "hinge") for role in ("vae", "ae")}
    saturated = [
        f"{role.upper()} {int((np.isfinite(h := _uncensored(attacks[role]['latent'], 'hinge')) & (h < 1)).sum())} of "
        f"{int((~np.array(attacks[role]['latent']['excluded'], bool)).sum())} pairs"
        for role in ("vae", "ae")
    ]
    yield Claim(
        says="Curves saturate before X = 1: the target is reached with less than its own distance from the original.",
        source="the paper", verdict=_below(list(hinges.values()), 1.0),
        shown=_both(hinges, "median hinge") + f"; hinge below 1 at {', '.join(saturated)}",
    )  # fmt: skip
    for score, words in (("hinge", "by the hinge"), ("auddc", "by AUDDC")):
        apart = between(duel, score)
        yield Claim(
            says=f"The VAE is more resistant than the AE {words}.", source="the paper",
            verdict=_of_sign(apart.sign), shown=f"VAE − AE = {told(apart)}",
        )  # fmt: skip
    if "kl_tabacof2016" in attacks["vae"]:
        yield from _floor(duel)
    for role in ("vae", "ae"):
        if "output" in attacks[role]:
            yield _output(duel, role)


def _floor(duel: Results) -> Iterator[Claim]:
    right, theirs = (duel["attacks"]["vae"][attack] for attack in ("latent", "kl_tabacof2016"))
    apart = difference(kept(theirs, "floor"), kept(right, "floor"))
    known = AUTOENCODERS.get(duel["reference"] or "", {}).get("vae", {}).get("floor")
    beside = "" if known is None else f" (the paper's own curves: {known:.3f})"
    yield Claim(
        says="The VAE's floor comes from the divergence that the paper's code minimised in the place of the KL.",
        source="definitions, 2.2", verdict=_of_sign(apart.sign),
        shown=f"median floor {brief(measured(theirs, 'floor'))} with that divergence{beside}, "
        f"{brief(measured(right, 'floor'))} with the KL; paired difference {told(apart)}",
    )  # fmt: skip
    wide = {attack: array(trial["widening"]) for attack, trial in (("theirs", theirs), ("right", right))}
    yield Claim(
        says="That divergence widens the adversarial posterior, being least at twice the target's standard deviation.",
        source="definitions, 2.2", verdict=_of_sign(difference(wide["theirs"], wide["right"]).sign),
        shown=f"median of sigma_a / sigma_t at the least C: {brief(estimate(wide['theirs']))} with that divergence (2 if "
        f"nothing stood against it), {brief(estimate(wide['right']))} with the KL",
    )  # fmt: skip
    ae = duel["attacks"]["ae"]["latent"]
    area = difference(kept(theirs, "auddc"), kept(ae, "auddc"))
    areas = {"of the VAE with that divergence": theirs, "with the KL": right, "of the AE": ae}
    published = {role: figures["auddc"] for role, figures in AUTOENCODERS.get(duel["reference"] or "", {}).items()}
    yield Claim(
        says="Attacked with that divergence, the VAE is more resistant than the AE by AUDDC.", source="definitions, 2.7",
        verdict=_of_sign(area.sign),
        shown=f"VAE − AE = {told(area)}; AUDDC "
        + ", ".join(f"{words} {brief(measured(trial, 'auddc'))}" for words, trial in areas.items())
        + (f" (the paper's own curves: VAE {published['vae']:.3f}, AE {published['ae']:.3f})" if published else ""),
    )  # fmt: skip


def _output(duel: Results, role: str) -> Claim:
    found = beside_output(duel, role)
    signs = {apart.sign for apart, _ in found.values()}
    verdict: Verdict = (
        "holds" if signs == {1} else "does not hold" if signs <= {-1, 0} and -1 in signs else "not settled"
    )
    grey = _greyer(duel, role)
    paths = {
        attack: middle(array(duel["attacks"][role][attack]["disagreement"]), np.median)
        for attack in ("latent", "output")
    }
    return Claim(
        says=f"Attacking the {role.upper()}'s output directly fails where attacking its latents succeeds.",
        source="the paper", verdict=verdict,
        shown="gap of the output attack minus that of the latent one at equal distortion: "
        + "; ".join(f"{told(apart)} at {level:g} hinges (latent {beside:.3f})" for level, (apart, beside) in found.items())
        + f". The two ends' paths disagree by {paths['output']:.1%} of the objective under the output attack, "
        f"{paths['latent']:.1%} under the latent one (medians). Its reconstructions are greyer by {told(grey)} at 0.5 hinges, "
        "where 0 is black and white and 1 all grey",
    )  # fmt: skip


def _of_classifier(name: str, trial: Results) -> Iterator[Claim]:
    found = crossings(trial)
    yield Claim(
        says=f"On {name.upper()} the wanted class's logit follows the distortion linearly.", source="the paper",
        verdict=_above([found.logit], LINEAR),
        shown=f"median R2 of a line up to twice the crossing's distortion: {brief(found.logit)}, n = {found.crossed}",
    )  # fmt: skip
    yield Claim(
        says=f"On {name.upper()} its probability does not.", source="the paper",
        verdict=_of_sign(found.straighter.sign),
        shown=f"median R2 of a line there: {brief(found.probability)}, less than the logit's by {told(found.straighter)}",
    )  # fmt: skip
    yield Claim(
        says=f"On {name.upper()} the probability changes suddenly.", source="the paper",
        verdict=_below([found.width], SUDDEN),
        shown=f"it rises from 0.1 to 0.9 within {brief(found.width)} of the crossing's distortion, against a bar of {SUDDEN}; "
        f"the crossing lies at {brief(found.crossing)}",
    )  # fmt: skip


def _above(estimates: list[Estimate], bar: float) -> Verdict:
    if all(e.low >= bar for e in estimates):
        return "holds"
    return "does not hold" if any(e.high < bar for e in estimates) else "not settled"


def _below(estimates: list[Estimate], bar: float) -> Verdict:
    if all(e.high <= bar for e in estimates):
        return "holds"
    return "does not hold" if any(e.low > bar for e in estimates) else "not settled"


def _of_sign(sign: int) -> Verdict:
    verdicts: dict[int, Verdict] = {1: "holds", 0: "not settled", -1: "does not hold"}
    return verdicts[sign]


def brief(found: Estimate) -> str:
    """A figure with its interval."""
    if math.isnan(found.value):
        return "–"
    return f"{found.value:.3f}{_ends(found.low, found.high, '.3f')}"


def told(found: Difference) -> str:
    """A difference with its interval and test."""
    if math.isnan(found.value):
        return "–"
    p = "–" if math.isnan(found.p) else f"{found.p:.1e}" if found.p < 1e-3 else f"{found.p:.3f}"
    return f"{found.value:+.3f}{_ends(found.low, found.high, '+.3f')}, p = {p}, n = {found.n}"


def _ends(low: float, high: float, form: str) -> str:
    """An interval; nothing where the sample carries none."""
    return "" if math.isinf(low) and math.isinf(high) else f" [{low:{form}}, {high:{form}}]"


def _both(found: dict[str, Any], what: str) -> str:
    return f"{what}: " + ", ".join(f"{role.upper()} {brief(value)}" for role, value in found.items())
