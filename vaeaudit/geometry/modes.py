"""Jacobians of a batch of independent rows by forward or reverse mode, several directions a pass where possible."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from vaeaudit.errors import FallbackWarning, GradientError
from vaeaudit.memory import is_out_of_memory

Function = Callable[[Tensor], Tensor]
"""From rows `(batch, *event)` to rows `(batch, outputs)`."""
_said: set[str] = set()


@contextlib.contextmanager
def differentiable() -> Iterator[None]:
    """Inside, attention is computed by the kernel that can be differentiated in every mode, and torch's remarks are off."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        # torch compiles its own forward-mode formulas with its own deprecated compiler
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*batching rule", category=UserWarning)
        yield


def check_gradient_flows(outputs: Tensor) -> None:
    """Refuse outputs that no gradient leads back from.

    Raises:
        GradientError: they are detached, or computed by what cannot be differentiated.
    """
    if not outputs.requires_grad:
        raise GradientError("no gradient flows from the model's output to its input; pass a differentiable model")


def forward_mode(function: Function, inputs: Tensor, at_once: int) -> Tensor:
    """Jacobian `(batch, outputs, n)` by Jacobian-vector products, `at_once` columns a pass.

    Raises:
        GradientError: the output does not depend on the input through differentiable operations.
        Exception: an operation of the model has no forward mode.
    """
    basis = torch.eye(inputs[0].numel(), dtype=inputs.dtype, device=inputs.device)
    with differentiable():
        if at_once > 1:
            try:
                columns = [_pushed_together(function, inputs, some) for some in basis.split(at_once)]
                together: Tensor = torch.cat(columns).permute(1, 2, 0)
                return together
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                reason = error.with_traceback(None)  # which would keep the attempt's tensors alive
        columns = [_pushed(function, inputs, column) for column in basis]
    if at_once > 1:
        say_once("forward mode takes one direction a pass instead of several", reason)
    return torch.stack(columns, 2)


def _pushed_together(function: Function, inputs: Tensor, columns: Tensor) -> Tensor:
    def push(column: Tensor) -> Tensor:
        moved: Tensor = torch.func.jvp(function, (inputs,), (column.view(inputs.shape[1:]).expand_as(inputs),))[1]
        return moved

    together: Tensor = torch.func.vmap(push)(columns)
    return together.detach()


def _pushed(function: Function, inputs: Tensor, column: Tensor) -> Tensor:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(inputs, column.view(inputs.shape[1:]).expand_as(inputs).contiguous())
        moved = forward_ad.unpack_dual(function(dual)).tangent
    if moved is None:
        raise GradientError("the decoder's output does not depend on its latents through differentiable operations")
    column_of: Tensor = moved.detach()
    return column_of


def reverse_mode(function: Function, inputs: Tensor, at_once: int) -> Tensor:
    """Jacobian `(batch, outputs, n)` by backward passes that share one forward pass, `at_once` rows a pass.

    Raises:
        GradientError: no gradient flows.
    """
    with differentiable():
        inputs = inputs.detach().requires_grad_()
        outputs = function(inputs)
        check_gradient_flows(outputs)
        if at_once > 1:
            try:
                return _pulled_together(outputs, inputs, at_once)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                reason = error.with_traceback(None)  # which would keep the attempt's tensors alive
        rows = _pulled_one_by_one(function, inputs, outputs)
    if at_once > 1:
        say_once("reverse mode takes one direction a pass instead of several", reason)
    return rows


def _pulled_together(outputs: Tensor, inputs: Tensor, at_once: int) -> Tensor:
    batch, count = outputs.shape
    basis = torch.eye(count, dtype=outputs.dtype, device=outputs.device)
    if at_once >= count:
        every = basis[:, None].expand(-1, batch, -1)
        (pulled,) = torch.autograd.grad(outputs, inputs, every, retain_graph=True, is_grads_batched=True)
        return pulled.flatten(2).transpose(0, 1)
    whole = torch.empty(batch, count, inputs[0].numel(), dtype=inputs.dtype, device=inputs.device)
    for start in range(0, count, at_once):
        some = basis[start : start + at_once, None].expand(-1, batch, -1)
        (pulled,) = torch.autograd.grad(outputs, inputs, some, retain_graph=True, is_grads_batched=True)
        whole[:, start : start + at_once] = pulled.flatten(2).transpose(0, 1)
    return whole


def _pulled_one_by_one(function: Function, inputs: Tensor, outputs: Tensor) -> Tensor:
    count = outputs.shape[1]
    try:
        rows = [_pulled(outputs, inputs, i, keep=i < count - 1) for i in range(count)]
    except RuntimeError as error:
        if "retain_graph" not in str(error):
            raise
        # compiled functions give their forward pass away: each row takes one of its own
        rows = [_pulled(function(inputs), inputs, i, keep=False) for i in range(count)]
    return torch.stack(rows, 1)


def _pulled(outputs: Tensor, inputs: Tensor, i: int, *, keep: bool) -> Tensor:
    (row,) = torch.autograd.grad(outputs[:, i].sum(), inputs, retain_graph=keep)
    return row.flatten(1)


def say_once(what: str, reason: BaseException) -> None:
    """Warn that a slower way is taken, once in a process for each way and kind of reason."""
    key = f"{what}: {type(reason).__name__}"
    if key in _said:
        return
    _said.add(key)
    first = next(iter(str(reason).splitlines()), "")
    warnings.warn(
        f"{what}, since an operation of the model cannot be transformed ({first}); figures are the same, slower",
        FallbackWarning, stacklevel=2,
    )  # fmt: skip
