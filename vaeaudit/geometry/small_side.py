"""Spectra of factors that are held, from the smaller Gram matrix in float64 (definitions D7).

Every metric is G = A' A for a factor A with few rows, so its non-zero eigenvalues are those of the
small Gram matrix A A', and nobody forms the n x n metric. The Gram matrix and `eigvalsh` are a tenth of
the time of the Jacobian on small models; singular values of A would spare the Gram matrix and take ten
times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Eigenvalues of a pullback metric at each point of a batch.

    Attributes:
        eigenvalues: descending, `(batch, r)`, float64.
        eigenvectors: of unit length, in the space the metric measures, `(batch, r, *event)`; None
            unless asked for.
        error: of each eigenvalue, `(batch, r)`: a bound on its rounding error if the whole spectrum was
            computed; otherwise an eigenvalue lies within this distance.
        metric: the metric's name.
        products: with the Jacobian or its transpose that were taken for it; 0 where Jacobians were held.
        converged: whether each residual came down to the tolerance, `(batch,)`; None where Jacobians were held.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor | None
    error: Tensor
    metric: str
    products: int = 0
    converged: Tensor | None = None

    @staticmethod
    def joined(parts: list[Spectrum]) -> Spectrum:
        """The spectra of consecutive points as one."""
        if len(parts) == 1:
            return parts[0]
        vectors = [part.eigenvectors for part in parts if part.eigenvectors is not None]
        converged = [part.converged for part in parts if part.converged is not None]
        return Spectrum(
            eigenvalues=torch.cat([part.eigenvalues for part in parts]),
            eigenvectors=torch.cat(vectors) if vectors else None,
            error=torch.cat([part.error for part in parts]), metric=parts[0].metric,
            products=max(part.products for part in parts), converged=torch.cat(converged) if converged else None,
        )  # fmt: skip


def checked_top(top: int | None) -> int | None:
    """How many leading eigenvalues.

    Raises:
        OptionError: fewer than one.
    """
    if top is not None and not top >= 1:
        raise OptionError(f"top expects at least 1, got {top}")
    return top


def spectrum_of(
    factor: Tensor,
    metric: str,
    event: tuple[int, ...],
    *,
    precision: torch.dtype,
    top: int | None = None,
    eigenvectors: bool = False,
) -> Spectrum:
    """Eigenvalues of A' A, and its eigenvectors if asked for, from the smaller Gram matrix of A.

    Args:
        factor: A, `(batch, rows, n)`.
        metric: name to carry.
        event: shape of the space that the n columns flatten.
        precision: that the model computed A in.
        top: how many leading eigenvalues.
        eigenvectors: whether to compute them.
    """
    factor = factor.double()
    rows, columns = factor.shape[1:]
    rank = min(rows, columns)
    keep = min(checked_top(top) or rank, rank)
    gram = factor @ factor.mT if rows <= columns else factor.mT @ factor
    if not eigenvectors:
        values = torch.linalg.eigvalsh(gram).flip(1)[:, :keep].clamp_min(0)
        return Spectrum(eigenvalues=values, eigenvectors=None, error=_rounding(values, rank, precision), metric=metric)
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(1)[:, :keep].clamp_min(0), vectors.flip(2)[:, :, :keep].mT
    if rows <= columns:
        vectors = vectors @ factor
        vectors = vectors / vectors.norm(dim=2, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return Spectrum(
        eigenvalues=values, eigenvectors=vectors.reshape(len(factor), keep, *event),
        error=_rounding(values, rank, precision), metric=metric,
    )  # fmt: skip


def _rounding(values: Tensor, rank: int, precision: torch.dtype) -> Tensor:
    """The eigenproblem is float64, so the model's own rounding of A bounds what is known of A' A (Weyl)."""
    return (2 * rank * torch.finfo(precision).eps * values[:, :1]).expand_as(values)
