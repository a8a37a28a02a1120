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
from .models import ConvAutoencoder, GaussianAutoencoder, build
from .settings import Model, Setting

SEED = 2016
BATCH = 100
RATES = {"dense": 1e-3, "convolutional": 2e-4}
NORM, LARGEST = 5.0, 1.0
"""Gradients are scaled to this length, then cut off at this value."""
_EPSILON = 1e-6
_LOG_TWO_PI = float(np.log(2 * np.pi))


def trained(model: Model, images: Images, setting: Setting, folder: Path, device: str) -> nn.Module:
    """An autoencoder as it lies on disk, trained first if it does not."""
    torch.manual_seed(SEED)
    net = build(model, setting, images.train.shape[1]).to(device)
    dense = model.architecture == "dense"
    count = setting.images if dense else setting.conv_images
    train = images.train[:count].to(device)
    if dense:
        train = (train > 0.5).float()  # the paper's code binarises what it trains on, and not what it attacks
    optimiser = torch.optim.Adam(net.parameters(), lr=RATES[model.architecture], fused=True)
    batches = batches_of(len(train), setting.epochs if dense else setting.conv_epochs)

    def step(rows: Tensor) -> Tensor:
        return _loss(net, model, train[rows]).mean()

    return kept_model(net, folder / f"{model.name}.safetensors", lambda: optimised(net, optimiser, batches, step))


def batches_of(count: int, epochs: int) -> Iterator[Tensor]:
    """Rows of each batch, every epoch in an order of its own."""
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(epochs):
        yield from torch.randperm(count, generator=generator).split(BATCH)


def optimised(
    net: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterator[Tensor], loss: Callable[[Tensor], Tensor]
) -> nn.Module:
    """The network after a step a batch, its gradients clipped as the paper's code does it."""
    for rows in batches:
        optimiser.zero_grad()
        loss(rows).backward()
        nn.utils.clip_grad_norm_(net.parameters(), NORM)
        nn.utils.clip_grad_value_(net.parameters(), LARGEST)
        optimiser.step()
    return net


def _loss(net: Any, model: Model, images: Tensor) -> Tensor:
    """Squared error of an AE, mean over the pixels; negative ELBO of a VAE, nats; `(batch,)`."""
    if model.likelihood is None:
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
