"""The paper's two autoencoder architectures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaeaudit.zoo.models import DenseAutoencoder

from .settings import Model, Setting

LATENT, CONV_LATENT = 20, 100


class GaussianAutoencoder(DenseAutoencoder):
    """The dense VAE with one learned variance for all pixels, which the Gaussian likelihood is of."""

    def __init__(self, *, hidden: int) -> None:
        super().__init__(latent=LATENT, hidden=hidden)
        self.log_variance = nn.Parameter(torch.tensor(-2.0))


class ConvAutoencoder(nn.Module):
    """Three convolutions of stride 2, a dense layer, a hundred latents, and four transposed convolutions.

    Args:
        channels: of an image, 32 pixels high and wide.
        width: channels of the first layer.
        variational: whether `encode` returns `(mean, log_variance)`, or a deterministic code.
    """

    def __init__(self, *, channels: int, width: int, variational: bool) -> None:
        super().__init__()
        self.variational = variational
        hidden = 16 * width
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.ELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.ELU(),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1), nn.ELU(),
            nn.Flatten(), nn.Linear(64 * width, hidden), nn.ELU(),
            nn.Linear(hidden, (1 + variational) * CONV_LATENT),
        )  # fmt: skip
        self.trunk = nn.Sequential(
            nn.Linear(CONV_LATENT, hidden), nn.ELU(), nn.Unflatten(1, (width, 4, 4)),
            nn.ConvTranspose2d(width, 4 * width, 5, stride=2, padding=2), nn.ELU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 5, stride=2, padding=2), nn.ELU(),
            nn.ConvTranspose2d(2 * width, width, 5, stride=2), nn.ELU(),
        )  # fmt: skip
        self.mean_head = nn.ConvTranspose2d(width, channels, 4)
        self.spread_head = nn.ConvTranspose2d(width, channels, 4) if variational else None

    def encode(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map `(batch, channels, 32, 32)` to `(mean, log_variance)`, each `(batch, 100)`, or to a code."""
        heads: Tensor = self.encoder(images)
        if not self.variational:
            return heads
        mean, log_variance = heads.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """The mean of the pixels, `(batch, channels, 32, 32)`."""
        pixels: Tensor = self.mean_head(self.trunk(latents))
        return pixels

    def decode_with_log_variance(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the pixels, each `(batch, channels, 32, 32)`."""
        assert self.spread_head is not None, "an autoencoder trained on squared error has no spread"
        trunk = self.trunk(latents)
        return self.mean_head(trunk), self.spread_head(trunk)


def build(model: Model, setting: Setting, channels: int) -> nn.Module:
    """An untrained autoencoder."""
    if model.architecture == "convolutional":
        return ConvAutoencoder(channels=channels, width=setting.width, variational=model.likelihood is not None)
    if model.likelihood == "gaussian":
        return GaussianAutoencoder(hidden=setting.hidden)
    return DenseAutoencoder(latent=LATENT, hidden=setting.hidden, variational=model.likelihood is not None)
