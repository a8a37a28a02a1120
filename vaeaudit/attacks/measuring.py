"""What attacks inside a ball have in common, measured on the images that they found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vaeaudit.attacks.balls import Norm
from vaeaudit.attacks.goals import Goal
from vaeaudit.autoencoder import Autoencoder


class BallAttack(Protocol):
    """What every attack inside a ball returns, so that several can be compared."""

    @property
    def radii(self) -> Tensor:
        """Budgets, ascending, `(budgets,)`."""

    @property
    def adversarial(self) -> Tensor:
        """Attacked images x + d, `(images, budgets, *event)`."""

    @property
    def distortion(self) -> Tensor:
        """The norm of d, `(images, budgets)`."""

    @property
    def displacement(self) -> Tensor:
        """L2(r(x + d) - r(x)) of the mean reconstructions, input units, `(images, budgets)`."""

    @property
    def divergence(self) -> Tensor:
        """Of q(z|x+d) from the posterior of the original, or of the target, `(images, budgets)`."""

    @property
    def objective(self) -> Tensor:
        """What was raised or lowered, `(images, budgets)`."""

    @property
    def converged(self) -> Tensor:
        """Whether the search had settled, `(images, budgets)`."""

    @property
    def non_finite(self) -> Tensor:
        """Whether the model, or a gradient, was NaN or infinite where the search came, `(images, budgets)`."""

    @property
    def gradient_evaluations(self) -> Tensor:
        """Spent on each image, `(images,)`."""

    @property
    def norm(self) -> Norm:
        """Either l2 or linf."""


def as_starts(images: Tensor, *found: BallAttack) -> Tensor:
    """What attacks found, as starts of another over the same budgets, `(attacks, images, budgets, *event)`."""
    return torch.stack([attack.adversarial - images.to(attack.adversarial)[:, None] for attack in found])


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Attacked images as they are after rounding and clipping; figures are `(images, budgets)`, float64.

    Attributes:
        adversarial: x + d, `(images, budgets, *event)`.
        distortion: the norm of d.
        reconstructions: r(x + d), `(images, budgets, *event)`.
        displacement: L2(r(x + d) - r(x)).
    """

    adversarial: Tensor
    distortion: Tensor
    reconstructions: Tensor
    displacement: Tensor


def finished(ae: Autoencoder, images: Tensor, distortions: Tensor, norm: Norm) -> Finished:
    """Make images of distortions `(images, budgets, n)`; the model is at rest."""
    adversarial = (images[:, None] + distortions.view(*distortions.shape[:2], *images.shape[1:])).clamp(*ae.bounds)
    moved = (adversarial - images[:, None]).flatten(2).double()
    clean, after = ae.reconstructions(images), ae.reconstructions(adversarial.flatten(0, 1))
    after = after.view(*adversarial.shape[:2], *after.shape[1:])
    return Finished(
        adversarial=adversarial, distortion=moved.norm(dim=2) if norm == "l2" else moved.abs().amax(2),
        reconstructions=after, displacement=(after - clean[:, None]).flatten(2).double().norm(dim=2),
    )  # fmt: skip


def figure(goal: Goal, adversarial: Tensor) -> Tensor:
    """A goal of finished images, `(images, budgets)`, float64."""
    rows = torch.arange(len(adversarial), device=adversarial.device).repeat_interleave(adversarial.shape[1])
    return goal.of(adversarial.flatten(0, 1), rows).view(adversarial.shape[:2])
