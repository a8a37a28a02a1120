"""Every attack inside a ball by its name, in the order in which an audit tries them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from torch import Tensor

from vaeaudit.attacks.balls import Norm
from vaeaudit.attacks.damage import maximum_damage
from vaeaudit.attacks.latent_damage import latent_damage
from vaeaudit.attacks.measuring import BallAttack
from vaeaudit.attacks.targeted_ball import TargetedInBall, targeted_ball
from vaeaudit.autoencoder import Autoencoder

SAMPLES = 8
"""Posterior samples of the attacks that sample."""


class Untargeted(Protocol):
    """Away from what the model makes of an image."""

    def __call__(
        self, ae: Autoencoder, images: Tensor, radius: float | Sequence[float], norm: Norm, /, *,
        steps: int, restarts: int, seed: int, starts: Tensor | None,
    ) -> BallAttack:  # fmt: skip
        """See `maximum_damage` and `latent_damage`; without `starts`, leading eigenvectors are tried."""


class Targeted(Protocol):
    """Towards what the model makes of a target."""

    def __call__(
        self, ae: Autoencoder, originals: Tensor, targets: Tensor, radius: float | Sequence[float], norm: Norm, /, *,
        steps: int, restarts: int, seed: int, starts: Tensor | None,
    ) -> TargetedInBall:  # fmt: skip
        """See `targeted_ball`; `starts` come beside the original and the way to the target."""


UNTARGETED: dict[str, Untargeted] = {
    "maximum_damage": maximum_damage,
    "maximum_damage_sampled": partial(maximum_damage, samples=SAMPLES),
    "latent_mean_l2": partial(latent_damage, divergence="mean_l2"),
    "latent_kl": partial(latent_damage, divergence="kl"),
    "latent_kl_reverse": partial(latent_damage, divergence="kl_reverse"),
    "latent_symmetric_kl": partial(latent_damage, divergence="symmetric_kl"),
    "latent_wasserstein": partial(latent_damage, divergence="wasserstein"),
}
TARGETED_IN_BALL: dict[str, Targeted] = {
    "target_output": partial(targeted_ball, aim="output", divergence="mean_l2"),
    "target_mean_l2": partial(targeted_ball, divergence="mean_l2"),
    "target_kl": partial(targeted_ball, divergence="kl"),
    "target_kl_reverse": partial(targeted_ball, divergence="kl_reverse"),
    "target_symmetric_kl": partial(targeted_ball, divergence="symmetric_kl"),
    "target_wasserstein": partial(targeted_ball, divergence="wasserstein"),
    "target_elbo": partial(targeted_ball, aim="elbo", divergence="kl", samples=SAMPLES),
}
FOR_POSTERIORS = frozenset(
    {
        "maximum_damage_sampled", "latent_kl", "latent_kl_reverse", "latent_symmetric_kl", "latent_wasserstein",
        "target_kl", "target_kl_reverse", "target_symmetric_kl", "target_wasserstein", "target_elbo",
    }
)  # fmt: skip
"""Attacks that for a deterministic code are another one over again, or not defined."""


def untargeted_attacks(*, deterministic: bool) -> dict[str, Untargeted]:
    """The attacks of `UNTARGETED` that differ from one another for such a code."""
    return {name: attack for name, attack in UNTARGETED.items() if not (deterministic and name in FOR_POSTERIORS)}


def targeted_attacks(*, deterministic: bool) -> dict[str, Targeted]:
    """The attacks of `TARGETED_IN_BALL` that differ from one another for such a code."""
    return {name: attack for name, attack in TARGETED_IN_BALL.items() if not (deterministic and name in FOR_POSTERIORS)}
