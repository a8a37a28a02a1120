"""Jacobians of encoder and decoder for a batch of inputs, in the cheaper direction."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import AuditError, GradientError, ModelError
from vaeaudit.geometry.budget import RowCost, bytes_in_a_pass, in_chunks, memory_budget, row_cost
from vaeaudit.geometry.copies import forward_copies, reverse_copies
from vaeaudit.geometry.modes import Function, forward_mode, reverse_mode, say_once
from vaeaudit.memory import is_out_of_memory

BYTES_OF_ONE = 2**30
SMALL_SIDE = 2048
"""Largest Gram matrix that is decomposed exactly."""
_PRODUCTS, _PRODUCTS_A_PAIR = 60, 10
"""With a Jacobian or its transpose, for so many leading eigenpairs: as counted on small models."""
_ROWS_A_PRODUCT = 2
"""Rows of a Jacobian in the time of a product, where so many are taken at once: 1 to 2 as measured on convolutional
models, 3 to 10 on small dense ones, where either way takes milliseconds."""
_COPIES = 6
"""Of a Jacobian in its own precision, while it becomes a float64 factor and a Gram matrix."""
SMALL_ROW = 2**18
"""Bytes that a forward pass may keep for all directions of a row, if each is to have a copy of it: dense models of a few
hundred units. There the copies cost 0.3 ms a row; four times as much on a small convolutional model."""


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


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How the Jacobian of a function of independent rows is taken.

    Attributes:
        outputs: rows of the Jacobian.
        inputs: columns of the Jacobian.
        rows: of the batch at once.
        directions: of the small side in one pass.
        copied: whether the model is so small that each direction has a copy of the rows to itself (`copies.py`).
    """

    outputs: int
    inputs: int
    rows: int
    directions: int
    copied: bool = False

    @property
    def forward(self) -> bool:
        """Whether columns are fewer than rows, so that forward mode is cheaper."""
        return self.inputs < self.outputs

    @property
    def is_exact(self) -> bool:
        """Whether the Jacobian can be held and its Gram matrix decomposed."""
        return min(self.outputs, self.inputs) <= SMALL_SIDE and 4 * self.outputs * self.inputs <= BYTES_OF_ONE

    def outweighs(self, top: int | None) -> bool:
        """Whether the Jacobian takes longer than the products for its `top` leading eigenpairs."""
        products = inf if top is None else _PRODUCTS + _PRODUCTS_A_PAIR * top
        return min(self.outputs, self.inputs) > min(_ROWS_A_PRODUCT, self.directions) * products


def encoder_jacobians(
    ae: Autoencoder, images: Tensor, *, spread: bool = True, memory: int | None = None, passes: Passes | None = None
) -> Jacobians:
    """Jacobians of the posterior at images `(batch, *event)`.

    Args:
        ae: the model.
        images: `(batch, *event)`.
        spread: whether to take those of the standard deviation; without, the code is as if deterministic.
        memory: bytes that may be used beside the result; None for what is found to be free.
        passes: how to take them, where that is known already.

    Raises:
        ModelError: too large to be held.
        GradientError: no gradient reaches the input.
    """
    # of the spread alone a figure at every image is needed; a caller that planned has looked at the images already
    posterior = ae.examine(images if spread or passes is None else images[:1])
    k = posterior.mean[0].numel()
    jacobian = batched_jacobian(encoder_heads(ae, spread=spread), images, memory=memory, passes=passes)
    if posterior.log_variance is None or not spread:
        return Jacobians(mean=jacobian, log_std=None, std=None)
    return Jacobians(mean=jacobian[:, :k], log_std=jacobian[:, k:], std=posterior.std.flatten(1))


def encoder_heads(ae: Autoencoder, *, spread: bool = True) -> Function:
    """The encoder as one function: posterior mean, and log standard deviation if there is one, `(batch, k or 2k)`."""

    def heads(inputs: Tensor) -> Tensor:
        posterior = ae.encode(inputs)
        parts = [posterior.mean.flatten(1)]
        if spread and posterior.log_variance is not None:
            parts.append(0.5 * posterior.log_variance.flatten(1))
        return torch.cat(parts, 1)

    return heads


def decoder_jacobian(
    ae: Autoencoder, latents: Tensor, *, spread: bool = True, memory: int | None = None, passes: Passes | None = None
) -> Tensor:
    """Jacobian of the decoder at latents `(batch, *latent)`, `(batch, rows, k)`.

    Args:
        ae: the model.
        latents: `(batch, *latent)`.
        spread: whether the rows of a learned output standard deviation stand below those of the mean
            (definitions row 22; Arvanitidis et al. 2018); without one there are none.
        memory: bytes that may be used beside the result; None for what is found to be free.
        passes: how to take it, where that is known already.
    """
    return batched_jacobian(decoder_heads(ae, spread=spread), latents, memory=memory, passes=passes)


def decoder_heads(ae: Autoencoder, *, spread: bool = True) -> Function:
    """The decoder as one function: mean, and standard deviation if it has one, `(batch, outputs or 2 outputs)`."""

    def heads(latents: Tensor) -> Tensor:
        mean, std = ae.decode_with_spread(latents)
        return mean.flatten(1) if std is None or not spread else torch.cat([mean.flatten(1), std.flatten(1)], 1)

    return heads


def planned(function: Function, inputs: Tensor, memory: int | None = None) -> Passes:
    """How to take a Jacobian at `inputs` within a memory budget.

    As many rows and directions at once as make tensors of an efficient size, and fewer if what is
    kept for them does not fit the budget.
    """
    with torch.no_grad():
        outputs = function(inputs[:1]).shape[1]
    n = inputs[0].numel()
    smallest = Passes(outputs=outputs, inputs=n, rows=1, directions=1)
    if not smallest.is_exact:
        return smallest
    budget, whole = memory_budget(inputs.device, memory), bytes_in_a_pass(inputs.device)
    cost, small = row_cost(function, inputs), min(outputs, n)
    directions = max(1, min(small, whole // cost.largest))
    held = _COPIES * inputs.element_size() * outputs * n
    copied = directions == small and small * cost.saved <= SMALL_ROW and _of_copies(cost, small) + held <= budget
    each = (_of_copies(cost, small) if copied else cost.saved + 5 * directions * cost.largest) + held
    widest = max(directions * cost.largest, 8 * outputs * n)
    rows = min(len(inputs), max(1, whole // widest), max(1, budget // each))
    return Passes(outputs=outputs, inputs=n, rows=rows, directions=directions, copied=copied)


def _of_copies(cost: RowCost, copies: int) -> int:
    """Bytes of a row's copies: twice what a forward pass keeps of them, for its derivative is differentiated in turn."""
    return copies * (2 * cost.saved + 5 * cost.largest)


def batched_jacobian(
    function: Function, inputs: Tensor, *, memory: int | None = None, passes: Passes | None = None
) -> Tensor:
    """Jacobian of a function of each row alone, `(batch, outputs, n)`.

    Backward passes that share one forward pass where outputs are fewer, forward-mode passes where
    inputs are fewer (backward ones if the model has an operation without forward mode), each for
    many rows of the batch and many directions at once.

    Args:
        function: from `(batch, *event)` to `(batch, outputs)`.
        inputs: `(batch, *event)`.
        memory: bytes that may be used beside the result; None for what is found to be free.
        passes: how to take it, where that is known already.

    Raises:
        ModelError: one row's Jacobian alone is too large, or holds NaN or infinite values.
        GradientError: no gradient flows.
    """
    way = passes or planned(function, inputs, memory)
    if not way.is_exact:
        raise ModelError(
            f"a Jacobian of {way.outputs} x {way.inputs} is too large to be decomposed exactly "
            f"(the smaller side may be {SMALL_SIDE} at most, and the whole {BYTES_OF_ONE >> 20} MiB)"
        )
    parts = in_chunks(lambda part: _jacobian(function, part.detach(), way), inputs, way.rows)
    jacobian = parts[0] if len(parts) == 1 else torch.cat(parts)
    # one pass over it; the second only where the sum overflows
    if not bool(jacobian.sum().isfinite()) and not bool(jacobian.isfinite().all()):
        raise ModelError("a Jacobian of the model holds NaN or infinite values")
    return jacobian


def _jacobian(function: Function, inputs: Tensor, passes: Passes) -> Tensor:
    if passes.copied:
        try:
            return (
                forward_copies(function, inputs) if passes.forward else reverse_copies(function, inputs, passes.outputs)
            )
        except (NotImplementedError, RuntimeError, AuditError) as error:
            if is_out_of_memory(error):
                raise
    # what cannot be differentiated twice, takes no batch so large, or mixes its rows may well be differentiated without copies
    return _shared(function, inputs, passes)


def _shared(function: Function, inputs: Tensor, passes: Passes) -> Tensor:
    """A forward pass for all directions."""
    if not passes.forward:
        return reverse_mode(function, inputs, passes.directions)
    try:
        return forward_mode(function, inputs, passes.directions)
    except GradientError:
        raise
    except (NotImplementedError, RuntimeError, ModelError) as error:
        if is_out_of_memory(error):
            raise
        reason = error.with_traceback(None)
    # an operation without forward mode; if it was anything else, the backward way fails as well
    jacobian = reverse_mode(function, inputs, 1)
    say_once("reverse mode is taken where forward mode would be cheaper", reason)
    return jacobian
