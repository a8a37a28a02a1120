"""Training as the paper's code does it, and the trained weights kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.papers.keeping import kept_model

from .images import Images
from .models import ConvAutoencoder, GaussianAutoencoder, build, build_classifier
from .settings import Model, Setting

BATCH = 100
RATES = {"dense": 1e-3, "convolutional": 2e-4}
NORM, LARGEST = 5.0, 1.0
"""Gradients are scaled to this length, then cut off at this value."""
_EPSILON = 1e-6
_LOG_TWO_PI = float(np.log(2 * np.pi))


def trained(
    model: Model, images: Images, setting: Setting, folder: Path, seed: int, device: str
) -> nn.Module:  # fmt: skip
    """An autoencoder as it lies on disk, trained first if it does not."""
    torch.manual_seed(seed)
    net = build(model, setting, images.train.shape[1]).to(device)
    dense = model.architecture == "dense"
    count = setting.images if dense else setting.conv_images
    train = images.train[:count].to(device)
    if dense:
        train = (train > 0.5).float()  # the paper's code binarises what it trains on, and not what it attacks
    optimiser = torch.optim.Adam(net.parameters(), lr=RATES[model.architecture], fused=True)
    batches = _batches(len(train), setting.epochs if dense else setting.conv_epochs, seed)

    def step(rows: Tensor) -> Tensor:
        return _loss(net, model, train[rows]).mean()

    return kept_model(net, folder / f"{model.name}.safetensors", lambda: _optimised(net, optimiser, batches, step))


def trained_classifier(
    data: str, images: Images, setting: Setting, folder: Path, seed: int, device: str
) -> nn.Module:  # fmt: skip
    """A classifier as it lies on disk, trained first if it does not: Nesterov's momentum, learning rate 0.01."""
    torch.manual_seed(seed)
    net = build_classifier(data, setting).to(device)
    count = setting.images if data == "mnist" else setting.conv_images
    train, labels = images.train[:count].to(device), torch.from_numpy(images.train_labels[:count]).to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    batches = _batches(len(train), setting.classifier_epochs, seed)

    def step(rows: Tensor) -> Tensor:
        return F.cross_entropy(net(train[rows]), labels[rows])

    return kept_model(net, folder / f"{data}-classifier.safetensors", lambda: _optimised(net, optimiser, batches, step))


def _batches(count: int, epochs: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from torch.randperm(count, generator=generator).split(BATCH)


def _optimised(
    net: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterator[Tensor], loss: Callable[[Tensor], Tensor]
) -> nn.Module:
    for rows in batches:
        optimiser.zero_grad()
        loss(rows).backward()
        nn.utils.clip_grad_norm_(net.parameters(), NORM)
        nn.utils.clip_grad_value_(net.parameters(), LARGEST)
        optimiser.step()
    return net


def _loss(net: Any, model: Model, images: Tensor) -> Tensor:
    """Squared error of an AE, mean over the pixels; negative ELBO of a VAE, nats; `(batch,)`."""
    if not model.variational:
        error: Tensor = (net.decode(net.encode(images)) - images).square().flatten(1).mean(1)
        return error
    mean, log_variance = net.encode(images)
    latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    prior: Tensor = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return _negative_log_likelihood(net, latents, images) + prior


def _negative_log_likelihood(net: Any, latents: Tensor, images: Tensor) -> Tensor:
    if isinstance(net, ConvAutoencoder):
        return _gaussian(images, *net.decode_with_log_variance(latents))
    if isinstance(net, GaussianAutoencoder):
        return _gaussian(images, net.decode(latents), net.log_variance)
    pixels = net.decode(latents).clamp(_EPSILON, 1 - _EPSILON)
    return F.binary_cross_entropy(pixels, images, reduction="none").flatten(1).sum(1)


def _gaussian(images: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * ((images - mean).square() / log_variance.exp() + log_variance + _LOG_TWO_PI).flatten(1).sum(1)
