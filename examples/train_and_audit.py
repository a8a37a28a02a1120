"""Train a small VAE of your own on MNIST and ask how easily it is fooled.

    python examples/train_and_audit.py --data data --beta 1 --epochs 3

`--data` is where torchvision keeps MNIST; it is downloaded if it is not there. Run it again with another
`--beta` and `--output`, and hold the two against each other: `vaeaudit compare report report-beta4`.
"""

from __future__ import annotations

import argparse

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import vaeaudit


class VAE(nn.Module):
    """784-256-latent and back; `encode` returns (mean, log_variance), as vaeaudit likes it."""

    def __init__(self, latent: int = 10) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid())

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents).view(-1, 1, 28, 28)

    def loss(self, images: Tensor, beta: float) -> Tensor:
        mean, log_variance = self.encode(images)
        latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        fit = F.binary_cross_entropy(self.decode(latents), images, reduction="sum")
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return (fit + beta * kl) / len(images)


def train(model: VAE, dataset: torchvision.datasets.MNIST, *, beta: float, epochs: int) -> None:
    images = dataset.data[:, None].float() / 255
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for batch in torch.randperm(len(images)).split(128):
            optimiser.zero_grad()
            loss = model.loss(images[batch], beta)
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.1f}")


def main(arguments: list[str] | None = None) -> vaeaudit.AuditReport:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data")
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--output", default="report")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    model = VAE()
    mnist = torchvision.datasets.MNIST
    train(model, mnist(options.data, train=True, download=True), beta=options.beta, epochs=options.epochs)

    held_out = mnist(options.data, train=False, transform=torchvision.transforms.ToTensor())
    report = vaeaudit.audit(model.eval(), held_out, preset=options.preset)
    print(report)
    print("Pages and figures:", report.save(options.output))
    return report


if __name__ == "__main__":
    main()
