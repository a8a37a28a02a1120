"""Objectives of the attacks, evaluated in micro-batches, with their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches, micro_batched
from vaeaudit.divergences import Divergence
from vaeaudit.errors import DataError, GradientError, OptionError
from vaeaudit.latent import Posterior
from vaeaudit.meter import by_model

Penalty = Literal["l2_squared", "l2"]
PENALTIES: tuple[Penalty, ...] = ("l2_squared", "l2")
_SMOOTHING = 1e-4
_ROUNDING = 1e-6


def checked_inputs(ae: Autoencoder, inputs: Tensor, what: str) -> Tensor:
    """Inputs on the model's device, in the precision of figures, clipped to the bounds by a rounding error at most.

    Raises:
        DataError: no batch of finite inputs inside the bounds.
    """
    inputs = torch.as_tensor(inputs)
    if inputs.ndim < 2 or len(inputs) == 0:
        raise DataError(f"{what} expect the shape (batch, *event) with at least one row, got {tuple(inputs.shape)}")
    placed = inputs.detach().to(device=ae.device or inputs.device, dtype=ae.figures_dtype)
    if not bool(placed.isfinite().all()):
        raise DataError(f"{what} must be finite, got NaN or infinite values")
    low, high = ae.bounds
    if bool((placed < low - _ROUNDING).any() | (placed > high + _ROUNDING).any()):
        raise DataError(
            f"{what} range over [{placed.min():g}, {placed.max():g}], outside the bounds [{low:g}, {high:g}]"
        )
    return placed.clamp(low, high)


def gradient_of(values: Tensor, inputs: Tensor) -> Tensor:
    """Gradient of the sum of `values` with respect to `inputs`.

    Raises:
        GradientError: no gradient flows from one to the other.
    """
    if not values.requires_grad:
        raise GradientError(
            "no gradient flows from the model's output to its input: it is detached, computed under torch.no_grad(), "
            "or not differentiable (rounding, argmax, numpy). Pass a differentiable encoder and decoder."
        )
    total = values.sum()
    (gradient,) = by_model(lambda: torch.autograd.grad(total, inputs, allow_unused=True), inputs, gradients=len(inputs))
    if gradient is None:
        raise GradientError(
            "the model's output does not depend on its input through differentiable operations; "
            "pass a differentiable encoder and decoder"
        )
    return gradient


@dataclass(frozen=True, kw_only=True)
class LatentObjective:
    """Delta(q(z|x+d), q(z|t)) and P(d), of which the attack minimises Delta + C * P, one problem a row (definitions D1).

    Attributes:
        autoencoder: the model.
        originals: x, `(pairs, *event)`.
        targets: posteriors of t, `(pairs, *latent)`.
        spans: L2(x - t), `(pairs,)`; the scale on which the unsquared norm is smoothed at zero.
        divergence: Delta.
        penalty: P, the squared or the plain L2 norm.
    """

    autoencoder: Autoencoder
    originals: Tensor
    targets: Posterior
    spans: Tensor
    divergence: Divergence
    penalty: Penalty

    def __post_init__(self) -> None:
        if self.penalty not in PENALTIES:
            raise OptionError(f"unknown penalty {self.penalty!r}; choose one of {', '.join(PENALTIES)}")

    def latent_divergence(self, points: Tensor, pairs: Tensor) -> Tensor:
        """Delta at distortions `(rows, n)` of the given pairs, `(rows,)`."""
        originals = self.originals[pairs]
        posterior = self.autoencoder.encode(originals + points.view_as(originals))
        return self.divergence(posterior, self.targets[pairs])

    def divergences_of(self, inputs: Tensor, pairs: Tensor) -> Tensor:
        """Delta of finished inputs `(rows, *event)` to the targets of the given pairs, float64."""
        encode, targets = self.autoencoder.encode, self.targets
        return in_batches(lambda x, i: self.divergence(encode(x), targets[i]), inputs, pairs).double()

    def size(self, points: Tensor) -> Tensor:
        """P of distortions `(..., n)`, exact, float64."""
        length: Tensor = torch.linalg.vector_norm(points, dim=-1, dtype=torch.float64)
        return length.square() if self.penalty == "l2_squared" else length

    def divergence_with_gradient(self, points: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Delta `(rows,)` in float64 and its gradient `(rows, n)`, without the penalty."""
        value, gradient = micro_batched(self._divergence_with_gradient, points, pairs)
        return value.double(), gradient

    def _divergence_with_gradient(self, points: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        inputs = points.detach().requires_grad_()
        value = self.latent_divergence(inputs, pairs)
        return value.detach(), gradient_of(value, inputs)

    def smooth_penalty(self, squares: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """P of distortions of squared length `(rows,)`, smooth at zero, and its derivative with respect to it, float64."""
        if self.penalty == "l2_squared":
            return squares, torch.ones_like(squares)
        rounding = _SMOOTHING * self.spans[pairs].double()
        norm = (squares + rounding.square()).sqrt()
        return norm - rounding, 0.5 / norm.clamp_min(torch.finfo(norm.dtype).tiny)
