"""What the paper claims, held up to the figures of a run. Everything here is computed from a results file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from examples.papers.claims import Claim
from vaeaudit import Estimate, paired_difference
from vaeaudit.statistics import estimate

from .comparing import LEVELS, ROLES, beside_output, between, brief, crossings, kept, measured, told, uncensored
from .reference import AUTOENCODERS
from .study import Results, array

LINEAR = 0.95
"""R2 from which a curve counts as quasi-linear here; the paper names no bar."""
SUDDEN = 0.5
"""A probability that rises from 0.1 to 0.9 within this share of the crossing's distortion counts as sudden here."""
PAPER, NOTES = "the paper", "our notes on its code"
VERDICTS = ("holds", "does not hold", "not settled")
_OF_SIGN = {1: "holds", -1: "does not hold", 0: "not settled"}


def claims(results: Results) -> dict[str, list[Claim]]:
    """Every claim that can be held up to these results, by duel, and "classifiers"."""
    found = {name: list(_of_duel(name, duel)) for name, duel in results["duels"].items()}
    classified = results["classifiers"].items()
    return found | {"classifiers": [claim for name, trial in classified for claim in _of_classifier(name, trial)]}


def _of_duel(name: str, duel: Results) -> Iterator[Claim]:
    latent = {role: duel["attacks"][role]["latent"] for role in ROLES}
    linear, hinges = ({role: measured(latent[role], score) for role in ROLES} for score in ("linearity", "hinge"))
    yield Claim(
        says="Up to the hinge the trade-off is quasi-linear.", source=PAPER, verdict=_of_bar(linear.values(), LINEAR, 1),
        shown=f"median R2 of a straight line left of the hinge, against a bar of {LINEAR}: {_both(linear)}",
    )  # fmt: skip
    saturated = [
        f"{role.upper()} {int((uncensored(trial, 'hinge') < 1).sum())} of {trial['excluded'].count(False)} pairs"
        for role, trial in latent.items()
    ]
    yield Claim(
        says="Curves saturate before X = 1: the target is reached with less than its own distance from the original.",
        source=PAPER, verdict=_of_bar(hinges.values(), 1.0, -1),
        shown=f"median hinge: {_both(hinges)}; hinge below 1 at {', '.join(saturated)}",
    )  # fmt: skip
    for score, words in (("hinge", "by the hinge"), ("auddc", "by AUDDC")):
        apart = between(duel, score)
        yield Claim(
            says=f"The VAE is more resistant than the AE {words}.", source=PAPER,
            verdict=_OF_SIGN[apart.sign], shown=f"VAE − AE = {told(apart)}",
        )  # fmt: skip
    if "kl_tabacof2016" in duel["attacks"]["vae"]:
        yield from _of_divergence(name, duel)
    yield from (_of_output(duel, role) for role in ROLES if "output" in duel["attacks"][role])


def _of_divergence(name: str, duel: Results) -> Iterator[Claim]:
    """What the divergence that the paper's code minimised does to the VAE."""
    right, theirs = (duel["attacks"]["vae"][attack] for attack in ("latent", "kl_tabacof2016"))
    ae, published = duel["attacks"]["ae"]["latent"], AUTOENCODERS.get(name, {})
    floor = paired_difference(kept(theirs, "floor"), kept(right, "floor"))
    known = f" (the paper's own curves: {published['vae']['floor']:.3f})" if published else ""
    yield Claim(
        says="The VAE's floor comes from the divergence that the paper's code minimised in the place of the KL.",
        source=NOTES, verdict=_OF_SIGN[floor.sign],
        shown=f"median floor {brief(measured(theirs, 'floor'))} with that divergence{known}, "
        f"{brief(measured(right, 'floor'))} with the KL; paired difference {told(floor)}",
    )  # fmt: skip
    wide, plain = (array(trial["widening"]) for trial in (theirs, right))
    yield Claim(
        says="That divergence widens the adversarial posterior, being least at twice the target's standard deviation.",
        source=NOTES, verdict=_OF_SIGN[paired_difference(wide, plain).sign],
        shown=f"median of sigma_a / sigma_t at the least C: {brief(estimate(wide))} with that divergence (2 if "
        f"nothing stood against it), {brief(estimate(plain))} with the KL",
    )  # fmt: skip
    area = paired_difference(kept(theirs, "auddc"), kept(ae, "auddc"))
    areas = {"of the VAE with that divergence": theirs, "with the KL": right, "of the AE": ae}
    known = ", ".join(f"{role.upper()} {figures['auddc']:.3f}" for role, figures in published.items())
    yield Claim(
        says="Attacked with that divergence, the VAE is more resistant than the AE by AUDDC.", source=NOTES,
        verdict=_OF_SIGN[area.sign],
        shown=f"VAE − AE = {told(area)}; AUDDC "
        + ", ".join(f"{words} {brief(measured(trial, 'auddc'))}" for words, trial in areas.items())
        + (f" (the paper's own curves: {known})" if known else ""),
    )  # fmt: skip


def _of_output(duel: Results, role: str) -> Claim:
    found = {level: beside_output(duel, role, level) for level in LEVELS}
    signs = {apart.sign for apart, _ in found.values()}
    grey, _ = beside_output(duel, role, LEVELS[1], "grey")
    attacks = duel["attacks"][role]
    paths = {attack: np.nanmedian(array(attacks[attack]["disagreement"])) for attack in ("latent", "output")}
    return Claim(
        says=f"Attacking the {role.upper()}'s output directly fails where attacking its latents succeeds.", source=PAPER,
        verdict=_OF_SIGN[1 if signs == {1} else -1 if -1 in signs and 1 not in signs else 0],
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
        verdict=_of_bar([found.logit], LINEAR, 1),
        shown=f"median R2 of a line up to twice the crossing's distortion: {brief(found.logit)}, n = {found.crossed}",
    )  # fmt: skip
    yield Claim(
        says=f"On {name.upper()} its probability does not.", source=PAPER, verdict=_OF_SIGN[found.straighter.sign],
        shown=f"median R2 of a line there: {brief(found.probability)}, less than the logit's by {told(found.straighter)}",
    )  # fmt: skip
    yield Claim(
        says=f"On {name.upper()} the probability changes suddenly.", source=PAPER,
        verdict=_of_bar([found.width], SUDDEN, -1),
        shown=f"it rises from 0.1 to 0.9 within {brief(found.width)} of the crossing's distortion, against a bar of {SUDDEN}; "
        f"the crossing lies at {brief(found.crossing)}",
    )  # fmt: skip


def _of_bar(estimates: Iterable[Estimate], bar: float, way: int) -> str:
    """Whether all intervals lie above a bar (way 1) or below it (-1); it does not hold if one lies beyond."""
    ends = [sorted((way * (one.low - bar), way * (one.high - bar))) for one in estimates]
    if all(low >= 0 for low, _ in ends):
        return "holds"
    return "does not hold" if any(high < 0 for _, high in ends) else "not settled"


def _both(found: Mapping[str, Estimate]) -> str:
    return ", ".join(f"{role.upper()} {brief(value)}" for role, value in found.items())
