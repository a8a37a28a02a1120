"""The two architectures of the zoo: a dense and a convolutional autoencoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class DenseAutoencoder(nn.Module):
    """784-hidden-hidden-latent and its mirror image, after Tabacof et al. (2016).

    Args:
        latent: number of latent units.
        hidden: width of both hidden layers.
        variational: whether `encode` returns a Gaussian posterior `(mean, log_variance)`
            or a deterministic code.
        shape: shape of one image.
    """

    def __init__(
        self,
        *,
        latent: int = 20,
        hidden: int = 256,
        variational: bool = True,
        shape: tuple[int, ...] = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.latent, self.variational, self.shape = latent, variational, tuple(shape)
        pixels = math.prod(shape)
        heads = 2 * latent if variational else latent
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(pixels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, heads),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, pixels),
            nn.Sigmoid(),
            nn.Unflatten(1, self.shape),
        )

    def encode(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map `(batch, *shape)` to `(mean, log_variance)`, each `(batch, latent)`, or to a code."""
        heads: Tensor = self.encoder(images)
        if not self.variational:
            return heads
        mean, log_variance = heads.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Map `(batch, latent)` to pixel means in [0, 1], `(batch, *shape)`."""
        reconstruction: Tensor = self.decoder(latents)
        return reconstruction


class ConvolutionalVAE(nn.Module):
    """Two strided convolutions and a dense layer, mirrored; Gaussian posterior.

    Args:
        latent: number of latent units.
        channels: channels of the first convolution; the second has twice as many.
        hidden: width of the dense layer.
    """

    def __init__(self, *, latent: int = 16, channels: int = 16, hidden: int = 128) -> None:
        super().__init__()
        self.latent = latent
        inner = (2 * channels, 7, 7)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(math.prod(inner), hidden),
            nn.ELU(),
            nn.Linear(hidden, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.ELU(),
            nn.Linear(hidden, math.prod(inner)),
            nn.ELU(),
            nn.Unflatten(1, inner),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ELU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(batch, 1, 28, 28)` to `(mean, log_variance)`, each `(batch, latent)`."""
        mean, log_variance = torch.chunk(self.encoder(images), 2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Map `(batch, latent)` to pixel means in [0, 1], `(batch, 1, 28, 28)`."""
        reconstruction: Tensor = self.decoder(latents)
        return reconstruction


def build(architecture: str, options: dict[str, object]) -> nn.Module:
    """Make an untrained zoo model from the two entries of its card."""
    classes: dict[str, type[nn.Module]] = {
        "DenseAutoencoder": DenseAutoencoder,
        "ConvolutionalVAE": ConvolutionalVAE,
    }
    return classes[architecture](**options)
