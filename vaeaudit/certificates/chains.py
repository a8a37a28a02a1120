"""Linear steps one after the other: vectors as sums of linear images of bases, with the matrices and norms of these."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vaeaudit.certificates.norms import norm_of_matrix
from vaeaudit.certificates.refusal import refused
from vaeaudit.certificates.steps import Linear, Step, Sum

WIDEST = 1024
"""Widest layer for which a matrix is carried."""
LARGEST = 2**24
"""Most elements of a layer's matrix that is formed."""
_ROWS_AT_ONCE = 256

Chain = tuple[Step, ...]
"""Linear steps from a base to where a value is, in order."""
Value = dict[Step, list[Chain]]
"""A vector as a sum of linear images of bases: outputs of steps that are not linear, or the input."""


def is_base(step: Step) -> bool:
    """Whether a step's output is no linear image of what it takes."""
    return not isinstance(step.operation, (Linear, Sum))


def value_of(step: Step, values: Mapping[Step, Value]) -> Value:
    """A step's output, from those of what it takes."""
    if isinstance(step.operation, Linear):
        return {base: [(*chain, step) for chain in chains] for base, chains in values[step.inputs[0]].items()}
    if isinstance(step.operation, Sum):
        return total(values[part] for part in step.inputs)
    return {step: [()]}


def total(parts: Iterable[Value]) -> Value:
    """The sum of several vectors."""
    joint: Value = {}
    for part in parts:
        for base, chains in part.items():
            joint.setdefault(base, []).extend(chains)
    return joint


def matrix_of(chains: tuple[Chain, ...], event: tuple[int, ...]) -> Tensor:
    """The transposed matrix of a sum of chains that take vectors of a shape, `(taken, given)`, float64."""
    rows = torch.eye(math.prod(event), dtype=torch.float64).view(-1, *event)
    return torch.cat([_images(chains, part) for part in rows.split(_ROWS_AT_ONCE)])


def _images(chains: tuple[Chain, ...], rows: Tensor) -> Tensor:
    """What a sum of chains makes of rows `(rows, *event)`, flattened."""
    return functools.reduce(operator.add, [_image(chain, rows) for chain in chains])


def _image(chain: Chain, rows: Tensor) -> Tensor:
    for step in chain:
        assert isinstance(step.operation, Linear)
        rows = step.operation.apply(rows)
    return rows.flatten(1)


def norm_of_step(step: Step, widest: int = WIDEST) -> float:
    """An upper bound of a linear step's spectral norm.

    Raises:
        NotCertifiedError: none is known, and it is too large for its matrix to be formed.
    """
    assert isinstance(step.operation, Linear)
    if "norm" in step.known:
        return float(step.known["norm"])
    taken, given = math.prod(step.inputs[0].event), math.prod(step.event)
    if min(taken, given) <= widest and taken * given <= LARGEST and not step.operation.simple:
        found = norm_of_matrix(matrix_of(((step,),), step.inputs[0].event))
    elif step.operation.norm is not None:
        found = step.operation.norm()
    else:
        raise refused(step.layer, f"a {step.kind} of {taken} by {given} elements is too large for its matrix")
    step.known["norm"] = found
    return found


def embedding(step: Step, start: int, size: int) -> Step:
    """A step's output, flattened, as a part of a longer vector."""
    key = f"joined.{start}.{size}"
    if key not in step.known:

        def apply(u: Tensor) -> Tensor:
            whole = u.new_zeros(len(u), size)
            flat = u.flatten(1)
            whole[:, start : start + flat.shape[1]] = flat
            return whole

        step.known[key] = Step(
            name=f"{step.name}.{key}", layer=step.layer, kind="join", inputs=(step,), event=(size,),
            operation=Linear(apply=apply, norm=lambda: 1.0, simple=True),
        )  # fmt: skip
    joined: Step = step.known[key]
    return joined
