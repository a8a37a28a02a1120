"""From a graph's nodes to steps whose bounds are known; all other nodes are refused."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from vaeaudit.certificates.layers import (
    MERGES,
    PASSES,
    SUMS,
    VARYING,
    linear_function,
    linear_module,
    unchanged_module,
    window_maximum,
)
from vaeaudit.certificates.norms import MARGIN
from vaeaudit.certificates.refusal import NotCertifiedError, refused
from vaeaudit.certificates.slopes import slopes_of_function, slopes_of_module
from vaeaudit.certificates.steps import Elementwise, Linear, Operation, Step, Sum
from vaeaudit.certificates.tracing import Runner
from vaeaudit.certificates.trials import PROBES, check_inplace, check_linear


class Reader(Runner):
    """Runs a graph on a few rows, and makes a step of every node that depends on them.

    Attributes:
        input: the first step.
        outputs: what the graph returns, with steps in place of nodes.
        values: what each step gave, `(rows, *event)`.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.graph_module = graph
        self.steps: dict[fx.Node, Any] = {}
        self.values: dict[Step, Tensor] = {}
        self.input: Step
        self.outputs: Any = None

    def run_node(self, n: fx.Node) -> Any:
        """What a node gives, and beside it the step that it is.

        Raises:
            NotCertifiedError: a node that depends on the input and is no known step; it names the layer.
        """
        if n.op == "output":
            self.outputs = fx.node.map_arg(n.args[0], lambda node: self.steps.get(node))
            return super().run_node(n)
        _, options = self.fetch_args_kwargs_from_env(n)
        varying = [node for node in n.all_input_nodes if node in self.steps]
        if n.op in ("call_function", "call_method") and n.target in PASSES and varying:
            self.steps[n] = self._passed(n, options)
            return super().run_node(n)
        try:
            value = super().run_node(n)
        except Exception as error:
            raise refused(_layer(n), f"it failed in float64 ({type(error).__name__}: {error})") from error
        if n.op == "placeholder":
            self.input = self.steps[n] = Step(
                name=n.name, layer="input", kind="input", operation=None, event=tuple(value.shape[1:])
            )
            self.values[self.input] = value
        elif varying and not _is_shape(n, value):
            try:
                self.steps[n] = self._read(n, value)
            except NotCertifiedError as error:
                raise error if str(error).startswith("not certified") else refused(_layer(n), str(error)) from error
        return value

    def _passed(self, n: fx.Node, options: Any) -> Any:
        if n.target is torch.nn.functional.dropout and options.get("training", True) is not False:
            raise refused(_layer(n), "a dropout that is training; pass training=self.training and call eval()")
        return self.steps[n.all_input_nodes[0]]

    def _read(self, n: fx.Node, value: Any) -> Any:
        """The step, or the several steps, of a node that depends on the input."""
        taken: Any = fx.node.map_arg((n.args, dict(n.kwargs)), lambda node: self.steps.get(node, self.env.get(node)))
        arguments, options = taken
        if n.target is operator.getitem and isinstance(arguments[0], tuple):
            return arguments[0][arguments[1]]
        check_inplace(n, dict(self.graph_module.named_modules()), self.steps)
        inputs = tuple(self.steps[node] for node in n.all_input_nodes if node in self.steps)
        if not all(isinstance(step, Step) for step in inputs):
            raise NotCertifiedError("it takes several tensors at once in a way that is not known here")
        if n.op == "call_module":
            return self._made(n, inputs, _module_operation(self.fetch_attr(str(n.target)), inputs[0], value), value)
        if n.target in SUMS:
            return self._summed(n, arguments, options, value)
        if n.target in MERGES:
            return self._merged(n, arguments, options, value)
        return self._made(n, inputs, _function_operation(n.target, arguments, options, value), value)

    def _made(self, n: fx.Node, inputs: tuple[Step, ...], operation: Any, value: Any) -> Any:
        """Steps of operations; without one, the step that is passed on."""
        if operation is None:
            return inputs[0]
        if isinstance(operation, tuple):
            return tuple(
                self._kept(self._step(n, inputs, part, piece, f".{i}"), piece)
                for i, (part, piece) in enumerate(zip(operation, value, strict=True))
            )
        return self._kept(self._step(n, inputs, operation, value), value)

    def _kept(self, step: Step, value: Tensor) -> Step:
        self.values[step] = value
        return step

    def _step(self, n: fx.Node, inputs: tuple[Step, ...], operation: Operation, value: Any, suffix: str = "") -> Step:
        if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != PROBES:
            raise NotCertifiedError("it does not keep the rows of a batch apart as the first axis of one tensor")
        step = Step(
            name=n.name + suffix, layer=_layer(n), kind=self._kind(n), operation=operation, inputs=inputs,
            event=tuple(value.shape[1:]),
        )  # fmt: skip
        if isinstance(operation, Linear):
            check_linear(operation.apply, inputs[0].event, step.event)
        return step

    def _kind(self, n: fx.Node) -> str:
        if n.op == "call_module":
            return type(self.fetch_attr(str(n.target))).__name__
        return n.target if isinstance(n.target, str) else n.target.__name__

    def _summed(self, n: fx.Node, arguments: Any, options: Any, value: Any) -> Step:
        if set(options) - {"alpha", "other"} or not isinstance(options.get("alpha", 1), (int, float)):
            raise NotCertifiedError("its arguments are not known here")
        summands = [*arguments, *([options["other"]] if "other" in options else [])]
        factors = 1.0, SUMS[n.target] * options.get("alpha", 1)
        parts = []
        for i, (summand, factor) in enumerate(zip(summands, factors, strict=True)):
            if isinstance(summand, Step):
                operation = _spread_out(factor, tuple(value.shape[1:]), summand.event)
                parts.append(self._step(n, (summand,), operation, value, f".{i}"))
        return self._kept(parts[0] if len(parts) == 1 else self._step(n, tuple(parts), Sum(), value), value)

    def _merged(self, n: fx.Node, arguments: Any, options: Any, value: Tensor) -> Step:
        axis = options.get("dim", arguments[1] if len(arguments) > 1 else 0) % value.ndim
        pieces = options.get("tensors", arguments[0] if arguments else ())
        if axis == 0:
            raise NotCertifiedError("it joins along the batch")
        parts, start = [], 0
        for i, piece in enumerate(pieces):
            length = piece.event[axis - 1] if isinstance(piece, Step) else piece.shape[axis]
            if isinstance(piece, Step):
                operation = _placed(axis, start, tuple(value.shape[1:]))
                parts.append(self._step(n, (piece,), operation, value, f".{i}"))
            start += length
        return self._kept(self._step(n, tuple(parts), Sum(), value), value)


def _layer(n: fx.Node) -> str:
    """What the reader knows a node by."""
    if n.op == "call_module":
        path = str(n.target).split(".")
        return ".".join(path[2:]) or path[0]
    name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", str(n.target))
    return str(name)


def _is_shape(n: fx.Node, value: Any) -> bool:
    """Whether a node gives a size, a dtype or a device, which no value of the input changes."""
    if isinstance(value, (torch.Size, torch.dtype, torch.device, int)):
        return True
    return n.target is operator.getitem and isinstance(value, int)


def _module_operation(module: nn.Module, source: Step, value: Any) -> Operation | None:
    hooked = ("_forward_hooks", "_forward_pre_hooks")
    if any(getattr(module, name) for name in hooked) or "forward" in vars(module):
        raise NotCertifiedError("it has hooks or a forward method of its own, which may change what it computes")
    if unchanged_module(module):
        return None
    if not isinstance(value, Tensor):
        raise NotCertifiedError(f"a {type(module).__name__} is not known here")
    slopes = slopes_of_module(module)
    if slopes is not None:
        return Elementwise(slopes=slopes)
    found = linear_module(module, source.event, tuple(value.shape[1:])) or window_maximum(module)
    if found is None:
        raise NotCertifiedError(f"no sound Lipschitz constant of a {type(module).__name__} is known here")
    return found


def _function_operation(target: Any, arguments: Any, options: Any, value: Any) -> Any:
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    flat = [*arguments, *options.values()]
    if sum(isinstance(item, Step) for item in flat) != 1:
        raise NotCertifiedError(f"{name} of several tensors that depend on the input is not known here")
    if isinstance(arguments[0] if arguments else None, Step):
        slopes = slopes_of_function(target, arguments[1:], options)
        if slopes is not None:
            return Elementwise(slopes=slopes)
    marked = tuple(VARYING if isinstance(item, Step) else item for item in arguments)
    named = {key: VARYING if isinstance(item, Step) else item for key, item in options.items()}
    found = linear_function(target, marked, named, value)
    if found is None:
        raise NotCertifiedError(f"no sound Lipschitz constant of {name!r} is known here")
    return found


def _spread_out(factor: float, event: tuple[int, ...], source: tuple[int, ...]) -> Linear:
    """A multiple of each row, repeated where it is added to something larger."""

    def apply(u: Tensor) -> Tensor:
        return factor * u.expand(len(u), *event)

    if len(source) != len(event):
        raise NotCertifiedError("it adds tensors whose shapes are not known here")
    copies = math.prod(event) / max(1, math.prod(source))
    return Linear(apply=apply, norm=lambda: abs(factor) * math.sqrt(copies) * (1 + MARGIN), simple=True)


def _placed(axis: int, start: int, event: tuple[int, ...]) -> Linear:
    """Each row as a part of a longer one that is 0 elsewhere."""

    def apply(u: Tensor) -> Tensor:
        whole = u.new_zeros(len(u), *event)
        whole.narrow(axis, start, u.shape[axis]).copy_(u)
        return whole

    return Linear(apply=apply, norm=lambda: 1.0, simple=True)
