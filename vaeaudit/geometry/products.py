"""Products with a Jacobian and its transpose at each row of a batch; the Jacobian itself is never formed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from vaeaudit.geometry.budget import memory_budget
from vaeaudit.geometry.modes import Function, check_gradient_flows, differentiable, say_once
from vaeaudit.memory import is_out_of_memory


class JacobianProducts:
    """J v and J' u for a function of independent rows, at fixed inputs.

    J v takes a forward-mode pass, which keeps nothing for later; where the model has an operation
    without forward mode, it is the derivative of u -> J' u (two backward passes). J' u takes a
    backward pass; the forward pass before it is kept for the next product if it fits the budget.

    Args:
        function: from `(batch, *event)` to `(batch, outputs)`.
        inputs: `(batch, *event)`.
        memory: bytes that may be kept between products; None for what is found to be free.
    """

    def __init__(self, function: Function, inputs: Tensor, memory: int | None = None) -> None:
        self.count = 0
        """Products so far, each for the whole batch."""
        self._function, self._inputs = function, inputs.detach()
        self._budget = memory_budget(inputs.device, memory)
        self._kept: tuple[Tensor, Tensor] | None = None
        self._forward = True
        with torch.no_grad():
            outputs = function(self._inputs)
        self.rows, self.columns = outputs.shape[1], inputs[0].numel()
        self.outputs = outputs
        """The function's values, `(batch, outputs)`."""

    def push(self, vectors: Tensor) -> Tensor:
        """J v, `(batch, outputs)`, for vectors `(batch, n)`."""
        self.count += 1
        tangents = vectors.to(self._inputs).view_as(self._inputs)
        if self._forward:
            try:
                return self._pushed(tangents)
            except (NotImplementedError, RuntimeError, ValueError) as error:
                if is_out_of_memory(error):
                    raise
                reason = error.with_traceback(None)
            self._forward = False
            pushed = self._pushed_by_pulling(tangents)
            say_once("products take two backward passes instead of a forward-mode one", reason)
            return pushed
        return self._pushed_by_pulling(tangents)

    def _pushed(self, tangents: Tensor) -> Tensor:
        with differentiable(), torch.no_grad(), forward_ad.dual_level():
            dual = forward_ad.make_dual(self._inputs, tangents)
            moved = forward_ad.unpack_dual(self._function(dual)).tangent
        return torch.zeros_like(self.outputs) if moved is None else moved

    def _pushed_by_pulling(self, tangents: Tensor) -> Tensor:
        with differentiable():
            inputs, outputs = self._pass()
            dummy = torch.zeros_like(outputs, requires_grad=True)
            (pulled,) = torch.autograd.grad(outputs, inputs, dummy, create_graph=True)
            (pushed,) = torch.autograd.grad(pulled, dummy, tangents, retain_graph=self._kept is not None)
        return pushed

    def pull(self, vectors: Tensor) -> Tensor:
        """J' u, `(batch, n)`, for vectors `(batch, outputs)`.

        Raises:
            GradientError: no gradient flows.
        """
        self.count += 1
        with differentiable():
            inputs, outputs = self._pass()
            keep = self._kept is not None
            (pulled,) = torch.autograd.grad(outputs, inputs, vectors.to(outputs), retain_graph=keep)
        return pulled.flatten(1)

    def _pass(self) -> tuple[Tensor, Tensor]:
        """Inputs and outputs joined by a graph; kept if what it saves fits."""
        if self._kept is not None:
            return self._kept
        saved: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        inputs = self._inputs.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outputs = self._function(inputs)
        check_gradient_flows(outputs)
        if sum(saved.values()) <= self._budget:
            self._kept = inputs, outputs
        return inputs, outputs
