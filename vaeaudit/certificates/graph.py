"""Reads a model's code into steps whose bounds are known, and refuses all else.

The code is traced symbolically (torch.fx), so that any `forward`, method or function is read as it computes; what
cannot be traced, such as a branch on values, is refused. The trace is run in float64 beside being read.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from vaeaudit.certificates.layers import (
    IN_PLACE,
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
from vaeaudit.certificates.steps import Elementwise, Linear, Operation, RowMap, Step, Sum
from vaeaudit.certificates.work import MOST_WORK, check_size

_PROBES = 3
_AGREEMENT = 1e-4


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model as steps.

    Attributes:
        graph: the traced model in float64; maps `(rows, *event)` to whatever the model returns.
        input: the first step.
        outputs: what the model returns, with steps in place of tensors.
    """

    graph: fx.GraphModule
    input: Step
    outputs: Any

    def arguments(self, inputs: Tensor) -> dict[str, Tensor]:
        """What every step takes first at inputs `(rows, *event)`, float64, by the step's name."""
        recorder = _Recorder(self.graph)
        with torch.no_grad():
            recorder.run(inputs.detach().cpu().double())
        return recorder.taken

    def __call__(self, inputs: Tensor) -> Any:
        """What the model returns, in float64."""
        with torch.no_grad():
            return _Runner(self.graph).run(inputs.detach().cpu().double())


def read_network(
    model: Callable[[Tensor], Any], modules: Sequence[nn.Module], inputs: Tensor, *, most: float = MOST_WORK
) -> Network:
    """Read a model that maps each row of its input by itself.

    Args:
        model: any callable; it must be in evaluation mode.
        modules: the modules it computes with.
        inputs: rows to try it on, `(rows, *event)`, where the model lives; the trace must give what the model gives.
        most: multiply-adds that reading may take.

    Raises:
        NotCertifiedError: a layer without known bound, code that cannot be traced, or a model that is too large.
    """
    graph = _traced(model, modules, inputs.shape[1:], most)
    rows = _probes(inputs)
    reader = _Reader(graph)
    with torch.no_grad():
        reader.run(rows)
        for step, value in reader.values.items():
            _check_step(step, value, reader.values)
        _check_agreement(model, graph, rows, inputs)
    return Network(graph=graph, input=reader.input, outputs=reader.outputs)


class _Holder(nn.Module):
    """Holds the modules of a callable, so that a trace can name them."""

    def __init__(self, model: Callable[[Tensor], Any], modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = nn.ModuleList(modules)
        self.__dict__["call"] = model

    def forward(self, inputs: Tensor) -> Any:
        return self.__dict__["call"](inputs)


def _traced(
    model: Callable[[Tensor], Any], modules: Sequence[nn.Module], event: Sequence[int], most: float
) -> fx.GraphModule:
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


def _probes(inputs: Tensor) -> Tensor:
    rows = inputs.detach().cpu().double()[:_PROBES]
    rows = rows.repeat(_PROBES, *[1] * (rows.ndim - 1))[:_PROBES]
    generator = torch.Generator().manual_seed(0)
    return rows + 0.1 * torch.randn(rows.shape, generator=generator, dtype=torch.float64)


def tensors_of(output: Any) -> list[Tensor]:
    """The tensors in a nested output, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for item in output for tensor in tensors_of(item)]
    return []


def _check_agreement(model: Callable[[Tensor], Any], graph: fx.GraphModule, rows: Tensor, inputs: Tensor) -> None:
    """The trace gives what the model gives, and a row's result does not depend on its company.

    Raises:
        NotCertifiedError: it does not, so that something in the model escapes a trace.
    """
    traced = tensors_of(_Runner(graph).run(rows))
    real = tensors_of(model(rows.to(inputs)))
    alone = [
        torch.cat(parts) for parts in zip(*(tensors_of(_Runner(graph).run(row[None])) for row in rows), strict=True)
    ]
    for name, others in (("the model itself", real), ("rows of the input taken one by one", alone)):
        same = len(traced) == len(others) and all(
            a.shape == b.shape and float((a - b.cpu().double()).abs().max()) <= _AGREEMENT * (1 + float(a.abs().max()))
            for a, b in zip(traced, others, strict=True)
        )
        if not same:
            raise NotCertifiedError(
                f"not certified, because the traced model disagrees with {name}: it is random, keeps state, takes "
                "another way where it is traced, or mixes the rows of a batch"
            )


class _Runner(fx.Interpreter):
    """Runs a graph in float64, whatever precision the code asks for on its way."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        # to log where a step stood that cannot be read, torch would import its compiler
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        if n.op in ("call_function", "call_method") and n.target in PASSES:
            return self.fetch_args_kwargs_from_env(n)[0][0]
        return super().run_node(n)


class _Recorder(_Runner):
    """Keeps what each node was given first."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.taken: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op not in ("placeholder", "output", "get_attr"):
            arguments, _ = self.fetch_args_kwargs_from_env(n)
            if arguments and isinstance(arguments[0], Tensor):
                self.taken[n.name] = arguments[0]
        return super().run_node(n)


class _Reader(_Runner):
    """Runs a graph on a few rows, and makes a step of every node that depends on them."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.graph_module = graph
        self.steps: dict[fx.Node, Any] = {}
        self.values: dict[Step, Tensor] = {}
        self.input: Step
        self.outputs: Any = None

    def run_node(self, n: fx.Node) -> Any:
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
        _check_inplace(n, dict(self.graph_module.named_modules()), self.steps)
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
        if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != _PROBES:
            raise NotCertifiedError("it does not keep the rows of a batch apart as the first axis of one tensor")
        step = Step(
            name=n.name + suffix, layer=_layer(n), kind=self._kind(n), operation=operation, inputs=inputs,
            event=tuple(value.shape[1:]),
        )  # fmt: skip
        if isinstance(operation, Linear):
            _check_linear(operation.apply, inputs[0].event, step.event)
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


def _check_linear(apply: RowMap, taken: tuple[int, ...], given: tuple[int, ...]) -> None:
    """A step that is held for linear is so on random rows, and maps each by itself."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(_PROBES + 1, *taken, generator=generator, dtype=torch.float64)
    u = torch.cat([u, (u[0] - 2 * u[1])[None]])
    try:
        together, alone = apply(u), torch.cat([apply(row[None]) for row in u])
    except Exception as error:
        raise NotCertifiedError(f"it depends on the size of the batch ({type(error).__name__}: {error})") from error
    linear = together.shape == (len(u), *given) and torch.allclose(together, alone, rtol=1e-9, atol=1e-9)
    if not linear or not torch.allclose(together[-1], together[0] - 2 * together[1], rtol=1e-9, atol=1e-9):
        raise NotCertifiedError("it is not linear in each row by itself, as it was held to be")


def _check_step(step: Step, value: Tensor, values: Mapping[Step, Tensor]) -> None:
    """From row to row a step's output changes as the operation it is held for would change it.

    Raises:
        NotCertifiedError: it does not.
    """
    change = value - value.roll(1, 0)
    if isinstance(step.operation, (Linear, Sum)):
        expected = _increment(step, values)
        wrong = not torch.allclose(change, expected, rtol=1e-7, atol=1e-7 * (1 + float(value.abs().max())))
    elif isinstance(step.operation, Elementwise):
        taken = values[step.inputs[0]]
        wrong = value.shape != taken.shape
        low, high = (side * (taken - taken.roll(1, 0)) for side in step.operation.slopes.always)
        slack = 1e-7 * (1 + taken.abs() + value.abs())
        inside = (change >= torch.minimum(low, high) - slack) & (change <= torch.maximum(low, high) + slack)
        wrong = wrong or not bool(inside.all())
    else:
        return
    if wrong:
        raise refused(step.layer, f"the {step.kind} does not compute what it was held to compute")


def _increment(step: Step, values: Mapping[Step, Tensor]) -> Tensor:
    if isinstance(step.operation, Linear):
        source = values[step.inputs[0]]
        return step.operation.apply(source - source.roll(1, 0))
    return torch.stack([_increment(part, values) for part in step.inputs]).sum(0)


def _check_inplace(n: fx.Node, submodules: dict[str, nn.Module], steps: Mapping[fx.Node, Any]) -> None:
    """Writing in place changes what other nodes read: their order, not their arrows, then says what is computed."""
    module = submodules.get(str(n.target)) if n.op == "call_module" else None
    writes = getattr(module, "inplace", False) or n.kwargs.get("inplace") or n.target in IN_PLACE
    writes = writes or (n.op == "call_method" and str(n.target).endswith("_"))
    source = n.all_input_nodes[0]
    while writes and source in steps:
        if len(source.users) > 1:
            raise NotCertifiedError("it works in place on a tensor that is used elsewhere; set inplace=False")
        if source.op == "placeholder":
            return
        source = source.all_input_nodes[0]
