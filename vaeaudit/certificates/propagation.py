"""Ellipsoids of displacements, carried through a model: over all inputs, or in a ball around one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaeaudit.certificates.chains import (
    LARGEST,
    WIDEST,
    Chain,
    Value,
    embedding,
    is_base,
    matrix_of,
    norm_of_step,
    total,
    value_of,
)
from vaeaudit.certificates.ellipsoids import Spread, added, spread_of, through_slopes
from vaeaudit.certificates.norms import MARGIN, largest_eigenvalue
from vaeaudit.certificates.refusal import refused
from vaeaudit.certificates.steps import Elementwise, Maximum, Step, last_activation, steps_before


@dataclass(kw_only=True)
class Propagation:
    """Carries ellipsoids through a model, once for all inputs or anew around each.

    Attributes:
        start: P of the input (or of a decoder's latents).
        centres: what every elementwise step takes at the input in question, `(units,)`, by name; None for all inputs.
        radius: of the ball around that input.
        widest: widest layer for which a matrix is carried.
        matrices: matrices of chains, kept from one propagation to the next.
    """

    start: Spread
    centres: Mapping[str, Tensor] | None = None
    radius: float = math.inf
    widest: int = WIDEST
    matrices: dict[tuple[Step, tuple[Chain, ...]], Tensor] = field(default_factory=dict)
    spreads: dict[Step, Spread] = field(default_factory=dict)
    values: dict[Step, Value] = field(default_factory=dict)

    def of(self, *outputs: Step) -> Spread:
        """The joint spread of some steps' outputs, one after the other.

        Raises:
            NotCertifiedError: no finite bound.
        """
        sizes = [math.prod(step.event) for step in outputs]
        starts = itertools.accumulate(sizes, initial=0)
        parts = []
        for step, start in zip(outputs, starts, strict=False):
            placed = embedding(step, start, sum(sizes))
            parts.append(value_of(placed, {step: self._value(step)}))
        return self._spread(total(parts), sum(sizes), outputs[0])

    def constant(self, output: Step) -> float:
        """Upper bound of L2(D(output)) / L2(d).

        Where an output ends in an activation, its length needs no matrix as wide as the output is: with s_i the
        steepest slope of each unit, |D(f(h))| <= |s D(h)|, which the smaller side of D(h) = A D(base) measures.

        Raises:
            NotCertifiedError: no finite bound.
        """
        last = last_activation(output)
        length = None if last is None else self._length(last)
        if length is None:
            return self.of(output).constant
        while output is not last:
            length *= self._norm(output)
            output = output.inputs[0]
        return length * (1 + MARGIN)

    def _length(self, step: Step) -> float | None:
        """Bound of an activation's displacement by its steepest slopes; None where a matrix is as cheap or too large."""
        assert isinstance(step.operation, Elementwise)
        source = step.inputs[0]
        size, value = math.prod(source.event), self._value(source)
        ((base, chains), *others) = value.items()
        known = self.spreads[base]
        if others or known.size >= size or known.size > self.widest or known.size * size > LARGEST:
            return None
        rows = self._matrix(base, tuple(chains))
        if known.matrix is None:
            rows = math.sqrt(known.scale) * rows
        else:
            values, vectors = torch.linalg.eigh(known.matrix)
            rows = (vectors * values.clamp_min(0).sqrt()).mT @ rows
        least, greatest = self._slopes(step, step.operation, rows.norm(dim=0) * (1 + MARGIN))
        steepest = torch.maximum(least.abs(), greatest.abs())
        if not bool(steepest.isfinite().all()):
            raise refused(step.layer, f"the slope of a {step.kind} has no bound there")
        rows = rows * steepest
        return math.sqrt(largest_eigenvalue(rows @ rows.mT))

    def _value(self, step: Step) -> Value:
        if step not in self.values:
            for earlier in steps_before(step):
                if earlier not in self.values:
                    self.values[earlier] = self._made(earlier)
        return self.values[step]

    def _made(self, step: Step) -> Value:
        if step.operation is None:
            self.spreads[step] = self.start
        elif is_base(step):
            source = step.inputs[0]
            taken = self._spread(self.values[source], math.prod(source.event), step)
            self.spreads[step] = self._through(step, taken)
        return value_of(step, self.values)

    def _through(self, step: Step, taken: Spread) -> Spread:
        if isinstance(step.operation, Maximum):
            scale = taken.scale * step.operation.constant**2 * (1 + MARGIN)
            return _checked(Spread(size=math.prod(step.event), multiple=scale), step)
        assert isinstance(step.operation, Elementwise)
        least, greatest = self._slopes(step, step.operation, taken.of_units())
        if taken.matrix is None or not bool(greatest.isfinite().all()):
            steepest = float(torch.maximum(least.abs(), greatest.abs()).max())
            return _checked(Spread(size=taken.size, multiple=taken.scale * steepest**2 * (1 + MARGIN)), step)
        return _checked(through_slopes(taken, least, greatest), step)

    def _slopes(self, step: Step, operation: Elementwise, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes of the chords of units that move by so much for each unit of distortion."""
        if self.centres is None or math.isinf(self.radius):
            unknown = torch.zeros_like(moved)
            return operation.slopes.around(unknown, torch.full_like(unknown, math.inf))
        centre = self.centres[step.name].flatten()
        reach = self.radius * moved * (1 + MARGIN) + MARGIN * (1 + centre.abs())
        return operation.slopes.around(centre, reach)

    def _spread(self, value: Value, size: int, step: Step) -> Spread:
        parts = [self._image(base, tuple(chains), size) for base, chains in value.items()]
        whole = parts[0]
        for part in parts[1:]:
            whole = added(whole, part)
        return _checked(whole, step)

    def _image(self, base: Step, chains: tuple[Chain, ...], size: int) -> Spread:
        """P of a linear image of one base."""
        known = self.spreads[base]
        if chains == ((),):
            return known
        fits = known.size * size <= LARGEST
        if fits and size <= self.widest:
            rows = self._matrix(base, chains)
            return spread_of(rows.mT @ rows * known.scale if known.matrix is None else rows.mT @ known.matrix @ rows)
        if fits and known.size <= self.widest:
            rows = self._matrix(base, chains)
            gram = rows @ rows.mT
            if known.matrix is None:
                return Spread(size=size, multiple=known.scale * largest_eigenvalue(gram))
            values, vectors = torch.linalg.eigh(known.matrix)
            root = vectors * values.clamp_min(0).sqrt()
            return Spread(size=size, multiple=largest_eigenvalue(root.mT @ gram @ root) * (1 + MARGIN))
        total = sum(math.prod(self._norm(part) for part in chain) for chain in chains)
        return Spread(size=size, multiple=known.scale * total**2 * (1 + MARGIN))

    def _matrix(self, base: Step, chains: tuple[Chain, ...]) -> Tensor:
        """The transposed matrix of a sum of chains, `(base, size)`."""
        key = base, chains
        if key not in self.matrices:
            self.matrices[key] = matrix_of(chains, base.event)
        return self.matrices[key]

    def _norm(self, step: Step) -> float:
        """An upper bound of one linear step's own norm."""
        return norm_of_step(step, self.widest)


def _checked(spread: Spread, step: Step) -> Spread:
    if not spread.finite:
        raise refused(step.layer, f"the slope of a {step.kind} has no bound there")
    return spread
