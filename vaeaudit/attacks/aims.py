"""What a targeted attack is after: the target's posterior, its image, or its likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from vaeaudit.attacks.goals import LIKELIHOODS, ElboGoal, Goal, LatentGoal, Likelihood, OutputGoal
from vaeaudit.attacks.noise import noise_of
from vaeaudit.attacks.objective import checked_inputs
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import DataError, OptionError
from vaeaudit.latent import Posterior

Aim = Literal["latent", "output", "elbo"]
AIMS: tuple[Aim, ...] = ("latent", "output", "elbo")
EXAMINED = 8
_SLACK = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Aimed:
    """The goal of an attack, and the latent one beside it, which is always measured.

    Attributes:
        aim: what the goal is.
        goal: to be made small.
        latent: the divergence of the posterior from the target's; the goal itself where that is the aim.
        divergence_name: the divergence used.
    """

    aim: Aim
    goal: Goal
    latent: LatentGoal
    divergence_name: str

    def select(self, pairs: Tensor) -> Aimed:
        """The goals of some of the pairs."""
        latent = self.latent.select(pairs)
        return replace(self, latent=latent, goal=latent if self.goal is self.latent else self.goal.select(pairs))


def checked_pairs(ae: Autoencoder, originals: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Originals and targets that can be attacked, see `checked_inputs`.

    Raises:
        DataError: they cannot, or do not match.
    """
    if tuple(originals.shape) != tuple(targets.shape):
        raise DataError(
            f"originals and targets expect one shape (pairs, *event), got {tuple(originals.shape)} and {tuple(targets.shape)}"
        )
    return checked_inputs(ae, originals, "originals"), checked_inputs(ae, targets, "targets")


def aimed(
    ae: Autoencoder, originals: Tensor, targets: Tensor, aim: Aim, divergence: str, *,
    likelihood: Likelihood, samples: int, seed: int,
) -> Aimed:  # fmt: skip
    """The goal of each pair; arguments as for `vaeaudit.attacks.targeted`, the model at rest.

    Raises:
        OptionError: unknown aim, divergence or likelihood, no samples, or one that this model has no use for.
    """
    if aim not in AIMS:
        raise OptionError(f"unknown aim {aim!r}; choose one of {', '.join(AIMS)}")
    ae.examine(targets[:EXAMINED])
    posteriors = ae.posteriors(targets)
    name, delta = divergence_named(divergence, deterministic=posteriors.log_variance is None)
    latent = LatentGoal(autoencoder=ae, originals=originals, posteriors=posteriors, divergence=delta)
    goal: Goal = latent
    if aim == "output":
        goal = OutputGoal(autoencoder=ae, originals=originals, targets=targets)
    elif aim == "elbo":
        _check_elbo(ae, targets, posteriors, likelihood, samples)
        noise = noise_of(originals, posteriors, samples, seed)
        goal = ElboGoal(autoencoder=ae, originals=originals, targets=targets, noise=noise, likelihood=likelihood)
    return Aimed(aim=aim, goal=goal, latent=latent, divergence_name=name)


def _check_elbo(ae: Autoencoder, targets: Tensor, posteriors: Posterior, likelihood: Likelihood, samples: int) -> None:
    if posteriors.log_variance is None:
        raise OptionError("aim 'elbo' needs posterior variances, and this encoder is deterministic; use 'output'")
    if likelihood not in LIKELIHOODS:
        raise OptionError(f"unknown likelihood {likelihood!r}; choose one of {', '.join(LIKELIHOODS)}")
    if samples < 1:
        raise OptionError(f"samples expects at least 1 for aim 'elbo', got {samples}")
    if likelihood == "gaussian":
        return
    values = torch.cat([targets, ae.decode(posteriors.mean[:EXAMINED])]).detach()
    if bool((values < -_SLACK).any() | (values > 1 + _SLACK).any()):
        raise OptionError(
            "likelihood 'bernoulli' needs inputs and reconstructions in [0, 1], and these range over "
            f"[{values.min():g}, {values.max():g}]; use 'gaussian'"
        )
