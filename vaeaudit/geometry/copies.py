"""Jacobians of small models by plain backward passes, in which every direction has a copy of the batch to itself.

The ways in `modes.py` share one forward pass among all directions, and are faster once they run. But the first use of
forward mode makes torch load its compiler, and that of batched gradients a computer algebra system: more than a second of
processor time, in which a small model's Jacobian is taken at a thousand images in this way.

They are right only where rows neither influence each other, as by batch statistics, nor are random, as by a dropout that is
left on. So every Jacobian is held against a product with it that is taken in another way, in a random direction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaeaudit.errors import GradientError
from vaeaudit.geometry.modes import Function, check_gradient_flows, differentiable

_AGREES = 1e-3
"""Share of a product's length by which two ways to it may differ: far above rounding, far below a missing path."""


def reverse_copies(function: Function, inputs: Tensor, outputs: int) -> Tensor:
    """Jacobian `(batch, outputs, n)` by one backward pass, in which copy i of the batch is asked for output i.

    Raises:
        GradientError: no gradient flows, or the batch on its own has another Jacobian.
    """
    batch = len(inputs)
    with differentiable():
        copies = _copied(inputs, outputs)
        values = _joined(function, copies).view(outputs, batch, outputs)
        (rows,) = torch.autograd.grad(values.diagonal(dim1=0, dim2=2).sum(), copies)
        alone = inputs.detach().requires_grad_()
        values = function(alone)
        drawn = _drawn(batch, values)
        (pulled,) = torch.autograd.grad((values * drawn).sum(), alone)
    return _held(rows.view(outputs, batch, -1).transpose(0, 1), drawn, pulled.flatten(1))


def forward_copies(function: Function, inputs: Tensor) -> Tensor:
    """Jacobian `(batch, outputs, n)` by the derivative of u -> J' u, in which copy j of the batch is asked for column j.

    A backward pass of the model's own may be one that cannot be differentiated in turn, and say nothing; then the
    Jacobian does not agree with the J' u that it is the derivative of.

    Raises:
        GradientError: no gradient flows, or the two do not agree.
    """
    batch, n = len(inputs), inputs[0].numel()
    with differentiable():
        copies = _copied(inputs, n)
        values = _joined(function, copies)
        drawn = _drawn(batch, values)
        weights = drawn.repeat(n, 1).requires_grad_()
        (pulled,) = torch.autograd.grad((values * weights).sum(), copies, create_graph=True)
        pulled = pulled.view(n, batch, n)
        (columns,) = torch.autograd.grad(pulled.diagonal(dim1=0, dim2=2).sum(), weights)
    return _held(columns.view(n, batch, -1).permute(1, 2, 0), drawn, pulled[0])


def _drawn(batch: int, values: Tensor) -> Tensor:
    """A random direction among the outputs for each row, `(batch, outputs)`."""
    return torch.randn(batch, values.shape[1], generator=torch.Generator().manual_seed(0)).to(values)


def _held(jacobian: Tensor, drawn: Tensor, pulled: Tensor) -> Tensor:
    """The Jacobian J, if J' u is what was found for the u that were drawn, `(batch, n)`."""
    apart = (torch.einsum("brn,br->bn", jacobian, drawn) - pulled).norm(dim=1)
    if not bool((apart <= _AGREES * pulled.norm(dim=1)).all()):
        raise GradientError(
            "a Jacobian by copies of the rows does not agree with a product with it: rows influence each other, the model is "
            "random, or its backward pass cannot be differentiated; take forward mode, or reverse mode"
        )
    return jacobian


def _copied(inputs: Tensor, times: int) -> Tensor:
    """The whole batch so many times, `(times * batch, *event)`."""
    return inputs.detach().repeat(times, *[1] * (inputs.ndim - 1)).requires_grad_()


def _joined(function: Function, copies: Tensor) -> Tensor:
    values = function(copies)
    check_gradient_flows(values)
    return values
