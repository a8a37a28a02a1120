"""Pullback metrics by brute force: one n x n matrix at a time, from torch.autograd.functional, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from vaeaudit import Autoencoder


def jacobian(function, x: Tensor) -> Tensor:
    """Jacobian at one point without a batch axis, `(outputs, n)`."""
    found = torch.autograd.functional.jacobian(lambda v: function(v[None])[0].flatten(), x)
    return found.reshape(found.shape[0], -1)


def parts(ae: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Jacobians of the mean and of the standard deviation at one input, and the standard deviation."""
    mean = jacobian(lambda v: ae.encode(v).mean, x)
    std = jacobian(lambda v: ae.encode(v).std, x)
    return mean, std, ae.encode(x[None]).std[0].flatten()


def encoder_metric(ae: Autoencoder, x: Tensor, metric: str) -> Tensor:
    """G at one input, `(n, n)`; definitions D6."""
    mean, std, sigma = parts(ae, x)
    if metric == "mean":
        return mean.T @ mean
    if metric == "wasserstein":
        return mean.T @ mean + std.T @ std
    log_std = std / sigma[:, None]
    return mean.T @ torch.diag(sigma**-2) @ mean + 2 * log_std.T @ log_std


def decoder_metric(ae: Autoencoder, z: Tensor, *, spread: bool = True) -> Tensor:
    """J_g' J_g at one latent, and J_s' J_s if the decoder returns a Gaussian, `(k, k)`; row 22."""
    mean = jacobian(ae.decode, z)
    gram = mean.T @ mean
    if spread and isinstance(ae.decoder(z[None]), torch.distributions.Normal):
        std = jacobian(lambda v: ae.decoder(v).scale, z)
        gram = gram + std.T @ std
    return gram


def round_trip_metric(ae: Autoencoder, x: Tensor) -> Tensor:
    """Row 23 at one input, `(n, n)`: only the diagonal of the decoder metric enters the sigma term."""
    mean, std, _ = parts(ae, x)
    gram = decoder_metric(ae, ae.encode(x[None]).mean[0].detach())
    return mean.T @ gram @ mean + std.T @ torch.diag(gram.diagonal()) @ std


def round_trip_mean_metric(ae: Autoencoder, x: Tensor) -> Tensor:
    """J_r' J_r with r = g(mu(x)) at one input, `(n, n)`."""
    whole = jacobian(lambda v: ae.decode(ae.encode(v).mean), x)
    return whole.T @ whole


def metric(ae: Autoencoder, x: Tensor, name: str) -> Tensor:
    """Any metric by its name; those of the decoder at the posterior mean of x."""
    if name in ("decoder", "decoder_mean"):
        return decoder_metric(ae, ae.encode(x[None]).mean[0].detach(), spread=name == "decoder")
    if name == "round_trip":
        return round_trip_metric(ae, x)
    return round_trip_mean_metric(ae, x) if name == "round_trip_mean" else encoder_metric(ae, x, name)


def eigenvalues(metric: Tensor, count: int) -> Tensor:
    """Leading eigenvalues of a symmetric matrix, descending."""
    return torch.linalg.eigvalsh(metric).flip(0)[:count]
