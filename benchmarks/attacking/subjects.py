"""Models under attack, with the pairs they are attacked on."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import vaeaudit
from attacking.common import Settings
from vaeaudit import zoo
from vaeaudit.zoo.models import DenseAutoencoder

WIDE = "784-512-512-20"
TRAINING_STEPS, BATCH = 5000, 100
TEST_IMAGES = 300
HIDDEN = 256
"""Width of the models with random weights."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, and originals and targets of different labels, `(pairs, *event)`."""

    name: str
    ae: vaeaudit.Autoencoder
    originals: Tensor
    targets: Tensor

    def on(self, device: str) -> Subject:
        """The same on a device."""
        return Subject(
            name=self.name,
            ae=self.ae.on(device),
            originals=self.originals.to(device),
            targets=self.targets.to(device),
        )


def small(settings: Settings) -> Subject:
    """The zoo's `mnist-vae` and its bundled images."""
    images, labels = zoo.images("mnist-vae")
    return _subject("mnist-vae", zoo.load("mnist-vae"), images, torch.from_numpy(labels), settings)


def wide(settings: Settings) -> Subject:
    """A VAE of the architecture of Tabacof et al. (2016), trained here, on images that it has not seen."""
    model, images, labels = _trained(settings.data, settings.steps(TRAINING_STEPS), settings.seed)
    name = f"{WIDE}, {settings.steps(TRAINING_STEPS)} steps on {'MNIST' if settings.data else 'bundled images'}"
    return _subject(name, vaeaudit.wrap(model, bounds=(0.0, 1.0)), images, labels, settings)


class ColourVAE(nn.Module):
    """Four strided convolutions and a dense layer of `(3, 64, 64)`, mirrored; 64 units, Gaussian posterior."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        steps = list(itertools.pairwise(widths))
        down = [layer for a, b in steps for layer in (nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ELU())]
        up = [layer for a, b in steps[::-1] for layer in (nn.ELU(), nn.ConvTranspose2d(b, a, 4, stride=2, padding=1))]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(4096, 128))
        self.decoder = nn.Sequential(nn.Linear(64, 4096), nn.Unflatten(1, (256, 4, 4)), *up, nn.Sigmoid())

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, `(batch, 64)` each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Pixel means, `(batch, 3, 64, 64)`."""
        images: Tensor = self.decoder(latents)
        return images


def colour(settings: Settings) -> Subject:
    """A convolutional VAE of 64 x 64 colour images with random weights, and smooth noise."""
    torch.manual_seed(settings.seed)
    return of_smooth_noise("64 x 64 colour", ColourVAE(), 64, settings)


def of_smooth_noise(name: str, model: nn.Module, side: int, settings: Settings) -> Subject:
    """A model with images of smooth random colours, `(pairs, 3, side, side)`."""
    coarse = torch.rand(2 * settings.pairs, 3, 8, 8)
    images = F.interpolate(coarse, size=(side, side), mode="bilinear")
    ae = vaeaudit.wrap(model.eval(), bounds=(0.0, 1.0))
    subject = Subject(name=name, ae=ae, originals=images[: settings.pairs], targets=images[settings.pairs :])
    return subject.on(settings.device)


def random_weights(pixels: tuple[int, ...], latent: int, pairs: int, device: str, seed: int = 0) -> Subject:
    """An untrained dense VAE and noise: cost depends on their shapes."""
    torch.manual_seed(seed)
    model = DenseAutoencoder(latent=latent, hidden=HIDDEN, shape=pixels).eval()
    images = torch.rand(2 * pairs, *pixels)
    ae = vaeaudit.wrap(model, bounds=(0.0, 1.0))
    return Subject(name="random", ae=ae, originals=images[:pairs], targets=images[pairs:]).on(device)


def _subject(name: str, ae: vaeaudit.Autoencoder, images: Tensor, labels: Tensor, settings: Settings) -> Subject:
    rng = np.random.default_rng(settings.seed)
    originals = rng.choice(len(images), settings.pairs, replace=settings.pairs > len(images))
    targets = [rng.choice(np.flatnonzero(labels != labels[i])) for i in originals]
    return Subject(name=name, ae=ae, originals=images[originals], targets=images[targets]).on(settings.device)


@functools.cache
def _trained(data: Path | None, steps: int, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A VAE after so many steps of Adam, and images and labels kept from it."""
    images, unseen, labels = _bundled() if data is None else _mnist(data)
    torch.manual_seed(seed)
    model = DenseAutoencoder(latent=20, hidden=512)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = images[torch.randint(len(images), (BATCH,))]
        mean, log_variance = model.encode(batch)
        decoded = model.decode(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        loss = F.binary_cross_entropy(decoded, batch, reduction="sum") + kl
        adam.zero_grad()
        (loss / len(batch)).backward()
        adam.step()
    return model.eval(), unseen, labels


def _bundled() -> tuple[Tensor, Tensor, Tensor]:
    images, labels = zoo.images("mnist-vae")
    unseen = torch.arange(len(images)) % 2 == 0
    return images[~unseen], images[unseen], torch.from_numpy(labels)[unseen]


def _mnist(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    from torchvision.datasets import MNIST

    train, test = MNIST(folder, train=True), MNIST(folder, train=False)
    images = train.data[:, None].float() / 255
    return images, test.data[:TEST_IMAGES, None].float() / 255, test.targets[:TEST_IMAGES]
