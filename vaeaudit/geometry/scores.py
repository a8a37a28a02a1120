"""Scores of pullback spectra, one figure an image (definitions D8, D9).

What a score keeps when units change, with G the metric from inputs to the space that is measured:

| score | that space times c | inputs times c | either space rotated | direction |
|---|---|---|---|---|
| spectral radius, trace | times c^2 | divided by c^2 | kept | lower is more robust |
| von Neumann entropy, effective rank | kept | kept | kept | how many directions share it; no direction of its own |
| log pseudo-determinant of rank r | plus 2 r ln c | minus 2 r ln c | kept | no direction of its own |
| condition number | kept | kept | kept | lower is more evenly sensitive |

The space that is measured is the latent space for the encoder and the space of outputs for decoder and round
trip. So the encoder's scores with a scale compare models only if their latent spaces have one scale; those of
the round trip do not feel a rescaling of the latent space that the decoder undoes. The `fisher`
metric measures in standard deviations of the posterior, and feels no invertible rescaling of the latents at all.
Rescaling the latents unit by unit changes every other score of the encoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ACTIVE_VARIANCE = 0.01
"""A latent unit is active when the variance over the data of its posterior mean exceeds this (Burda et al. 2016)."""
_KHAN_OFFSET = 1e-10


def spectral_radius(eigenvalues: Tensor) -> Tensor:
    """Largest eigenvalue, `(batch,)`: the squared displacement that a unit step can do; lower is more robust.

    Scales with the square of the measured space and against that of the inputs (Khan and Storkey 2022).
    """
    return eigenvalues[:, 0]


def trace(eigenvalues: Tensor) -> Tensor:
    """Sum of eigenvalues, `(batch,)`: what a random direction suffers on average, times n; lower is more robust.

    Scales as the spectral radius does.
    """
    return eigenvalues.sum(1)


def von_neumann_entropy(eigenvalues: Tensor) -> Tensor:
    """-sum p ln p with p = lambda / sum lambda, `(batch,)`, nats, in [0, ln rank].

    How evenly the sensitivity is spread over directions: at equal trace, higher means a lower spectral radius
    at best. Blind to scale, so by itself it says nothing of how much an attack can do.
    """
    p = eigenvalues / trace(eigenvalues)[:, None]
    entropy: Tensor = -torch.special.xlogy(p, p).sum(1)
    return entropy


def effective_rank(eigenvalues: Tensor) -> Tensor:
    """Exp of the von Neumann entropy, `(batch,)`: how many directions share the sensitivity, in [1, rank]; blind to scale."""
    return von_neumann_entropy(eigenvalues).exp()


def entropy_khan2022(eigenvalues: Tensor) -> Tensor:
    """What the code of Khan and Storkey (2022) reports as entropy, `(batch,)`: normalised by the maximum; blind to scale."""
    return khan_term(eigenvalues / eigenvalues[:, :1]).sum(1)


def khan_term(shares: Tensor) -> Tensor:
    """What an eigenvalue adds to `entropy_khan2022`, by its share of the largest."""
    return -shares * (shares + _KHAN_OFFSET).log()


def log_pseudo_determinant(eigenvalues: Tensor, error: Tensor) -> Tensor:
    """Sum of logs of the eigenvalues that stand clear of their rounding error, `(batch,)`; no direction of its own.

    Twice the log of how much a small volume grows along the directions that are not lost. Compares
    models of one rank only: each further direction adds a term of its own.
    """
    return torch.where(eigenvalues > error, eigenvalues.clamp_min(1e-300).log(), 0).sum(1)


def condition_number(factor: Tensor, rank: int) -> Tensor:
    """Largest over smallest of the `rank` leading singular values of A, `(batch,)`; at least 1, lower is more even.

    Blind to the scale of either space. Rescaling single latent units changes it.

    Args:
        factor: A of the mean, restricted to the active latent units, `(batch, rows, columns)`.
        rank: number of active units, or the smaller side if that is less.
    """
    factor = factor.double()
    rows, columns = factor.shape[1:]
    gram = factor @ factor.mT if rows <= columns else factor.mT @ factor
    values = torch.linalg.eigvalsh(gram).flip(1)
    smallest = values[:, min(rank, values.shape[1]) - 1]
    ratio: Tensor = values[:, 0] / smallest.clamp_min(torch.finfo(torch.float64).tiny)
    return ratio.sqrt()


def resolvable_condition(rank: int, precision: torch.dtype) -> float:
    """Largest condition number that can be told from rounding noise.

    Singular values of a Jacobian computed in some precision are known to about rank * eps of the
    largest; their squares, from a float64 Gram matrix, to rank * eps of float64.

    Args:
        rank: number of active units.
        precision: that the model computes in.
    """
    of_model = rank * torch.finfo(precision).eps
    of_gram = math.sqrt(rank * torch.finfo(torch.float64).eps)
    return 1 / max(of_model, of_gram)


def active_units(variances: Tensor) -> Tensor:
    """Which latent units are active, given the variance of each posterior mean over the data."""
    return variances > ACTIVE_VARIANCE
