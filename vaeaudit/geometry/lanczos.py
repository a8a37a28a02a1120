"""Lanczos tridiagonalisation of a symmetric operator at each point of a batch, with full reorthogonalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_BREAKDOWN = 1e-13


@dataclass(frozen=True, kw_only=True)
class Tridiagonal:
    """V' H V at each point.

    Attributes:
        basis: V, orthonormal rows (zero where the space was exhausted), `(batch, steps, d)`.
        diagonal: `(batch, steps)`.
        beside: `(batch, steps)`; the last is the norm of what stands outside the space.
        noise: how far V' H V is from tridiagonal, by rounding of the products, `(batch,)`.
    """

    basis: Tensor
    diagonal: Tensor
    beside: Tensor
    noise: Tensor

    def leading(self, steps: int) -> Tridiagonal:
        """The same after fewer steps."""
        return Tridiagonal(
            basis=self.basis[:, :steps], diagonal=self.diagonal[:, :steps], beside=self.beside[:, :steps],
            noise=self.noise,
        )  # fmt: skip

    def decomposed(self) -> tuple[Tensor, Tensor]:
        """Ritz values, ascending, `(batch, steps)`, and the matrix of vectors in the basis, `(batch, steps, steps)`."""
        off = self.beside[:, :-1]
        matrix = torch.diag_embed(self.diagonal) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors


class Lanczos:
    """An iteration that can be continued.

    Args:
        operator: symmetric, `(batch, d)` to `(batch, d)`, float64.
        start: `(batch, d)`, float64; need not be of unit length.
        fresh: draws a vector `(batch, d)` to continue with where the space is exhausted; None to stop there.
    """

    def __init__(
        self, operator: Callable[[Tensor], Tensor], start: Tensor, fresh: Callable[[], Tensor] | None = None
    ) -> None:
        self._operator, self._fresh = operator, fresh
        self._store = start.new_zeros(len(start), 1, start.shape[1])
        self._store[:, 0] = _unit(start)
        self._diagonal: list[Tensor] = []
        self._beside: list[Tensor] = []
        self._noise = start.new_zeros(len(start))
        self._largest = start.new_zeros(len(start))

    def run(self, steps: int) -> Tridiagonal:
        """Continue until `steps` steps, or the dimension of the space, have been taken."""
        while len(self._diagonal) < min(steps, self._store.shape[2]):
            self._step()
        return Tridiagonal(
            basis=self._store[:, : len(self._diagonal)], diagonal=torch.stack(self._diagonal, 1),
            beside=torch.stack(self._beside, 1), noise=self._noise,
        )  # fmt: skip

    def _step(self) -> None:
        taken = len(self._diagonal) + 1
        basis = self._store[:, :taken]
        moved = self._operator(basis[:, -1])
        shares = (basis @ moved[..., None])[..., 0]
        # twice is enough (Parlett 1998, section 6.9)
        rest = moved - _combined(shares, basis)
        rest = rest - _combined((basis @ rest[..., None])[..., 0], basis)
        self._note(shares)
        size = rest.norm(dim=1)
        self._largest = torch.maximum(self._largest, shares[:, -1].abs() + size)
        exhausted = size <= _BREAKDOWN * self._largest
        size = torch.where(exhausted, 0, size)
        self._beside.append(size)
        following = torch.where(exhausted[:, None], self._replacement(basis, exhausted), _unit(rest))
        if taken == self._store.shape[1]:
            self._store = torch.cat([self._store, torch.zeros_like(self._store)], 1)
        self._store[:, taken] = following

    def _note(self, shares: Tensor) -> None:
        expected = shares.clone()
        expected[:, :-2] = 0
        if self._beside:
            expected[:, -2] = self._beside[-1]
        self._diagonal.append(shares[:, -1])
        self._noise = torch.maximum(self._noise, (shares - expected).norm(dim=1))

    def _replacement(self, basis: Tensor, exhausted: Tensor) -> Tensor:
        if self._fresh is None or not bool(exhausted.any()) or basis.shape[1] >= basis.shape[2]:
            return torch.zeros_like(basis[:, 0])
        drawn = self._fresh()
        for _ in range(2):
            drawn = drawn - _combined((basis @ drawn[..., None])[..., 0], basis)
        return _unit(drawn)


def without(vectors: Tensor, found: Tensor) -> Tensor:
    """Vectors `(batch, d)` less what of them lies along orthonormal ones that were found, `(batch, count, d)`."""
    return vectors - ((found @ vectors[..., None]).mT @ found)[:, 0]


def _combined(shares: Tensor, basis: Tensor) -> Tensor:
    return (shares[:, None] @ basis)[:, 0]


def _unit(vectors: Tensor) -> Tensor:
    unit: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return unit
