"""The models: dense VAEs, trained once and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

import vaeaudit
from examples.papers.keeping import kept_model
from vaeaudit.remedies import mixup_loss
from vaeaudit.zoo.models import DenseAutoencoder

from .settings import Recipe

BATCH, LEARNING_RATE = 100, 1e-3
Loss = Callable[[DenseAutoencoder, Tensor], Tensor]


def images_of(dataset: str, data: Path, *, train: bool, count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first images, `(count, 1, 28, 28)`, values in [0, 1], with their labels; downloaded where they are not there."""
    kinds = {"mnist": torchvision.datasets.MNIST, "fashion": torchvision.datasets.FashionMNIST}
    found = kinds[dataset](data, train=train, download=True)
    return found.data[:count, None].float() / 255, found.targets[:count]


def autoencoder(recipe: Recipe, data: Path, folder: Path, device: str) -> vaeaudit.Autoencoder:
    """The recipe's model, trained first where the folder does not have it."""

    def trained() -> DenseAutoencoder:
        images, _ = images_of(recipe.dataset, data, train=True, count=recipe.images)
        return train(recipe, images.to(device))

    model = kept_model(DenseAutoencoder().to(device), folder / f"{recipe.name}.safetensors", trained)
    return vaeaudit.Autoencoder(model.encode, model.decode, (0.0, 1.0), scale="log_variance", name=recipe.label)


def train(recipe: Recipe, images: Tensor) -> DenseAutoencoder:
    """A 784-256-256-20 VAE; Adam, annealed by a cosine. Recipes of one seed start from the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model, loss = DenseAutoencoder().to(images.device), loss_of(recipe)
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
        for _ in range(recipe.epochs):
            for rows in torch.randperm(len(images)).split(BATCH):
                optimiser.zero_grad()
                loss(model, images[rows]).backward()
                optimiser.step()
            schedule.step()
    return model


def loss_of(recipe: Recipe) -> Loss:
    """Bernoulli reconstruction + beta KL, nats an image; with mixup's three further terms where that is the method."""
    if recipe.method == "elbo":
        return lambda model, images: elbo_loss(model, images, recipe.beta)
    return lambda model, images: mixup_loss(model.encode, model.decode, images, beta=recipe.beta, scale="log_variance")


def elbo_loss(model: DenseAutoencoder, images: Tensor, beta: float) -> Tensor:
    mean, log_variance = model.encode(images)
    decoded = model.decode(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
    fit = F.binary_cross_entropy(decoded, images, reduction="sum")
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (fit + beta * kl) / len(images)
