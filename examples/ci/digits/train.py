"""Train the model on MNIST and write its weights.

    python -m digits.train --data data

`--data` is where torchvision keeps MNIST; it is downloaded if it is not there. A minute or two on a CPU.
Seeded: the same torch on the same kind of machine repeats the weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from digits.model import VAE, WEIGHTS


def loss(model: VAE, images: Tensor, beta: float) -> Tensor:
    """Negative log-likelihood of grey pixels plus beta times the KL to the prior, a mean over images, in nats."""
    mean, log_variance = model.encode(images)
    latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    fit = F.binary_cross_entropy(model.decode(latents), images, reduction="sum")
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (fit + beta * kl) / len(images)


def train(images: Tensor, *, beta: float, epochs: int, seed: int) -> VAE:
    """A model fitted to `(n, 1, 28, 28)` images in [0, 1].

    Weight decay matters here: pixels that are black in every digit would keep their random first weights, and
    an attacker could turn them at will.
    """
    torch.manual_seed(seed)
    model = VAE()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(images)).split(100):
            optimiser.zero_grad(set_to_none=True)
            value = loss(model, images[index], beta)
            value.backward()
            optimiser.step()
            total += value.item() * len(index)
        schedule.step()
        print(f"epoch {epoch + 1:3d}/{epochs}  loss {total / len(images):.2f}", flush=True)
    return model.eval()


def save(model: VAE, path: Path, **about: object) -> None:
    """Write the weights as float16, with how they were made beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, path, metadata={"training": json.dumps(about)})


def main(arguments: list[str] | None = None) -> None:
    """Train and save, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="data", metavar="DIR", help="where torchvision keeps MNIST")
    parser.add_argument("--beta", type=float, default=1.0, help="weight of the KL (default: 1)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS, metavar="FILE")
    options = parser.parse_args(arguments)

    mnist = torchvision.datasets.MNIST(options.data, train=True, download=True)
    images = mnist.data[:, None].float() / 255
    about = {"beta": options.beta, "epochs": options.epochs, "seed": options.seed}
    save(train(images, **about), options.output, **about, torch=torch.__version__)


if __name__ == "__main__":
    main()
