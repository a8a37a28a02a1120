"""Posterior noise that belongs to an image: the same whatever is attacked beside it, and in which order."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from vaeaudit.latent import Posterior


def noise_of(images: Tensor, posteriors: Posterior, samples: int, seed: int) -> Tensor:
    """Standard normal noise for the posterior of each image, `(images, samples, *latent)`.

    Args:
        images: `(images, *event)`; what they hold seeds their noise, together with `seed`.
        posteriors: of anything in the same latent space.
        samples: for each image.
        seed: of all noise.
    """
    shape = (samples, *posteriors.mean.shape[1:])
    drawn = [np.random.default_rng(_key(image, seed)).standard_normal(shape, np.float32) for image in images.cpu()]
    return torch.from_numpy(np.stack(drawn)).to(posteriors.mean)


def _key(image: Tensor, seed: int) -> tuple[int, int]:
    digest = hashlib.sha256(image.double().contiguous().numpy().tobytes()).digest()
    return seed, int.from_bytes(digest[:8], "little")
