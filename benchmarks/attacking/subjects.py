"""Models under attack, with the pairs they are attacked on."""

from __future__ import annotations

import functools
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
