"""How far a model's output can move: an ellipsoid of displacements, carried through the model step by step.

Write D(h) for the displacement of a vector h of the model when its input moves by d. What is carried is a matrix P with

    D(h)' P^-1 D(h) <= |d|^2     for all d (or all d with |d| <= radius, from a given input),        (*)

that is, D(h) = |d| P^(1/2) w with |w| <= 1. At the input P = I.

- h2 = A h + b: P2 = A P A'.
- h2 = h + k: displacements lie in the sum of two ellipsoids, inside the ellipsoid of P / s + Q / (1 - s) for any 0 < s < 1.
- h2 = f(h) elementwise: D(h2) = (C + R E) D(h) with diagonal C, R the middle and half-width of the slopes of f's chords
  and |E_ii| <= 1. Put u = E D(h): then u' W^-1 u <= D(h)' W^-1 D(h) for every positive diagonal W. With W - P positive
  definite, for every y (= D(h)) and u so related,

      D(h2)' P2^-1 D(h2) <= y' (P^-1 - W^-1) y + u' W^-1 u <= y' P^-1 y <= |d|^2
      with P2 = C (P^-1 - W^-1)^-1 C + R W R = C (P + P (W - P)^-1 P) C + R W R,

  since (C y + R u)' (C X C + R W R)^-1 (C y + R u) <= y' X^-1 y + u' W^-1 u for all positive definite X. Units whose slope
  is known exactly have R = 0 and need no W (the limit of W to infinity): where no unit is in doubt, nothing is lost.

A Lipschitz constant is the root of the largest eigenvalue of P. This is the layerwise form of the semidefinite bound of
Fazlyab et al. (2019, arXiv 1906.04893; Xu and Sivaranjani 2024, arXiv 2404.04375) with slopes that depend on the input;
any W gives a sound bound, so nothing here rests on a solver. Where a layer is too wide for a matrix, P = s I is
carried and s grows by the square of each layer's norm: the usual product.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaeaudit.certificates.norms import MARGIN, largest_eigenvalue
from vaeaudit.certificates.refusal import refused
from vaeaudit.certificates.steps import Elementwise, Linear, Maximum, Step, Sum

WIDEST = 1024
"""Widest layer for which a matrix is carried."""
LARGEST = 2**24
"""Most elements of a layer's matrix that is formed."""
_ROUNDING = 1e-12
_FACTORS = (1.15, 1.4, 2.0)
_EIGENVALUES_UP_TO = 512


@dataclass(frozen=True, kw_only=True)
class Spread:
    """P of a vector's displacements: a matrix, or a multiple of the identity.

    Attributes:
        size: length of the vector.
        multiple: of the identity; None where there is a matrix.
        matrix: P, `(size, size)`, float64; None where it is a multiple of the identity.
    """

    size: int
    multiple: float | None = None
    matrix: Tensor | None = None

    @functools.cached_property
    def scale(self) -> float:
        """An upper bound of the largest eigenvalue."""
        if self.matrix is not None:
            return largest_eigenvalue(self.matrix)
        assert self.multiple is not None
        return self.multiple

    @property
    def constant(self) -> float:
        """Upper bound of L2(D(h)) / L2(d)."""
        return math.sqrt(self.scale)

    @property
    def finite(self) -> bool:
        """Whether it bounds anything."""
        return bool(self.matrix.isfinite().all()) if self.matrix is not None else math.isfinite(self.scale)

    def of_units(self) -> Tensor:
        """Upper bounds of |D(h)_i| / L2(d), `(size,)`."""
        if self.matrix is None:
            return torch.full((self.size,), self.constant, dtype=torch.float64)
        return self.matrix.diagonal().clamp_min(0).sqrt()

    def dense(self) -> Tensor:
        """P as a matrix."""
        return self.scale * torch.eye(self.size, dtype=torch.float64) if self.matrix is None else self.matrix


def spread_of(matrix: Tensor) -> Spread:
    """A spread, widened by far more than the rounding of its own making."""
    matrix = (matrix + matrix.mT) / 2
    widened = matrix * (1 + MARGIN)
    widened.diagonal().add_(_ROUNDING * matrix.diagonal().clamp_min(0).sum())
    return Spread(size=len(matrix), matrix=widened)


Chain = tuple[Step, ...]
"""Linear steps from a base to where a value is, in order."""
Value = dict[Step, list[Chain]]
"""A vector as a sum of linear images of bases: outputs of steps that are not linear, or the input."""


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
        size = sum(math.prod(step.event) for step in outputs)
        joint: Value = {}
        start = 0
        for step in outputs:
            placing = _embedding(step, start, size)
            start += math.prod(step.event)
            for base, chains in self._value(step).items():
                joint.setdefault(base, []).extend((*chain, placing) for chain in chains)
        return self._spread(joint, size, outputs[0])

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
            return {step: [()]}
        if isinstance(step.operation, Linear):
            return {base: [(*chain, step) for chain in chains] for base, chains in self.values[step.inputs[0]].items()}
        if isinstance(step.operation, Sum):
            joint: Value = {}
            for part in step.inputs:
                for base, chains in self.values[part].items():
                    joint.setdefault(base, []).extend(chains)
            return joint
        source = step.inputs[0]
        taken = self._spread(self.values[source], math.prod(source.event), step)
        self.spreads[step] = self._through(step, taken)
        return {step: [()]}

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
            whole = _added(whole, part)
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
            rows = torch.eye(math.prod(base.event), dtype=torch.float64).view(-1, *base.event)
            self.matrices[key] = torch.cat([_images(chains, part) for part in rows.split(256)])
        return self.matrices[key]

    def _norm(self, step: Step) -> float:
        """An upper bound of one linear step's own norm."""
        return norm_of_step(step, self.widest)


def last_activation(output: Step) -> Step | None:
    """The activation that a model ends in, but for reshapes and factors; None if it does not."""
    last = output
    while isinstance(last.operation, Linear) and last.operation.simple and last.operation.norm is not None:
        last = last.inputs[0]
    return last if isinstance(last.operation, Elementwise) else None


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
        rows = torch.eye(taken, dtype=torch.float64).view(-1, *step.inputs[0].event)
        matrix = torch.cat([step.operation.apply(part).flatten(1) for part in rows.split(256)])
        gram = matrix @ matrix.mT if taken <= given else matrix.mT @ matrix
        found = math.sqrt(largest_eigenvalue(gram))
    elif step.operation.norm is not None:
        found = step.operation.norm()
    else:
        raise refused(step.layer, f"a {step.kind} of {taken} by {given} elements is too large for its matrix")
    step.known["norm"] = found
    return found


def through_slopes(taken: Spread, least: Tensor, greatest: Tensor) -> Spread:
    """P after an elementwise step, see the module; the best of several W by the trace."""
    middle, half = (least + greatest) / 2, (greatest - least) / 2
    matrix = taken.dense()
    doubt = half > 0
    if not bool(doubt.any()):
        return spread_of(middle[:, None] * matrix * middle)
    columns = matrix[:, doubt]
    inner = columns[doubt]
    best: tuple[Tensor, Tensor] | None = None
    smallest = math.inf
    for weight in _weights(inner):
        # W - P is at least (1 - 1 / factor) W in the order of matrices: well conditioned once scaled by W
        root = weight.rsqrt()
        factor = torch.linalg.cholesky_ex(torch.eye(len(inner), dtype=torch.float64) - root[:, None] * inner * root)
        if int(factor.info):
            continue
        side = torch.linalg.solve_triangular(factor.L, (columns * root).mT, upper=False)
        grown = middle.square() @ (matrix.diagonal() + side.square().sum(0)) + half[doubt].square() @ weight
        if best is None or float(grown) < smallest:
            best, smallest = (side, weight), float(grown)
    if best is None:
        steepest = float(torch.maximum(least.abs(), greatest.abs()).max())
        return Spread(size=taken.size, multiple=taken.scale * steepest**2 * (1 + MARGIN))
    side, weight = best
    whole = middle[:, None] * (matrix + side.mT @ side) * middle
    whole.diagonal()[doubt] += half[doubt].square() * weight
    return spread_of(whole)


def _weights(inner: Tensor) -> list[Tensor]:
    """Positive diagonals W with W - P positive definite: by diagonal dominance, and by the largest eigenvalue."""
    sums = inner.abs().sum(1)
    sums = sums + sums.max() * 1e-6 + torch.finfo(torch.float64).tiny
    found = [factor * sums for factor in _FACTORS]
    if len(inner) <= _EIGENVALUES_UP_TO:
        found.append(1.5 * largest_eigenvalue(inner) * torch.ones_like(sums) + torch.finfo(torch.float64).tiny)
    return found


def _added(a: Spread, b: Spread) -> Spread:
    """P of the sum of two vectors that move with the same input."""
    total = a.constant + b.constant
    if total == 0:
        return a
    if a.matrix is None or b.matrix is None:
        return Spread(size=a.size, multiple=total**2 * (1 + MARGIN))
    share = min(max(a.constant / total, 1e-6), 1 - 1e-6)
    return spread_of(a.matrix / share + b.matrix / (1 - share))


def _images(chains: tuple[Chain, ...], rows: Tensor) -> Tensor:
    total: Tensor | None = None
    for chain in chains:
        moved = rows
        for step in chain:
            assert isinstance(step.operation, Linear)
            moved = step.operation.apply(moved)
        flat = moved.flatten(1)
        total = flat if total is None else total + flat
    assert total is not None
    return total


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


def _embedding(step: Step, start: int, size: int) -> Step:
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


def _checked(spread: Spread, step: Step) -> Spread:
    if not spread.finite:
        raise refused(step.layer, f"the slope of a {step.kind} has no bound there")
    return spread
