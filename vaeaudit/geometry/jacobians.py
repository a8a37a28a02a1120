"""Jacobians of encoder and decoder for a batch of inputs, in the cheaper direction."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import GradientError, ModelError

BYTES_AT_ONCE = 2**28
BYTES_OF_ONE = 2**30
SMALL_SIDE = 2048
"""Largest Gram matrix that is decomposed exactly."""


@dataclass(frozen=True, kw_only=True)
class Jacobians:
    """Derivatives at a batch of inputs, latents and events flattened.

    Attributes:
        mean: of the posterior mean with respect to the input, `(batch, k, n)`.
        log_std: of the log posterior standard deviation, `(batch, k, n)`; None for a deterministic code.
        std: posterior standard deviation, `(batch, k)`; None for a deterministic code.
    """

    mean: Tensor
    log_std: Tensor | None
    std: Tensor | None


def encoder_jacobians(ae: Autoencoder, images: Tensor) -> Jacobians:
    """Jacobians of the posterior at images `(batch, *event)`.

    Raises:
        ModelError: too large to be held.
        GradientError: no gradient reaches the input.
    """

    def heads(inputs: Tensor) -> Tensor:
        posterior = ae.encode(inputs)
        parts = [posterior.mean.flatten(1)]
        if posterior.log_variance is not None:
            parts.append(0.5 * posterior.log_variance.flatten(1))
        return torch.cat(parts, 1)

    posterior = ae.examine(images)
    k = posterior.mean[0].numel()
    jacobian = batched_jacobian(heads, images)
    if posterior.log_variance is None:
        return Jacobians(mean=jacobian, log_std=None, std=None)
    return Jacobians(mean=jacobian[:, :k], log_std=jacobian[:, k:], std=posterior.std.flatten(1))


def decoder_jacobian(ae: Autoencoder, latents: Tensor) -> Tensor:
    """Jacobian of the decoder at latents `(batch, *latent)`, `(batch, outputs, k)`."""
    return batched_jacobian(lambda z: ae.decode(z).flatten(1), latents)


def batched_jacobian(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Jacobian of a function of each row alone, `(batch, outputs, n)`.

    One pass a row of the smaller side, over the whole batch: backward passes that share one
    forward pass where outputs are fewer, forward-mode passes where inputs are fewer (backward
    ones if the model has an operation without forward mode). Chunked to a fixed memory.

    Raises:
        ModelError: one row's Jacobian alone is too large, or holds NaN or infinite values.
        GradientError: no gradient flows.
    """
    with torch.no_grad():
        outputs = function(inputs[:1]).shape[1]
    n = inputs[0].numel()
    one = 4 * outputs * n
    if one > BYTES_OF_ONE or min(outputs, n) > SMALL_SIDE:
        raise ModelError(
            f"a Jacobian of {outputs} x {n} is too large to be decomposed exactly "
            f"(the smaller side may be {SMALL_SIDE} at most, and the whole {BYTES_OF_ONE >> 20} MiB)"
        )
    size = max(1, min(len(inputs), BYTES_AT_ONCE // one))
    jacobian = torch.cat([_jacobian(function, part, outputs) for part in inputs.split(size)])
    if not bool(jacobian.isfinite().all()):
        raise ModelError("a Jacobian of the model holds NaN or infinite values")
    return jacobian


def _jacobian(function: Callable[[Tensor], Tensor], inputs: Tensor, outputs: int) -> Tensor:
    if inputs[0].numel() < outputs:
        try:
            return _forward(function, inputs)
        except (GradientError, torch.OutOfMemoryError):
            raise
        except (NotImplementedError, RuntimeError, ModelError):
            pass  # an operation without forward mode; if it was anything else, the backward way fails as well
    return _reverse(function, inputs)


def _forward(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    columns = []
    flat = inputs.detach().flatten(1)
    with warnings.catch_warnings(), forward_ad.dual_level():
        # torch compiles its own forward-mode formulas with its own deprecated compiler
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        for j in range(flat.shape[1]):
            tangent = torch.zeros_like(flat)
            tangent[:, j] = 1
            dual = forward_ad.make_dual(flat, tangent).view_as(inputs)
            moved = forward_ad.unpack_dual(function(dual)).tangent
            if moved is None:
                raise GradientError(
                    "the decoder's output does not depend on its latents through differentiable operations"
                )
            columns.append(moved.detach())
    return torch.stack(columns, 2)


def _reverse(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    inputs = inputs.detach().requires_grad_()
    outputs = function(inputs)
    if not outputs.requires_grad:
        raise GradientError("no gradient flows from the model's output to its input; pass a differentiable model")
    count = outputs.shape[1]
    try:
        rows = [_row(outputs, inputs, i, keep=i < count - 1) for i in range(count)]
    except RuntimeError as error:
        if "retain_graph" not in str(error):
            raise
        # compiled functions give their forward pass away: each row takes one of its own
        rows = [_row(function(inputs), inputs, i, keep=False) for i in range(count)]
    return torch.stack(rows, 1)


def _row(outputs: Tensor, inputs: Tensor, i: int, *, keep: bool) -> Tensor:
    (row,) = torch.autograd.grad(outputs[:, i].sum(), inputs, retain_graph=keep)
    return row.flatten(1)
