"""Pullback metrics and their spectra, computed on the small side (definitions D6, D7).

Every metric is G = A^T A for a factor A with few rows, so its non-zero eigenvalues are those of the
small Gram matrix A A^T, and nobody forms the n x n metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import DataError, OptionError
from vaeaudit.geometry.jacobians import Jacobians, decoder_jacobian, encoder_jacobians

ENCODER_METRICS = ("wasserstein", "mean", "fisher")


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Eigenvalues of a pullback metric at each point of a batch.

    Attributes:
        eigenvalues: descending, `(batch, r)`, float64.
        eigenvectors: of unit length, in the space the metric measures, `(batch, r, *event)`; None
            unless asked for.
        error: bound on each eigenvalue's rounding error, `(batch, r)`.
        metric: the metric's name.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor | None
    error: Tensor
    metric: str


def encoder_spectrum(
    ae: Autoencoder, images: Tensor, metric: str = "wasserstein", top: int | None = None, *, eigenvectors: bool = False
) -> Spectrum:
    """Spectrum of the encoder's pullback metric at images.

    `wasserstein`: J_mu' J_mu + J_sigma' J_sigma, the stochastic pullback of Khan and Storkey (2022)
    and the local squared 2-Wasserstein distance. `mean`: J_mu' J_mu. `fisher`:
    J_mu' Sigma^-1 J_mu + 2 J_logsigma' J_logsigma, where KL = d' F d / 2.

    Args:
        ae: the model.
        images: `(batch, *event)`.
        metric: one of `ENCODER_METRICS`.
        top: how many leading eigenvalues; None for all that can be non-zero.
        eigenvectors: whether to compute eigenvectors in input space.

    Raises:
        OptionError: unknown metric, `fisher` for a deterministic code, or a bad `top`.
    """
    with ae.at_rest():
        jacobians = encoder_jacobians(ae, _placed(ae, images))
    factor = encoder_factor(jacobians, metric)
    return _spectrum(ae, factor, metric, images, top, eigenvectors)


def decoder_spectrum(
    ae: Autoencoder, latents: Tensor, top: int | None = None, *, eigenvectors: bool = False
) -> Spectrum:
    """Spectrum of the decoder's pullback metric J_g' J_g at latents `(batch, *latent)`; arguments as above."""
    with ae.at_rest():
        jacobian = decoder_jacobian(ae, _placed(ae, latents))
    return _spectrum(ae, jacobian, "decoder", latents, top, eigenvectors)


def round_trip_spectrum(
    ae: Autoencoder, images: Tensor, top: int | None = None, *, eigenvectors: bool = False
) -> Spectrum:
    """Spectrum of the metric from input to reconstruction at images (definitions row 23).

    J_mu' G J_mu + J_sigma' diag(diag G) J_sigma with G = J_g' J_g at the posterior mean: the second
    moment of the sampled reconstruction's Jacobian. Arguments as `encoder_spectrum`.
    """
    placed = _placed(ae, images)
    with ae.at_rest():
        jacobians = encoder_jacobians(ae, placed)
        with torch.no_grad():
            means = ae.encode(placed).mean
        factor = round_trip_factor(jacobians, decoder_jacobian(ae, means))
    return _spectrum(ae, factor, "round_trip", images, top, eigenvectors)


def _spectrum(
    ae: Autoencoder, factor: Tensor, metric: str, points: Tensor, top: int | None, eigenvectors: bool
) -> Spectrum:
    event = tuple(points.shape[1:])
    return spectrum_of(factor, metric, event, precision=ae.dtype, top=top, eigenvectors=eigenvectors)


def encoder_factor(jacobians: Jacobians, metric: str) -> Tensor:
    """A with G = A' A for an encoder metric, `(batch, rows, n)`, float64."""
    if metric not in ENCODER_METRICS:
        raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(ENCODER_METRICS)}")
    mean = jacobians.mean.double()
    if jacobians.log_std is None or jacobians.std is None:
        if metric == "fisher":
            raise OptionError(
                "the fisher metric needs posterior variances, and this encoder is deterministic; use 'mean'"
            )
        return mean
    if metric == "mean":
        return mean
    std, log_std = jacobians.std.double()[..., None], jacobians.log_std.double()
    if metric == "wasserstein":
        return torch.cat([mean, std * log_std], 1)
    return torch.cat([mean / std, math.sqrt(2) * log_std], 1)


def round_trip_factor(jacobians: Jacobians, decoder: Tensor) -> Tensor:
    """A with G = A' A for the round trip, `(batch, rows, n)`, float64."""
    decoder = decoder.double()
    gram = decoder.mT @ decoder
    carried = _square_root(gram) @ jacobians.mean.double()
    if jacobians.log_std is None or jacobians.std is None:
        return carried
    spread = gram.diagonal(dim1=1, dim2=2).sqrt() * jacobians.std.double()
    return torch.cat([carried, spread[..., None] * jacobians.log_std.double()], 1)


def _square_root(gram: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(gram)
    root: Tensor = values.clamp_min(0).sqrt()[..., None] * vectors.mT
    return root


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
    if top is not None and not top >= 1:
        raise OptionError(f"top expects at least 1, got {top}")
    keep = rank if top is None else min(top, rank)
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


def _placed(ae: Autoencoder, inputs: Tensor) -> Tensor:
    inputs = torch.as_tensor(inputs)
    if inputs.ndim < 2 or len(inputs) == 0 or not bool(inputs.isfinite().all()):
        raise DataError(f"a spectrum expects finite inputs of shape (batch, ...), got {tuple(inputs.shape)}")
    return inputs.detach().to(device=ae.device or inputs.device, dtype=ae.figures_dtype)
