"""What the paper claims, held up to the figures of a run. Everything here is computed from a results file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from examples.papers.claims import Claim
from vaeaudit.statistics import Estimate, estimate

from .comparing import (
    beside_output,
    between,
    brief,
    difference,
    greyer,
    kept,
    measured,
    middle,
    told,
    uncensored,
)
from .crossings import crossings
from .reference import AUTOENCODERS
from .results import Results, array

Verdict = Literal["holds", "does not hold", "not settled"]
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "not settled")
LINEAR = 0.95
"""R2 from which a curve counts as quasi-linear here; the paper names no bar."""
SUDDEN = 0.5
"""A probability that rises from 0.1 to 0.9 within this share of the crossing's distortion counts as sudden here."""
PAPER, NOTES = "the paper", "our notes on its code"


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
        says="Up to the hinge the trade-off is quasi-linear.", source=PAPER,
        verdict=_above([linear["vae"], linear["ae"]], LINEAR),
        shown=_both(linear, f"median R2 of a straight line left of the hinge, against a bar of {LINEAR}"),
    )  # fmt: skip
    hinges = {role: measured(attacks[role]["latent"], "hinge") for role in ("vae", "ae")}
    saturated = [
        f"{role.upper()} {int((np.isfinite(h := uncensored(attacks[role]['latent'], 'hinge')) & (h < 1)).sum())} of "
        f"{int((~np.array(attacks[role]['latent']['excluded'], bool)).sum())} pairs"
        for role in ("vae", "ae")
    ]
    yield Claim(
        says="Curves saturate before X = 1: the target is reached with less than its own distance from the original.",
        source=PAPER, verdict=_below(list(hinges.values()), 1.0),
        shown=_both(hinges, "median hinge") + f"; hinge below 1 at {', '.join(saturated)}",
    )  # fmt: skip
    for score, words in (("hinge", "by the hinge"), ("auddc", "by AUDDC")):
        apart = between(duel, score)
        yield Claim(
            says=f"The VAE is more resistant than the AE {words}.", source=PAPER,
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
        source=NOTES, verdict=_of_sign(apart.sign),
        shown=f"median floor {brief(measured(theirs, 'floor'))} with that divergence{beside}, "
        f"{brief(measured(right, 'floor'))} with the KL; paired difference {told(apart)}",
    )  # fmt: skip
    wide = {attack: array(trial["widening"]) for attack, trial in (("theirs", theirs), ("right", right))}
    yield Claim(
        says="That divergence widens the adversarial posterior, being least at twice the target's standard deviation.",
        source=NOTES, verdict=_of_sign(difference(wide["theirs"], wide["right"]).sign),
        shown=f"median of sigma_a / sigma_t at the least C: {brief(estimate(wide['theirs']))} with that divergence (2 if "
        f"nothing stood against it), {brief(estimate(wide['right']))} with the KL",
    )  # fmt: skip
    ae = duel["attacks"]["ae"]["latent"]
    area = difference(kept(theirs, "auddc"), kept(ae, "auddc"))
    areas = {"of the VAE with that divergence": theirs, "with the KL": right, "of the AE": ae}
    published = {role: figures["auddc"] for role, figures in AUTOENCODERS.get(duel["reference"] or "", {}).items()}
    yield Claim(
        says="Attacked with that divergence, the VAE is more resistant than the AE by AUDDC.", source=NOTES,
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
    grey = greyer(duel, role)
    paths = {
        attack: middle(array(duel["attacks"][role][attack]["disagreement"]), np.median)
        for attack in ("latent", "output")
    }
    return Claim(
        says=f"Attacking the {role.upper()}'s output directly fails where attacking its latents succeeds.",
        source=PAPER, verdict=verdict,
        shown="gap of the output attack minus that of the latent one at equal distortion: "
        + "; ".join(f"{told(apart)} at {level:g} hinges (latent {beside:.3f})" for level, (apart, beside) in found.items())
        + f". The two ends' paths disagree by {paths['output']:.1%} of the objective under the output attack, "
        f"{paths['latent']:.1%} under the latent one (medians). Its reconstructions are greyer by {told(grey)} at 0.5 hinges, "
        "where 0 is black and white and 1 all grey",
    )  # fmt: skip


def _of_classifier(name: str, trial: Results) -> Iterator[Claim]:
    found = crossings(trial)
    yield Claim(
        says=f"On {name.upper()} the wanted class's logit follows the distortion linearly.", source=PAPER,
        verdict=_above([found.logit], LINEAR),
        shown=f"median R2 of a line up to twice the crossing's distortion: {brief(found.logit)}, n = {found.crossed}",
    )  # fmt: skip
    yield Claim(
        says=f"On {name.upper()} its probability does not.", source=PAPER,
        verdict=_of_sign(found.straighter.sign),
        shown=f"median R2 of a line there: {brief(found.probability)}, less than the logit's by {told(found.straighter)}",
    )  # fmt: skip
    yield Claim(
        says=f"On {name.upper()} the probability changes suddenly.", source=PAPER,
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


def _both(found: dict[str, Any], what: str) -> str:
    return f"{what}: " + ", ".join(f"{role.upper()} {brief(value)}" for role, value in found.items())
