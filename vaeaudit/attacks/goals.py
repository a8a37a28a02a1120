"""What attacks make small or large: a figure of each attacked input, with its gradient, one problem a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from vaeaudit.attacks.objective import gradient_of
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches, micro_batched
from vaeaudit.divergences import Divergence, divergence_kl
from vaeaudit.latent import Posterior

Likelihood = Literal["gaussian", "bernoulli"]
LIKELIHOODS: tuple[Likelihood, ...] = ("gaussian", "bernoulli")
_CERTAIN = 1e-6
"""A Bernoulli's probability stays this far from 0 and 1, so that no single pixel decides."""


Chosen = TypeVar("Chosen", bound="Goal")


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal(ABC):
    """A differentiable figure of an input, which for each image or pair means something else.

    Attributes:
        autoencoder: the model.
        originals: x, `(problems, *event)`.
    """

    autoencoder: Autoencoder
    originals: Tensor

    @abstractmethod
    def measured(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """The figure of inputs `(rows, *event)` for the given problems, `(rows,)`; gradients flow."""

    @property
    def outputs(self) -> int:
        """Outputs of the decoder that one row needs at once; 1 also where it needs none."""
        return 1

    def of(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """The figure of finished inputs `(rows, *event)`, `(rows,)`, float64."""
        return in_batches(self.measured, inputs, problem, n=self._elements).double()

    def at(self, points: Tensor, problem: Tensor) -> Tensor:
        """The figure at distortions `(rows, n)`, `(rows,)`, float64."""
        originals = self.originals[problem]
        return self.of(originals + points.view_as(originals), problem)

    def with_gradient(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        """The figure at distortions `(rows, n)`, in float64, and its gradient `(rows, n)`."""
        value, gradient = micro_batched(self, points, problem, n=self._elements)
        return value.double(), gradient

    def __call__(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        """`with_gradient` in one batch; a call, so that sizes of micro-batches are settled for each kind of goal."""
        originals = self.originals[problem]
        changes = points.detach().requires_grad_()
        value = self.measured(originals + changes.view_as(originals), problem)
        return value.detach(), gradient_of(value, changes)

    def select(self: Chosen, problems: Tensor) -> Chosen:
        """The goal of some of the images or pairs."""
        changes: dict[str, Any] = {
            field.name: value[problems]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), (Tensor, Posterior))
        }
        return replace(self, **changes)

    @property
    def _elements(self) -> int:
        return self.originals[0].numel() * self.outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentGoal(Goal):
    """Delta(q(z|x+d), q(z|y)): y is the target, or the original that the posterior is driven away from.

    Attributes:
        posteriors: q(z|y), `(problems, *latent)`.
        divergence: Delta.
    """

    posteriors: Posterior
    divergence: Divergence

    def measured(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """Delta, nats or squared latent units."""
        return self.divergence(self.autoencoder.encode(inputs), self.posteriors[problem])


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputGoal(Goal):
    """L2(r(x+d) - t)^2 of the mean reconstruction (definitions row 10).

    Attributes:
        targets: t, `(problems, *event)`.
    """

    targets: Tensor

    def measured(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """Squared distance, squared input units."""
        return (self.autoencoder.reconstruct(inputs) - self.targets[problem]).flatten(1).square().sum(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ElboGoal(Goal):
    """-E log p(t|z) + KL(q(z|x+d) || N(0, 1)), z ~ q(z|x+d): the target's negative ELBO under the attacked encoder.

    Definitions row 11 (Willetts et al. 2019, equation 12; the L_VAE attack of Kos et al. 2017). The expectation
    is a mean over noise that stays the same; constants of the likelihood are left out.

    Attributes:
        targets: t, `(problems, *event)`.
        noise: standard normal, `(problems, samples, *latent)`.
        likelihood: "gaussian" (of the decoder's own spread where it returns one, else of variance 1), or
            "bernoulli", for which reconstructions are probabilities.
    """

    targets: Tensor
    noise: Tensor
    likelihood: Likelihood

    @property
    def outputs(self) -> int:
        """One for each sample."""
        return self.noise.shape[1]

    def measured(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """Negative ELBO, nats."""
        posterior = self.autoencoder.encode(inputs)
        zeros = torch.zeros_like(posterior.mean)
        prior = divergence_kl(posterior, Posterior(mean=zeros, log_variance=zeros))
        outputs, spread = self.autoencoder.decode_with_spread(_sampled(posterior, self.noise[problem]))
        targets = self.targets[problem].repeat_interleave(self.outputs, 0)
        losses = _bernoulli(outputs, targets) if self.likelihood == "bernoulli" else _gaussian(outputs, targets, spread)
        return losses.flatten(1).sum(1).view(len(inputs), -1).mean(1) + prior


@dataclass(frozen=True, kw_only=True, eq=False)
class DisplacementGoal(Goal):
    """L2(r(x+d) - r(x)), r(x) the mean reconstruction (definitions row 15).

    Attributes:
        clean: r(x), `(problems, *event)`.
        noise: standard normal, `(problems, samples, *latent)`: r(x+d) is then sampled, and the mean of the
            distances counts. None: r(x+d) is that of the mean.
    """

    clean: Tensor
    noise: Tensor | None

    @property
    def outputs(self) -> int:
        """One for each sample."""
        return 1 if self.noise is None else self.noise.shape[1]

    def measured(self, inputs: Tensor, problem: Tensor) -> Tensor:
        """Displacement, input units."""
        posterior = self.autoencoder.encode(inputs)
        latents = posterior.mean if self.noise is None else _sampled(posterior, self.noise[problem])
        clean = self.clean[problem].repeat_interleave(self.outputs, 0)
        distances: Tensor = torch.linalg.vector_norm((self.autoencoder.decode(latents) - clean).flatten(1), dim=1)
        return distances.view(len(inputs), -1).mean(1)


def _sampled(posterior: Posterior, noise: Tensor) -> Tensor:
    """Latents of each row's samples one after the other, `(rows * samples, *latent)`."""
    return (posterior.mean[:, None] + posterior.std[:, None] * noise).flatten(0, 1)


def _gaussian(outputs: Tensor, targets: Tensor, spread: Tensor | None) -> Tensor:
    if spread is None:
        return 0.5 * (outputs - targets).square()
    return 0.5 * ((outputs - targets) / spread).square() + spread.log()


def _bernoulli(outputs: Tensor, targets: Tensor) -> Tensor:
    p = _CERTAIN + (1 - 2 * _CERTAIN) * outputs.clamp(0, 1)
    return -(targets * p.log() + (1 - targets) * (1 - p).log())
