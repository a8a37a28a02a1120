"""Does mixup make a VAE harder to fool? Train VAE, beta-VAE and mixup-VAE side by side and audit each.

    python examples/mixup.py --data data --dataset fashion-mnist --epochs 30 --seeds 5

`--data` is where torchvision keeps the images; what is not there is downloaded. Every seed trains all models
from the same initial weights on the same images, and all are audited on the same held-out pairs. The table
gives the mean over seeds and its 95 % interval (Student's t), which is what training again would change;
`--output` writes it to a file too. Mixup has a second KL, of the mixed images, and so about the pull to the
prior of beta 2: hold it against that model too, or an effect of beta passes for one of mixup.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import scipy.stats
import torch
import torchvision
from torch import Generator, Tensor, nn
from torch.nn import functional as F

import vaeaudit
from vaeaudit.remedies import mixup_loss

DATASETS = {"mnist": torchvision.datasets.MNIST, "fashion-mnist": torchvision.datasets.FashionMNIST}
SCORES = {
    "hinge": "hinge ↑",
    "auddc": "AUDDC ↑",
    "damage_gain": "damage gain ↓",
    "spectral_radius": "encoder spectral radius ↓",
    "condition_number": "encoder condition number ↓",
    "reconstruction_error": "reconstruction error",
    "reach": "reach",
    "active_units": "active units",
}
Figures = dict[str, vaeaudit.Estimate]


class VAE(nn.Module):
    """784-256-latent and back; `encode` returns (mean, log_variance)."""

    def __init__(self, latent: int = 10) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid())

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents).view(-1, 1, 28, 28)


def elbo_loss(model: VAE, images: Tensor, beta: float, generator: Generator) -> Tensor:
    mean, log_variance = model.encode(images)
    noise = torch.randn(mean.shape, generator=generator)
    fit = F.binary_cross_entropy(model.decode(mean + (0.5 * log_variance).exp() * noise), images, reduction="sum")
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (fit + beta * kl) / len(images)


LOSSES: dict[str, Callable[[VAE, Tensor, Generator], Tensor]] = {
    "VAE": lambda model, images, generator: elbo_loss(model, images, 1.0, generator),
    "beta-VAE (beta 2)": lambda model, images, generator: elbo_loss(model, images, 2.0, generator),
    "beta-VAE (beta 4)": lambda model, images, generator: elbo_loss(model, images, 4.0, generator),
    "mixup-VAE": lambda model, images, generator: mixup_loss(
        model.encode, model.decode, images, scale="log_variance", generator=generator
    ),
}


def train(name: str, images: Tensor, *, epochs: int, seed: int) -> VAE:
    torch.manual_seed(seed)
    model, generator = VAE(), Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(128):
            optimiser.zero_grad()
            LOSSES[name](model, images[batch], generator).backward()
            optimiser.step()
    return model.eval()


def measure(model: VAE, held_out: torch.utils.data.Dataset[tuple[Tensor, int]], *, preset: str) -> Figures:
    """The scores of one audit; all audits take the same pairs and noise."""
    subject = vaeaudit.Autoencoder(model.encode, model.decode, bounds=(0.0, 1.0), scale="log_variance")
    report = vaeaudit.audit(subject, held_out, preset=preset)
    for finding in report.health:
        if finding.severity != "info":
            print(f"    {finding.severity}: {finding.message}")
    return {score: report.score(score) for score in SCORES}


def with_interval(estimates: list[vaeaudit.Estimate]) -> str:
    """Mean over seeds and its 95 % interval, which one seed does not carry."""
    values = [found.value for found in estimates]
    text = f"{statistics.fmean(values):.3g}"
    if len(values) > 1:
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        text += f" [{statistics.fmean(values) - half:.3g}, {statistics.fmean(values) + half:.3g}]"
    distrusted = sum(not found.trusted for found in estimates)
    return f"{text} ({distrusted} of {len(values)} not to be trusted)" if distrusted else text


def table(found: dict[str, list[Figures]]) -> str:
    """A markdown table, one row a model."""
    rows = [["model", *SCORES.values()], ["---"] * (1 + len(SCORES))]
    for name, runs in found.items():
        rows.append([name, *(with_interval([figures[score] for figures in runs]) for score in SCORES)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str] | None = None) -> dict[str, list[Figures]]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="data")
    parser.add_argument("--dataset", choices=DATASETS, default="mnist")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, help="train on that many only")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--output", type=Path, help="file for the table")
    options = parser.parse_args(arguments)

    dataset = DATASETS[options.dataset]
    training = dataset(options.data, train=True, download=True).data[: options.images, None].float() / 255
    held_out = dataset(options.data, train=False, download=True, transform=torchvision.transforms.ToTensor())
    found: dict[str, list[Figures]] = {name: [] for name in LOSSES}
    for seed in range(options.seeds):
        for name, runs in found.items():
            print(f"seed {seed}: {name}", flush=True)
            model = train(name, training, epochs=options.epochs, seed=seed)
            runs.append(measure(model, held_out, preset=options.preset))
    print(table(found))
    if options.output:
        options.output.write_text(table(found) + "\n")
    return found


if __name__ == "__main__":
    main()
