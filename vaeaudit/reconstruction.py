"""Distances between reconstructions and targets, averaged over posterior samples (definitions D3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.attacks.noise import posterior_noise
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches


@dataclass(frozen=True, kw_only=True)
class TargetDistances:
    """Mean L2 distances of sampled reconstructions to the target, input units.

    Attributes:
        adversarial: E L2(r(x_a) - t), `(pairs, strengths)`, float64.
        original: E L2(r(x) - t), `(pairs,)`.
        target: E L2(r(t) - t), `(pairs,)`.
        reach_error: standard error of original - target over the samples, `(pairs,)`; 0 for a
            deterministic code.
    """

    adversarial: Tensor
    original: Tensor
    target: Tensor
    reach_error: Tensor


def target_distances(
    ae: Autoencoder, originals: Tensor, targets: Tensor, adversarial: Tensor, *,
    samples: int, keys: Sequence[tuple[int, ...]],
) -> TargetDistances:  # fmt: skip
    """Measure how close each adversarial's reconstruction comes to its target.

    The same noise enters all terms of a pair, and belongs to that pair alone: figures do not depend
    on which other pairs are measured, nor in which order.

    Args:
        ae: the model, at rest.
        originals: x, `(pairs, *event)`.
        targets: t, `(pairs, *event)`.
        adversarial: x_a, `(pairs, strengths, *event)`.
        samples: posterior samples; a deterministic code is decoded once.
        keys: what seeds each pair's noise.
    """
    rows = [
        _distances(ae, torch.cat([x[None], t[None], attacked]), t, samples, key)
        for x, t, attacked, key in zip(originals, targets, adversarial, keys, strict=True)
    ]
    means = torch.stack([row.mean(1) for row in rows])
    errors = torch.stack([_standard_error(row[0] - row[1]) for row in rows])
    return TargetDistances(adversarial=means[:, 2:], original=means[:, 0], target=means[:, 1], reach_error=errors)


@torch.no_grad()
def _distances(ae: Autoencoder, inputs: Tensor, target: Tensor, samples: int, key: tuple[int, ...]) -> Tensor:
    """Distances of the sampled reconstructions of each input to one target, `(inputs, samples)`."""
    posterior = ae.posteriors(inputs)
    latents = posterior.mean[:, None]
    if posterior.log_variance is not None:
        latents = latents + posterior.std[:, None] * posterior_noise(samples, posterior.mean, key)[None]
    distances = in_batches(
        lambda z: (ae.decode(z) - target).flatten(1).double().norm(dim=1), latents.flatten(0, 1), n=target.numel()
    )
    return distances.view(len(inputs), -1)


def _standard_error(values: Tensor) -> Tensor:
    return values.std() / len(values) ** 0.5 if len(values) > 1 else torch.zeros_like(values[0])
