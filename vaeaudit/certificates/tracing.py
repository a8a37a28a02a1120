"""A model's code as a graph: traced symbolically (torch.fx), and run in float64.

Any `forward`, method or function is read as it computes; what cannot be traced, such as a branch on values, is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from vaeaudit.certificates.layers import PASSES
from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.certificates.work import check_size


def traced(
    model: Callable[[Tensor], Any], modules: Sequence[nn.Module], event: Sequence[int], most: float
) -> fx.GraphModule:
    """The graph of a callable, with copies of its weights in float64 on the CPU.

    Args:
        model: any callable.
        modules: the modules it computes with, which are left as they are.
        event: shape of one row of its input.
        most: multiply-adds that reading may take.

    Raises:
        NotCertifiedError: code that cannot be traced, or a model that is too large.
    """
    holder = _Holder(model, modules)
    try:
        with _attributes_kept(modules):
            graph = fx.Tracer().trace(holder)
        made = fx.GraphModule(holder, graph)
        check_size(made, event, most)
        return copy.deepcopy(made).double().cpu().requires_grad_(False)
    except NotCertifiedError:
        raise
    except Exception as error:
        raise NotCertifiedError(
            "not certified, because the model's code cannot be traced symbolically "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); a forward method "
            "must not branch on values, and must be made of torch modules and functions"
        ) from error


class _Holder(nn.Module):
    """Holds the modules of a callable, so that a trace can name them."""

    def __init__(self, model: Callable[[Tensor], Any], modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = nn.ModuleList(modules)
        self.__dict__["call"] = model

    def forward(self, inputs: Tensor) -> Any:
        return self.__dict__["call"](inputs)


@contextmanager
def _attributes_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """A trace runs the model's code on stand-ins for tensors, none of which may stay behind in the model."""
    every = {child: None for module in modules for child in module.modules()}
    before = [(child, dict(vars(child))) for child in every if not isinstance(child, torch.jit.ScriptModule)]
    try:
        yield
    finally:
        for child, attributes in before:
            vars(child).clear()
            vars(child).update(attributes)


class Runner(fx.Interpreter):
    """Runs a graph in float64, whatever precision the code asks for on its way."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        # to log where a step stood that cannot be read, torch would import its compiler
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        """What a node gives; a change of precision gives back what it takes."""
        if n.op in ("call_function", "call_method") and n.target in PASSES:
            return self.fetch_args_kwargs_from_env(n)[0][0]
        return super().run_node(n)
