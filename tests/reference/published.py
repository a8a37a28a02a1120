"""Attacks inside an L-infinity ball as published, one image after the other: what ours are held against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vaeaudit import Autoencoder


def kuzina2022(
    ae: Autoencoder, x: Tensor, damage: Callable[[Tensor], Tensor], radius: float, *, steps: int = 50,
    restarts: int = 10, seed: int = 0,
) -> tuple[float, int]:  # fmt: skip
    """The best of several runs of SGD on -D from noise, and gradients taken (definitions 5.3).

    Args:
        ae: gives the bounds.
        x: one image without a batch axis.
        damage: D(q(z|input), q(z|x)) of each of several inputs, `(runs,)`.
        radius: of the ball.
        steps: of each run.
        restarts: runs.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = max(ae.bounds[0], float(x.min())), min(ae.bounds[1], float(x.max()))
    noise = 0.2 * torch.randn(restarts, *x.shape, generator=generator, dtype=x.dtype)
    runs = [start.clamp(-radius, radius).requires_grad_() for start in noise]
    optimisers = [torch.optim.SGD([d], lr=1.0) for d in runs]
    schedules = [torch.optim.lr_scheduler.ReduceLROnPlateau(one, patience=20) for one in optimisers]
    best = 0.0
    for _ in range(steps):
        losses = -damage((x + torch.stack(runs)).clamp(low, high))
        losses.sum().backward()
        best = max(best, -losses.min().item())
        for d, optimiser, schedule, loss in zip(runs, optimisers, schedules, losses.tolist(), strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step(loss)
            d.data.clamp_(-radius, radius)
    return best, restarts * steps


def photoguard(
    ae: Autoencoder, x: Tensor, gap: Callable[[Tensor], Tensor], radius: float, *, steps: int, seed: int = 0
) -> tuple[float, int]:
    """The best of sign-PGD with a decaying step from a random start, and gradients taken (definitions 6).

    The first step is a third of the radius, the last a hundredth of the first.

    Args:
        ae: gives the bounds.
        x: one image without a batch axis.
        gap: distance of one input's code to the target's.
        radius: of the ball.
        steps: of the run.
        seed: of the start.
    """
    generator = torch.Generator().manual_seed(seed)
    d = radius * (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1)
    best = float("inf")
    for step in range(steps):
        d = ((x + d).clamp(*ae.bounds) - x).requires_grad_()
        loss = gap(x + d)
        best = min(best, loss.item())
        (gradient,) = torch.autograd.grad(loss, d)
        length = radius / 3 * (1 - 0.99 * step / (steps - 1))
        d = (d.detach() - length * gradient.sign()).clamp(-radius, radius)
    return best, steps
