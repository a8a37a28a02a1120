"""By how much a distortion grows on its way through the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.effects.attacked import checked_attack


@dataclass(frozen=True, kw_only=True)
class Amplification:
    """Displacement of the mean reconstruction beside the distortion that caused it; lower is more robust.

    Attributes:
        displacement: L2(r(x_a) - r(x)), input units, `(images, budgets)`, float64.
        distortion: L2(x_a - x), input units, `(images, budgets)`, float64.
    """

    displacement: Tensor
    distortion: Tensor

    @property
    def gain(self) -> Tensor:
        """Displacement per unit of distortion, `(images, budgets)`; NaN where nothing was distorted.

        To first order it is at most the square root of the round trip's spectral radius.
        """
        return torch.where(self.distortion > 0, self.displacement / self.distortion, torch.nan)

    @property
    def ratio(self) -> Tensor:
        """MSE(r(x_a), r(x)) / MSE(x_a, x), `(images, budgets)`: the square of `gain`.

        The instability that the code of GRILL / ALMA (2025) measures.
        """
        return self.gain.square()


def amplification(ae: Autoencoder, images: Tensor, adversarial: Tensor, *, seed: int = 0) -> Amplification:
    """Hold each displacement against its distortion.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        adversarial: x_a, `(images, budgets, *event)`.
        seed: seed of the model's randomness, should it have any.

    Raises:
        DataError: images that do not belong together, are not finite, or leave the bounds.
    """
    attacked = checked_attack(ae, images, adversarial)
    with ae.at_rest(seed):
        displacement = attacked.apart(ae.reconstruct, ae.reconstructions(attacked.images))
    return Amplification(displacement=displacement, distortion=attacked.distortion)
