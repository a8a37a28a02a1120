"""What every attack takes and needs: inputs that can be attacked, and gradients that reach them."""

from __future__ import annotations

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import DataError, GradientError
from vaeaudit.meter import by_model

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
