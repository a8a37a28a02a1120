"""A loop that users write themselves, and the attack settings of four papers, each as short as it can be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.divergences import divergence_kl, divergence_symmetric_kl
from vaeaudit.latent import Posterior

Loss = Callable[[Tensor], Tensor]


def adam_loop(ae: Autoencoder, x: Tensor, t: Tensor, strengths: Tensor, steps: int = 500, rate: float = 0.01) -> Tensor:
    """KL + C * |d|^2 of all rows at once, clamped into the box after every step; no paper's, everybody's."""
    target, low, high = ae.posteriors(t), ae.bounds[0], ae.bounds[1]
    d = torch.zeros_like(x).requires_grad_()
    adam = torch.optim.Adam([d], lr=rate)
    for _ in range(steps):
        loss = divergence_kl(ae.encode(x + d), target) + strengths.to(x) * d.flatten(1).square().sum(1)
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        d.data = (x + d.data).clamp(low, high) - x
    return (x + d.detach()).clamp(low, high)


def kuzina2021_supervised(ae: Autoencoder, x: Tensor, t: Tensor, strength: float = 1.0, steps: int = 1000) -> Tensor:
    """Symmetric KL + lambda * |d|, lambda = 1, Adam at 0.1 halved on a plateau of 100, no box, one pair at a time.

    Kuzina, Welling and Tomczak (2021), definitions 5.2.
    """
    found = []
    for row in range(len(x)):
        source, target = x[row : row + 1], ae.posteriors(t[row : row + 1])
        d = torch.zeros_like(source).requires_grad_()
        adam = torch.optim.Adam([d], lr=0.1)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, patience=100, factor=0.5)
        for _ in range(steps):
            loss = divergence_symmetric_kl(ae.encode(source + d), target).sum() + strength * d.norm()
            adam.zero_grad()
            loss.backward()
            adam.step()
            plateau.step(loss.detach())
        found.append(source + d.detach())
    return torch.cat(found)


def kuzina2021_unsupervised(ae: Autoencoder, x: Tensor, steps: int = 300, seed: int = 0) -> Tensor:
    """|J_mu(x) d| over unit d by gradient ascent from 0.2 N(0, I), rates 10 / (i // 2 + 1); the directions.

    Kuzina, Welling and Tomczak (2021), definitions 5.2: one step of one chain.
    """
    generator = torch.Generator().manual_seed(seed)
    d = (0.2 * torch.randn(x.shape, generator=generator)).to(x)
    for i in range(steps):
        d = d.detach().requires_grad_()
        _, stretched = torch.func.jvp(lambda inputs: ae.encode(inputs).mean, (x,), (d,))
        (gradient,) = torch.autograd.grad(stretched.norm(dim=1).sum(), d)
        d = _rescaled(d.detach() + 10 / (i // 2 + 1) * gradient, 1.0)
    return d


def kuzina2022(
    ae: Autoencoder, x: Tensor, t: Tensor | None, radius: float, steps: int, restarts: int = 1, seed: int = 0
) -> Tensor:
    """Symmetric KL to the target down, or without one from the clean posterior up, in an L-infinity ball.

    Kuzina, Welling and Tomczak (2022), definitions 5.3. SGD at 1 halved on a plateau of 20, clamped to the values of x;
    untargeted runs restart from 0.2 N(0, I).
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for row in range(len(x)):
        source = x[row : row + 1]
        reference = ae.posteriors(source if t is None else t[row : row + 1])
        sign = -1 if t is None else 1

        def loss_at(d: Tensor, source: Tensor = source, sign: int = sign, reference: Posterior = reference) -> Tensor:
            return sign * divergence_symmetric_kl(ae.encode(source + d), reference).sum()

        tried = []
        for _ in range(restarts):
            noise = 0.2 * torch.randn(source.shape, generator=generator).to(source)
            start = _in_ball(source, torch.zeros_like(source) if t is not None else noise, radius)
            d = _descended(loss_at, source, start, radius, steps)
            tried.append((loss_at(d).item(), source + d))
        found.append(min(tried, key=lambda each: each[0])[1])
    return torch.cat(found)


def _descended(loss_at: Loss, source: Tensor, start: Tensor, radius: float, steps: int) -> Tensor:
    d = start.clone().requires_grad_()
    sgd = torch.optim.SGD([d], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=20, factor=0.5)
    for _ in range(steps):
        loss = loss_at(d)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        d.data = _in_ball(source, d.data, radius)
        plateau.step(loss.detach())
    return d.detach()


def _in_ball(source: Tensor, d: Tensor, radius: float) -> Tensor:
    return (source + d.clamp(-radius, radius)).clamp(source.min(), source.max()) - source


def barrett2022(
    ae: Autoencoder, x: Tensor, radius: float, starts: int = 5, seed: int = 0, limit: int = 15000
) -> Tensor:
    """|r(x + d) - r(x)| with d rescaled to norm R inside the objective; scipy's L-BFGS-B, m = 100, factr = 10.

    Barrett et al. (2022) after Camuto et al. (2021), definitions 5.5. The best of five starts in the ball, one image at
    a time, no box. The released code samples reconstructions within the objective; here they are means, without noise
    in the gradients that L-BFGS-B is given.
    """
    generator = np.random.default_rng(seed)
    settings = {"maxcor": 100, "ftol": 10 * np.finfo(float).eps, "gtol": 1e-20, "maxfun": limit}
    found = []
    for row in range(len(x)):
        source = x[row : row + 1]
        clean = ae.reconstruct(source).detach()

        def evaluate(flat: np.ndarray, source: Tensor = source, clean: Tensor = clean) -> tuple[float, np.ndarray]:
            d = torch.from_numpy(flat).to(source).view_as(source).requires_grad_()
            damage = (ae.reconstruct(source + _rescaled(d, radius)) - clean).norm()
            (gradient,) = torch.autograd.grad(damage, d)
            return -damage.item(), -gradient.double().cpu().numpy().ravel()

        noise = generator.standard_normal((starts, source.numel()))
        noise *= radius * generator.random((starts, 1)) ** (1 / source.numel()) / np.linalg.norm(noise, axis=1)[:, None]
        tried = [optimize.minimize(evaluate, start, jac=True, method="L-BFGS-B", options=settings) for start in noise]
        best = torch.from_numpy(min(tried, key=lambda result: result.fun).x).to(source).view_as(source)
        found.append(source + _rescaled(best, radius))
    return torch.cat(found)


def _rescaled(d: Tensor, norm: float) -> Tensor:
    lengths = d.flatten(1).norm(dim=1).clamp_min(1e-12)
    return norm * d / lengths.view(-1, *[1] * (d.ndim - 1))
