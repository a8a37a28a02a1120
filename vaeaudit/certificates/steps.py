"""What a model's graph is made of here: steps that are linear, elementwise, a maximum, a sum or a concatenation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vaeaudit.certificates.slopes import Slopes

RowMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear map of each row, without its offset.

    Attributes:
        apply: `(rows, *event)` to `(rows, *event)`.
        norm: an upper bound of its spectral norm by other means than its matrix; None if there is none.
        simple: whether that bound is the norm itself, so that no matrix need be formed.
        work: multiply-adds that `norm` takes, about.
    """

    apply: RowMap
    norm: Callable[[], float] | None = None
    simple: bool = False
    work: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """An activation applied to each element."""

    slopes: Slopes


@dataclass(frozen=True, kw_only=True)
class Maximum:
    """Maxima over windows: Lipschitz with the root of how many windows can share an element."""

    constant: float


@dataclass(frozen=True, kw_only=True)
class Sum:
    """The sum of several steps' outputs."""


Operation = Linear | Elementwise | Maximum | Sum


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of a model that depends on its input.

    Attributes:
        name: unique, in order of the graph.
        layer: what the reader knows it by: the module's path or the function's name.
        kind: the module's class or the function's name.
        operation: what it does; None for the model's input.
        inputs: the steps it takes, all it takes that depend on the model's input.
        event: shape of one row of its output.
        known: what was found out about it, so that it is found out once.
    """

    name: str
    layer: str
    kind: str
    operation: Operation | None
    inputs: tuple[Step, ...] = field(default=(), repr=False)
    event: tuple[int, ...]
    known: dict[str, Any] = field(default_factory=dict, repr=False)


def steps_before(step: Step) -> list[Step]:
    """A step and all before it, each after what it takes."""
    order: list[Step] = []
    seen: set[Step] = set()
    stack: list[tuple[Step, bool]] = [(step, False)]
    while stack:
        now, ready = stack.pop()
        if ready:
            order.append(now)
        elif now not in seen:
            seen.add(now)
            stack.append((now, True))
            stack.extend((source, False) for source in now.inputs)
    return order


def last_activation(output: Step) -> Step | None:
    """The activation that a model ends in, but for reshapes and factors; None if it does not."""
    last = output
    while isinstance(last.operation, Linear) and last.operation.simple and last.operation.norm is not None:
        last = last.inputs[0]
    return last if isinstance(last.operation, Elementwise) else None
