"""Train a small ladder VAE with two levels of latents on MNIST and ask how easily it is fooled.

    python examples/hierarchical.py --data data --epochs 3 --output report-ladder

Its encoder returns two groups, `((mean, log_variance), (mean, log_variance))`, of different shapes: a grid of 4 x 7 x 7
units close to the pixels, and 8 units above it. Its decoder takes the tuple of both. An audit joins them into one latent, so that every
figure is of both levels together; `Posterior.layout` splits it again, which is how the last lines say what share of an
attack's way each level has gone.

Each level has a prior of its own here, N(0, I), so that the loss is one KL a group. A prior that depends on the level above changes the
training and not the audit, which looks at encoder and decoder alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import vaeaudit
from vaeaudit.attacks import latent_damage

Groups = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


class LadderVAE(nn.Module):
    """Two strided convolutions with a grid of latents on top, and a dense level above the grid.

    Args:
        grid: channels of the lower level, of 7 x 7 units each.
        top: units of the upper level.
    """

    def __init__(self, grid: int = 4, top: int = 8) -> None:
        super().__init__()
        self.below = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ELU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ELU()
        )
        self.lower = nn.Conv2d(32, 2 * grid, 1)
        self.above = nn.Sequential(nn.Flatten(), nn.Linear(32 * 49, 64), nn.ELU(), nn.Linear(64, 2 * top))
        self.spread_out = nn.Sequential(nn.Linear(top, 32 * 49), nn.ELU(), nn.Unflatten(1, (32, 7, 7)))
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32 + grid, 16, 4, stride=2, padding=1), nn.ELU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def encode(self, images: Tensor) -> Groups:
        """The posteriors of both levels: `(batch, grid, 7, 7)` and `(batch, top)`, each mean and log-variance."""
        features = self.below(images)
        mean, log_variance = self.lower(features).chunk(2, dim=1)
        top_mean, top_log_variance = self.above(features).chunk(2, dim=1)
        return (mean, log_variance), (top_mean, top_log_variance)

    def decode(self, latents: tuple[Tensor, Tensor]) -> Tensor:
        """Pixel means of latents `(batch, grid, 7, 7)` and `(batch, top)`."""
        lower, top = latents
        reconstructions: Tensor = self.decoder(torch.cat([self.spread_out(top), lower], 1))
        return reconstructions

    def loss(self, images: Tensor, betas: Sequence[float]) -> Tensor:
        """Bernoulli reconstruction + beta KL of each level, nats an image."""
        groups = self.encode(images)
        lower, top = (mean + (0.5 * log_variance).exp() * torch.randn_like(mean) for mean, log_variance in groups)
        loss = F.binary_cross_entropy(self.decode((lower, top)), images, reduction="sum")
        for beta, (mean, log_variance) in zip(betas, groups, strict=True):
            loss = loss + 0.5 * beta * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return loss / len(images)


def train(model: LadderVAE, images: Tensor, *, epochs: int, betas: Sequence[float]) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for rows in torch.randperm(len(images)).split(128):
            optimiser.zero_grad()
            loss = model.loss(images[rows], betas)
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.1f}")


def shares(ae: vaeaudit.Autoencoder, images: Tensor, radius: float) -> list[float]:
    """What part of the squared displacement of the posterior means an attack on the latent causes in each group, mean over images."""
    attack = latent_damage(ae, images, radius, divergence="mean_l2", steps=20)
    clean, attacked = ae.posteriors(images), ae.posteriors(attack.adversarial[:, 0])
    assert clean.layout is not None
    moved = clean.layout.split((attacked.mean - clean.mean).square())
    of_groups = torch.stack([group.flatten(1).sum(1) for group in moved], 1)
    means: list[float] = (of_groups / of_groups.sum(1, keepdim=True)).mean(0).tolist()
    return means


def main(arguments: list[str] | None = None) -> vaeaudit.AuditReport:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="data")
    parser.add_argument("--images", type=int, default=20000, help="to train on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--betas", type=float, nargs=2, default=(1.0, 1.0), help="weights of the lower and the upper KL"
    )
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--output", default="report-ladder")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    model, mnist = LadderVAE(), torchvision.datasets.MNIST
    training = mnist(options.data, train=True, download=True).data[: options.images, None].float() / 255
    train(model, training, epochs=options.epochs, betas=options.betas)

    held_out = mnist(options.data, train=False, download=True, transform=torchvision.transforms.ToTensor())
    ae = vaeaudit.Autoencoder(model.eval().encode, model.decode, (0.0, 1.0), scale="log_variance")
    report = vaeaudit.audit(ae, held_out, options.preset)
    print(report)
    print("Pages and figures:", report.save(options.output))
    images = torch.stack([held_out[i][0] for i in range(16)])
    for radius in (0.5, 2.0):
        lower, top = shares(ae, images, radius)
        print(
            f"An attack on the latent of budget {radius:g}: {lower:.0%} of its way in the grid, {top:.0%} in the top."
        )
    return report


if __name__ == "__main__":
    main()
