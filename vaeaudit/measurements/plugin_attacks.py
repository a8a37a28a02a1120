"""Attacks of plugins inside balls: run budget by budget, looked at, and measured as the library's own are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import extensions, health
from vaeaudit.attacks.balls import Norm
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.extensions import Plugin
from vaeaudit.guarding import untouched
from vaeaudit.hookspecs import Aim, Attack

_LEEWAY = 1e-4
"""Of a radius, and of the range of inputs: what float32 loses when a distortion is added to an image and taken off again."""
_WORDS = ("no image of the right shape", "NaN or infinite", "outside the ball", "outside the bounds")
FAULTS = len(_WORDS)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a plugin's attack came to; a row that cannot be believed counts as not attacked.

    Attributes:
        adversarial: `(rows, budgets, *event)`.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, `(rows, budgets)`.
        non_finite: whether the model broke down at what the attack found, `(rows, budgets)`.
        faults: whether it was at fault in each of the ways there are, `(rows, faults)`.
    """

    adversarial: Tensor
    displacement: Tensor
    non_finite: Tensor
    faults: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class PluginAttack:
    """An attack of a plugin.

    Attributes:
        plugin: whose.
        attack: which.
    """

    plugin: Plugin
    attack: Attack

    @property
    def name(self) -> str:
        """By which reports show it."""
        return self.plugin.named(self.attack)

    def __call__(
        self, ae: Autoencoder, given: Sequence[Tensor], radii: Sequence[float], norm: Norm, **effort: Any
    ) -> Outcome:
        """Attack at every budget.

        Args:
            ae: the model, at rest.
            given: images, and where it is targeted, targets, `(rows, *event)` each.
            radii: budgets.
            norm: of the balls.
            **effort: steps, restarts and seed.

        Raises:
            PluginError: it failed, or left the model changed.
        """
        images, found, faults = given[0], [], []
        for radius in radii:
            with (
                self.plugin.blamed(f"its attack {self.name} ran"),
                untouched(ae.found, effort["seed"]),
            ):
                copies = [one.clone() for one in given]
                returned = self.attack.run(ae, *copies, radius, norm, **effort)
            adversarial, wrong = _believed(returned, images, radius, norm, ae.bounds)
            found.append(adversarial)
            faults.append(wrong)
        adversarial = torch.stack(found, 1)
        after = ae.reconstructions(adversarial.flatten(0, 1)).reshape(len(images), len(radii), -1)
        moved = (after - ae.reconstructions(images).flatten(1)[:, None]).double().norm(dim=2)
        return Outcome(
            adversarial=adversarial,
            displacement=moved,
            non_finite=~moved.isfinite(),
            faults=np.logical_or.reduce(faults),
        )


def plugin_attacks(aim: Aim, norm: Norm) -> list[PluginAttack]:
    """Attacks of all plugins with this aim, inside such balls."""
    return [PluginAttack(plugin=plugin, attack=attack) for plugin, attack in extensions.active().attacks(aim, norm)]


def faults_of(found: Sequence[Outcome], rows: int) -> NDArray[np.bool_]:
    """Of several attacks, `(rows, attacks, faults)`."""
    return np.stack([one.faults for one in found], 1) if found else np.zeros((rows, 0, FAULTS), dtype=bool)


def findings_of_faults(family: Sequence[PluginAttack], faults: NDArray[np.bool_], score: str) -> list[health.Finding]:
    """An INVALID finding for each attack that was at fault at any row.

    Args:
        family: the attacks.
        faults: `(rows, attacks, faults)`.
        score: the family's, which the finding affects.
    """
    findings = []
    for place, attack in enumerate(family):
        here = faults[:, place]
        if here.any():
            told = ", ".join(f"{word} at {count}" for word, count in zip(_WORDS, here.sum(0), strict=True) if count)
            findings.append(health.finding_plugin_attack(str(attack.plugin), attack.name, told, len(here), score))
    return findings


def _believed(
    returned: Any, images: Tensor, radius: float, norm: Norm, bounds: tuple[float, float]
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Attacked images, the clean ones in place of what cannot be believed, and what was wrong, `(rows, faults)`."""
    faults = torch.zeros(len(images), FAULTS, dtype=torch.bool, device=images.device)
    if not _may_be_images(returned, images):
        faults[:, 0] = True
        return images, faults.cpu().numpy()
    adversarial = returned.detach().to(images)
    flat = (adversarial - images).flatten(1).double()
    length = flat.norm(dim=1) if norm == "l2" else flat.abs().amax(1)
    span = bounds[1] - bounds[0] if np.isfinite(bounds[1] - bounds[0]) else 1.0
    outside = (adversarial < bounds[0] - _LEEWAY * span) | (adversarial > bounds[1] + _LEEWAY * span)
    faults[:, 1] = ~adversarial.flatten(1).isfinite().all(1)
    faults[:, 2] = length > radius * (1 + _LEEWAY)
    faults[:, 3] = outside.flatten(1).any(1)
    keep = ~faults.any(1).view(-1, *[1] * (images.ndim - 1))
    return torch.where(keep, adversarial, images).clamp(*bounds), faults.cpu().numpy()


def _may_be_images(returned: Any, images: Tensor) -> bool:
    """Whether it is a dense tensor of floating-point numbers, of the right shape."""
    if not isinstance(returned, Tensor) or returned.shape != images.shape or returned.is_meta:
        return False
    return returned.is_floating_point() and returned.layout == torch.strided
