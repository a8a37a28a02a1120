"""How well local geometry predicts the real attack, in words, the same for every face."""

from __future__ import annotations

import math

import numpy as np

from vaeaudit.report import words
from vaeaudit.report.local import LINEAR, LocalPrediction, LocalStep


def summary(local: LocalPrediction) -> tuple[str, ...]:
    """How far local geometry can be trusted, and what it leaves to better attacks, in two sentences."""
    latent, reconstruction = (
        f"{_budget(step)} ({words.interval(step.breaking_budget, 'images')})"
        for step in (local.latent, local.reconstruction)
    )
    linear = (
        f"Inside the bounds, local geometry predicts a step's displacement to a factor of {LINEAR[0]:g} to "
        f"{LINEAR[1]:g} up to an L2 budget of {latent} for the latent, {reconstruction} for the reconstruction."
    )
    middle = local.compared.size // 2
    untargeted, targeted = local.untargeted[middle].value, local.targeted[middle].value
    attained = (
        f"At {words.setting(local.compared[middle])} the round trip's eigenvector does {words.percent(untargeted)} of "
        f"the damage of the untargeted attack, and the encoder's goes {words.percent(targeted)} of the targeted attack's way."
    )
    return linear, attained


def _budget(step: LocalStep) -> str:
    """The median budget at which linearity breaks, and whether it is a lower bound."""
    kept = ~np.isnan(step.breaks)
    exact = np.where(step.censored, math.inf, step.breaks)[kept]
    bound = kept.any() and np.median(exact) > step.breaking_budget.value * (1 + 1e-9)
    return f"{'at least ' if bound else ''}{words.number(step.breaking_budget.value)}"
