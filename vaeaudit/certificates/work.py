"""What a certificate takes, counted in multiply-adds before it is made, so that a large model costs next to nothing.

All is counted from shapes: a model's own layers on PyTorch's `meta` device, which has no data, or on zeros where the model
is small, and matrices by their sides.
The counts are no more exact than is needed to tell a millisecond from a minute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from vaeaudit.certificates.chains import LARGEST, Chain, Value, is_base, value_of
from vaeaudit.certificates.norms import EIGENVALUES, work_of_norm
from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.certificates.steps import Linear, Maximum, Step, last_activation, steps_before
from vaeaudit.operations import counted_operations

MOST_PARAMETERS = 2**25
"""Largest part of a model that is read: 33.5 million weights, of which a copy is made in float64."""
MOST_WORK = 2.0**40
"""Multiply-adds that `certify` may take in all, minutes on one core."""
_READINGS = 40 * 15
"""Passes of a single row through a model, about, in reading it; each in float64, in which convolutions take some fifteen
times as long as the same work in products of large matrices."""
_COMPUTED = 2**29
"""Weights times values of an input, up to which a row of zeros is computed: as many multiply-adds at most for an encoder's layers;
a decoder, whose layers are larger than its input, takes some times as many."""
_WEIGHTINGS = 4
"""Diagonals that are tried for an activation."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Multiply-adds of a propagation, about.

    Attributes:
        once: of matrices and norms that all propagations share.
        each: of every propagation.
    """

    once: float
    each: float


def check_size(graph: fx.GraphModule, event: Sequence[int], most: float) -> None:
    """Refuse a model that is too large to be read, by its weights and by the work of a forward pass.

    Args:
        graph: the trace, not yet run.
        event: shape of one row of its input.
        most: multiply-adds that reading may take.

    Raises:
        NotCertifiedError: it is too large.
    """
    parameters = sum(parameter.numel() for parameter in graph.parameters())
    if parameters > MOST_PARAMETERS:
        raise NotCertifiedError(
            f"not certified, because a part of {parameters:,} weights is too large: at most {MOST_PARAMETERS:,} are read"
        )
    passes = _READINGS * forward_work(graph, event)
    if passes > most:
        raise too_much(passes, most)


def too_much(needed: float, most: float) -> NotCertifiedError:
    """The error of a model whose bounds take too much work."""
    return NotCertifiedError(
        f"not certified, because the bounds of a model of this size take about {needed:.1e} multiply-adds, and no more "
        f"than {most:.1e} are afforded here"
    )


def forward_work(graph: fx.GraphModule, event: Sequence[int]) -> float:
    """Multiply-adds of one row, counted without computing much; the weights' number where that fails."""
    tensors = {**dict(graph.named_parameters()), **dict(graph.named_buffers())}
    most = sum(tensor.numel() for tensor in tensors.values()) * math.prod(event)
    # for activations on tensors without data torch loads its compiler, which takes longer than a row of zeros
    place = "meta" if most > _COMPUTED else "cpu"
    zeros = {name: torch.zeros_like(tensor, device=place) for name, tensor in tensors.items()}
    kind = next((zero.dtype for zero in zeros.values() if zero.is_floating_point()), None)
    try:
        with counted_operations() as counting:
            torch.func.functional_call(graph, zeros, (torch.zeros(1, *event, dtype=kind, device=place),))
    except Exception:  # code of the user's that needs data; running it in earnest says what is wrong, if anything is
        return float(sum(parameter.numel() for parameter in graph.parameters()))
    return counting.operations / 2 + math.prod(event)


def propagation_work(outputs: Sequence[Step], start: int, widest: int, *, alone: bool = False) -> Work:
    """Multiply-adds of `Propagation(widest=widest).of(*outputs)`, and of the norms of all layers.

    Args:
        outputs: whose joint spread is wanted.
        start: length of the model's input.
        widest: widest layer for which a matrix is carried.
        alone: whether only the length of the one output is wanted, as `Propagation.constant` gives it.
    """
    count = _Count(start=start, widest=widest)
    steps = dict.fromkeys(step for output in outputs for step in steps_before(output))
    last = last_activation(outputs[0]) if alone else None
    for step in steps:
        if step is last and count.shortened(step):
            return Work(once=count.once, each=count.each)
        count.add(step)
        if isinstance(step.operation, Linear):
            count.once += _norm_work(step, widest)
    size = sum(math.prod(output.event) for output in outputs)
    for output in outputs:
        count.image({base: [*chains] for base, chains in count.values[output].items()}, size)
    return Work(once=count.once, each=count.each)


@dataclass(kw_only=True)
class _Count:
    """Goes the way that a propagation goes, with sizes alone."""

    start: int
    widest: int
    once: float = 0.0
    each: float = 0.0
    values: dict[Step, Value] = field(default_factory=dict)
    bases: dict[Step, tuple[int, bool]] = field(default_factory=dict)
    formed: set[Any] = field(default_factory=set)

    def add(self, step: Step) -> None:
        """Count a step whose inputs are counted."""
        if step.operation is None:
            self.bases[step] = self.start, False
        elif is_base(step):
            size = math.prod(step.inputs[0].event)
            matrix = self.image(self.values[step.inputs[0]], size)
            if matrix:
                self.each += (EIGENVALUES if isinstance(step.operation, Maximum) else 2 * _WEIGHTINGS) * size**3
            self.bases[step] = math.prod(step.event), matrix and not isinstance(step.operation, Maximum)
        self.values[step] = value_of(step, self.values)

    def shortened(self, step: Step) -> bool:
        """Count the length of a last activation alone, where `Propagation.constant` needs no matrix of it."""
        size = math.prod(step.event)
        ((base, chains), *others) = self.values[step.inputs[0]].items()
        known, _ = self.bases[base]
        if others or known >= size or known > self.widest or known * size > LARGEST:
            return False
        self.form(base, tuple(chains))
        self.each += 2 * known**2 * size + 3 * EIGENVALUES * known**3
        return True

    def form(self, base: Step, chains: tuple[Chain, ...]) -> None:
        """Count the matrix of some chains, once."""
        if (base, chains) not in self.formed:
            self.formed.add((base, chains))
            self.once += self.bases[base][0] * sum(_row_work(step) for chain in chains for step in chain)

    def image(self, value: Value, size: int) -> bool:
        """Count what the spread of a vector takes; whether it is a matrix."""
        parts = [self._image(base, tuple(chains), size) for base, chains in value.items()]
        return all(parts)

    def _image(self, base: Step, chains: tuple[Chain, ...], size: int) -> bool:
        known, matrix = self.bases[base]
        if chains == ((),):
            return matrix
        fits = known * size <= LARGEST
        carried = fits and size <= self.widest
        if not carried and not (fits and known <= self.widest):
            return False
        self.form(base, chains)
        small = min(known, size)
        self.each += known * size * (small if not matrix else known + size) + (
            0 if carried else 2 * EIGENVALUES * known**3
        )
        return carried


def _row_work(step: Step) -> float:
    """Multiply-adds of one row through a linear step."""
    if "work" not in step.known:
        assert isinstance(step.operation, Linear)
        with counted_operations() as counting:
            step.operation.apply(torch.zeros(1, *step.inputs[0].event, dtype=torch.float64))
        step.known["work"] = counting.operations / 2 + math.prod(step.event)
    return float(step.known["work"])


def _norm_work(step: Step, widest: int) -> float:
    """Multiply-adds of `norm_of_step`."""
    assert isinstance(step.operation, Linear)
    taken, given = math.prod(step.inputs[0].event), math.prod(step.event)
    if step.operation.simple or min(taken, given) > widest or taken * given > LARGEST:
        return step.operation.work
    return taken * _row_work(step) + work_of_norm(taken, given)
