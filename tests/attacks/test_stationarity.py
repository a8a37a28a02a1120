"""On a real model the attack's solutions meet the first-order conditions of a minimum in a box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor, nn

from vaeaudit import Autoencoder, zoo
from vaeaudit.adapters import wrap
from vaeaudit.attacks import TargetedAttack, targeted
from vaeaudit.divergences import divergence_kl
from vaeaudit.optimize import BoxLBFGS

TIGHT = BoxLBFGS(tolerance=1e-11, max_evaluations=3000)


def _vae(dtype: torch.dtype, *, smooth: bool) -> Autoencoder:
    """The zoo's MNIST VAE; if `smooth`, with its kinks rounded off, so that gradients can vanish."""
    model = zoo.load_model("mnist-vae").to(dtype)
    if smooth:
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, nn.Softplus(beta=10))
    return wrap(model, bounds=(0.0, 1.0))


def _pairs(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    images, labels = zoo.images("mnist-vae")
    originals, targets = (np.flatnonzero(at)[:2] for at in (labels == labels[0], labels != labels[0]))
    return images[originals].to(dtype), images[targets].to(dtype)


def _gradients(ae: Autoencoder, x: Tensor, t: Tensor, images: Tensor, strengths: Tensor) -> Tensor:
    """Gradient of the objective at images `(pairs, strengths, *event)`, float64, `(pairs, strengths, n)`."""
    at = images.clone().requires_grad_()
    with ae.at_rest():
        goal = ae.encode(t)
        delta = sum(divergence_kl(ae.encode(at[:, j]), goal).sum() for j in range(at.shape[1]))
        penalty = (strengths[:, None] * (at - x[:, None]).flatten(2).square()).sum()
        (gradient,) = torch.autograd.grad(delta + penalty, at)
    return gradient.double().flatten(2)


def _residuals(gradients: Tensor, images: Tensor) -> Tensor:
    """Length of the gradient on coordinates that could follow it down into the box, `(pairs, strengths)`."""
    at = images.flatten(2)
    held = ((at <= 0) & (gradients >= 0)) | ((at >= 1) & (gradients <= 0))
    return (gradients * ~held).norm(dim=2)


def _relative_residuals(ae: Autoencoder, dtype: torch.dtype) -> tuple[TargetedAttack, Tensor]:
    """The attack with a tight solver, and its residuals as a share of those of staying."""
    x, t = _pairs(dtype)
    found = targeted(ae, x, t, [0.01, 1.0, 100.0], solver=TIGHT if dtype == torch.float64 else BoxLBFGS())
    end = _residuals(_gradients(ae, x, t, found.adversarial, found.strengths), found.adversarial)
    return found, end / _staying(ae, x, t, found)


def _staying(ae: Autoencoder, x: Tensor, t: Tensor, found: TargetedAttack) -> Tensor:
    """Residuals of the originals themselves, `(pairs, strengths)`."""
    stay = x[:, None].expand_as(found.adversarial)
    return _residuals(_gradients(ae, x, t, stay, found.strengths), stay)


def _shortest_nearby(
    ae: Autoencoder, x: Tensor, t: Tensor, found: TargetedAttack, generator: torch.Generator, radius: float = 1e-4
) -> Tensor:
    """Length of the shortest convex combination of gradients around solutions, `(pairs, strengths)`.

    A solution comes to rest on kinks, where the gradients on their sides do not vanish but cancel: stationary after Goldstein (1977).
    """
    at = found.adversarial
    here = _gradients(ae, x, t, at, found.strengths)
    held = ((at.flatten(2) <= 0) & (here >= 0)) | ((at.flatten(2) >= 1) & (here <= 0))
    around = []
    for away in torch.randn(40, *at.shape, generator=generator, dtype=torch.float64):
        length = away.flatten(2).norm(dim=2)[..., None, None, None]
        around.append(_gradients(ae, x, t, at + radius * away / length, found.strengths))
    gradients = torch.stack([here, *around], dim=2) * ~held[:, :, None]
    return torch.tensor([[_shortest(some.numpy()) for some in pair] for pair in gradients], dtype=torch.float64)


def _shortest(rows: NDArray[np.float64]) -> float:
    """Length of the shortest convex combination of rows, by non-negative least squares with a stiff row for their sum."""
    scale, stiff = np.abs(rows).max(), 1e3
    weights, _ = optimize.nnls(
        np.vstack([rows.T / scale, np.full(len(rows), stiff)]), np.append(np.zeros(rows.shape[1]), stiff)
    )
    return float(np.linalg.norm(weights / weights.sum() @ rows))


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-5), (torch.float32, 1e-2)])
def test_the_projected_gradient_vanishes_on_a_smooth_vae(dtype: torch.dtype, share: float) -> None:
    found, residuals = _relative_residuals(_vae(dtype, smooth=True), dtype)
    assert bool(found.converged.all())
    assert bool(((found.adversarial == 0) & (found.distortion[..., None, None, None] > 0)).any())
    assert bool((residuals < share).all()), residuals


def test_on_the_vae_with_its_kinks_little_of_the_gradient_is_left_and_nothing_near_is_lower() -> None:
    ae, (x, t) = _vae(torch.float64, smooth=False), _pairs(torch.float64)
    found, _ = _relative_residuals(ae, torch.float64)
    assert bool(found.converged.all())
    generator = torch.Generator().manual_seed(0)
    residuals = _shortest_nearby(ae, x, t, found, generator) / _staying(ae, x, t, found)
    assert bool((residuals < 0.01).all()), residuals
    slope = _gradients(ae, x, t, found.adversarial, found.strengths).view_as(found.adversarial)
    with ae.at_rest():
        goal = ae.encode(t)
        for radius in (1e-1, 1e-2, 1e-3, 1e-4):
            for away in (slope, *torch.randn(5, *slope.shape, generator=generator, dtype=torch.float64)):
                length = away.flatten(2).norm(dim=2)[..., None, None, None]
                near = (found.adversarial - radius * away / length).clamp(0, 1)
                delta = torch.stack([divergence_kl(ae.encode(near[:, j]), goal) for j in range(3)], 1).detach()
                cost = delta + found.strengths * (near - x[:, None]).flatten(2).square().sum(2)
                assert bool((cost >= found.objective * (1 - 1e-6)).all()), (radius, cost / found.objective - 1)
