"""Posterior noise that belongs to an image: the same whatever is attacked beside it, and in which order."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
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
    latent = tuple(posteriors.mean.shape[1:])
    drawn = [_drawn(samples, latent, _key(image, seed)) for image in images.cpu()]
    return torch.from_numpy(np.stack(drawn)).to(posteriors.mean)


def posterior_noise(samples: int, like: Tensor, key: tuple[int, ...]) -> Tensor:
    """Standard normal draws that a key alone determines, `(samples, *latent)`, for posteriors like `(batch, *latent)`."""
    return torch.from_numpy(_drawn(samples, tuple(like.shape[1:]), key)).to(like)


def _drawn(samples: int, latent: tuple[int, ...], key: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(key).standard_normal((samples, *latent), dtype=np.float32)


def _key(image: Tensor, seed: int) -> tuple[int, int]:
    digest = hashlib.sha256(image.double().contiguous().numpy().tobytes()).digest()
    return seed, int.from_bytes(digest[:8], "little")
