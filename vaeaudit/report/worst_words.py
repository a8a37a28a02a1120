"""The worst case over all attacks in words and in rows of tables, the same for every face."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vaeaudit.report import words
from vaeaudit.report.worst_case import AttackEffects, AttackFamily, WorstCase
from vaeaudit.statistics import Estimate

FAMILIES = {
    "worst_damage": "Damage, L2",
    "worst_gap": "Gap, L2",
    "worst_damage_linf": "Damage, L∞",
    "worst_gap_linf": "Gap, L∞",
}
"""In reading order."""
FROM_OTHERS = "_from_the_others"
"""How attacks are called that start from what the others found."""
EFFECTS = {
    "amplification": "Amplification",
    "ms_ssim_inputs": "MS-SSIM of inputs",
    "ms_ssim_reconstructions": "MS-SSIM of reconstructions",
    "likelihood_drop": "Log-likelihood lost",
    "deviance_ratio": "Deviance, of clean",
    "elbo_drop": "ELBO lost",
    "r_robust_share": "Share within r",
    "latent_class_kept": "Class of latent kept",
    "latent_class_right": "Class of latent right",
    "reconstruction_class_kept": "Class of reconstruction kept",
    "reconstruction_class_right": "Class of reconstruction right",
}


def budget_rows(worst: WorstCase) -> Iterator[tuple[str, str, list[tuple[str, Estimate]]]]:
    """Budgets in both norms, each with every family's score and its worst case there."""
    families = worst.families()
    for place, (radius, small) in enumerate(zip(worst.damage.radii, worst.damage_linf.radii, strict=True)):
        figures = [(score, families[score].estimates[place]) for score in FAMILIES]
        yield words.setting(radius), words.setting(small), figures


def effect_rows(effects: AttackEffects) -> Iterator[tuple[str, str, tuple[Estimate, ...]]]:
    """What was measured of the worst attacked images: its label, its unit, and its figure at each budget."""
    for name, label in EFFECTS.items():
        if name in effects.estimates:
            estimates = effects.estimates[name]
            yield label, estimates[0].unit, estimates


def attack_rows(family: AttackFamily) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Attacks, each with its own figure over the rows and the share of them at which it is the worst, by budget."""
    average = np.nanmean if family.kind == "damage" else np.nanmedian
    known = family.figures[:, np.isfinite(family.figures).all((0, 2))]
    for attack, figures, shares in zip(family.attacks, known, family.shares, strict=True):
        middle = average(figures, axis=0) if len(figures) else np.full(family.radii.size, np.nan)
        yield attack, list(zip(middle.tolist(), shares.tolist(), strict=True))


def summary(worst: WorstCase) -> tuple[str, ...]:
    """What the attacks together come to, and which of them it takes, in a few sentences."""
    return (_damage(worst.damage), _gap(worst.gap), _margin(worst.effects))


def _damage(family: AttackFamily) -> str:
    place = family.middle
    return (
        f"Inside an L2 ball of {words.setting(family.radii[place])}, the worst of {len(family.attacks)} attacks moves a "
        f"reconstruction by {words.number(family.estimates[place].value)} "
        f"({words.interval(family.estimates[place], 'images')}){_strongest(family)}."
    )


def _gap(family: AttackFamily) -> str:
    place = family.middle
    left = family.estimates[place].value
    if np.isnan(left):
        return "No pair could be read under the targeted attacks."
    return (
        f"The worst of {len(family.attacks)} targeted attacks leaves {words.number(100 * left)} % of the gap to the "
        f"target{_strongest(family)}."
    )


def _strongest(family: AttackFamily) -> str:
    """Which of the attacks that rest on no other comes closest to the worst of all most often."""
    shares = {
        attack: share
        for attack, share in zip(family.attacks, family.shares[:, family.middle], strict=True)
        if not attack.endswith(FROM_OTHERS)
    }
    best = max(shares, key=lambda attack: shares[attack])
    if not shares[best] > 0:
        return ""
    each = "images" if family.kind == "damage" else "pairs"
    often = words.percent(shares[best])
    return f"; by itself {words.clean(best)} comes within 0.1 % of that most often ({often} of the {each})"


def _margin(effects: AttackEffects) -> str:
    bound = float(np.median(np.where(effects.unbroken, np.inf, effects.broke)))
    further = f"further than {words.number(effects.r)} from the clean one, more often than not"
    if np.isinf(bound):
        return (
            f"At most images no attack up to an L2 budget of {words.setting(effects.radii[-1])} surely moves the "
            f"reconstruction {further}; a better one may."
        )
    return (
        f"To move the reconstruction {further}, these attacks need an L2 budget of {words.number(bound)} (median over "
        f"images); a better one may need less."
    )


def refused(effects: AttackEffects) -> Iterator[tuple[str, str]]:
    """What was not measured, those for one reason together, and that reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in effects.refusals.items():
        reasons.setdefault(reason, []).append(EFFECTS.get(name, name))
    for reason, labels in reasons.items():
        yield ", ".join(labels), reason
