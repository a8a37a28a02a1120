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
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.certificates.norms import MARGIN, largest_eigenvalue

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


def added(a: Spread, b: Spread) -> Spread:
    """P of the sum of two vectors that move with the same input."""
    total = a.constant + b.constant
    if total == 0:
        return a
    if a.matrix is None or b.matrix is None:
        return Spread(size=a.size, multiple=total**2 * (1 + MARGIN))
    share = min(max(a.constant / total, 1e-6), 1 - 1e-6)
    return spread_of(a.matrix / share + b.matrix / (1 - share))
