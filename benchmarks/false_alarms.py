"""How often health checks speak against sound models: zoo models, and small ones of many kinds, random and trained.

python benchmarks/false_alarms.py              # some ten minutes on one core
python benchmarks/false_alarms.py --only zoo
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaeaudit import audit, wrap, zoo
from vaeaudit.report.model import AuditReport

SIDE, LATENT = 8, 6
MASKING = (
    "stochastic_encoder", "stochastic_decoder", "stateful_model", "batch_dependent_encoder", "saturated_outputs",
    "zero_gradients", "non_finite_gradients", "vanishing_gradients", "gradients_disagree", "shattered_gradients",
    "quantised_response", "blind_inputs", "targeted_attack_improvable", "untargeted_attack_improvable",
    "search_beats_targeted_attack", "search_beats_untargeted_attack", "hinge_below_quantisation", "lost_by_rounding",
)  # fmt: skip
"""Checks that a sound model must not set off; the others also tell of models that are merely poor."""
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus, "elu": nn.ELU, "gelu": nn.GELU,
}  # fmt: skip


class Small(nn.Module):
    """A small autoencoder of 8 by 8 pixels: dense, or convolutional with a normalisation."""

    def __init__(self, kind: str, activation: Callable[[], nn.Module], *, variational: bool) -> None:
        super().__init__()
        self.variational = variational
        heads = LATENT * (2 if variational else 1)
        norms: dict[str, list[nn.Module]] = {"group": [nn.GroupNorm(4, 8)], "batch": [nn.BatchNorm2d(8)]}
        if kind == "dense":
            body: list[nn.Module] = [nn.Flatten(), nn.Linear(SIDE**2, 64), activation()]
        else:
            body = [
                nn.Conv2d(1, 8, 3, 2, 1),
                *norms.get(kind, []),
                activation(),
                nn.Flatten(),
                nn.Linear(128, 64),
                activation(),
            ]
        self.encoder = nn.Sequential(*body, nn.Linear(64, heads))
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 64), activation(), nn.Linear(64, SIDE**2), nn.Sigmoid(), nn.Unflatten(1, (1, SIDE, SIDE))
        )

    def encode(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Code, or mean and log-variance, `(batch, 6)` each."""
        heads: Tensor = self.encoder(x)
        if not self.variational:
            return heads
        mean, log_variance = heads.chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Pixels `(batch, 1, 8, 8)`."""
        made: Tensor = self.decoder(z)
        return made


def images() -> tuple[Tensor, Tensor]:
    pixels, labels = zoo.images("mnist-vae")
    return (F.adaptive_avg_pool2d(pixels, SIDE) * 255).round() / 255, torch.from_numpy(labels)


def small(kind: str, activation: str, *, variational: bool, trained: bool, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = Small(kind, ACTIVATIONS[activation], variational=variational)
    if not trained:
        with torch.no_grad():  # random weights of the usual size tell images hardly apart
            for weight in model.parameters():
                weight.mul_(2)
            model.train().encode(images()[0])  # settles running statistics
        return model.eval()
    x = images()[0]
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        found = model.encode(x)
        mean, spread = found if isinstance(found, tuple) else (found, None)
        z = mean if spread is None else mean + (0.5 * spread).exp() * torch.randn_like(mean)
        loss = F.binary_cross_entropy(model.decode(z), x, reduction="none").flatten(1).sum(1)
        if spread is not None:
            loss = loss + 0.25 * (mean.square() + spread.exp() - spread - 1).sum(1)
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    return model.eval()


def audits(only: str) -> Iterator[tuple[str, Callable[[], AuditReport]]]:
    if only in ("all", "zoo"):
        for name in zoo.names():
            yield f"{name} quick", lambda name=name: audit(zoo.load(name), zoo.images(name), "quick")
    if only in ("all", "standard"):
        for name in ("mnist-vae", "mnist-ae"):
            yield f"{name} standard", lambda name=name: audit(zoo.load(name), zoo.images(name), "standard")
    if only in ("all", "small"):
        cases = itertools.product(("dense", "plain", "group", "batch"), ACTIVATIONS, (True, False))
        for seed, (kind, activation, variational) in enumerate(cases):
            trained = seed % 4 < 2  # both a VAE and an AE
            title = f"{kind} {activation} {'VAE' if variational else 'AE'} {'trained' if trained else 'random'}"

            def run(kind: str = kind, activation: str = activation, variational: bool = variational,
                    trained: bool = trained, seed: int = seed) -> AuditReport:  # fmt: skip
                model = small(kind, activation, variational=variational, trained=trained, seed=seed)
                preset = "standard" if seed % 8 == 0 else "quick"
                return audit(wrap(model, bounds=(0, 1)), images(), preset, 12, seed=seed)

            yield title, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("all", "zoo", "standard", "small"), default="all")
    options = parser.parse_args()
    told: Counter[str] = Counter()
    invalid, count = 0, 0
    for title, run in audits(options.only):
        began = time.perf_counter()
        report = run()
        false = [f"{f.severity}: {f.name}" for f in report.health if f.name in MASKING]
        other = [f.name for f in report.health if f.name not in MASKING and f.severity != "info"]
        seconds = report.provenance.seconds
        look = seconds["second look"] / sum(seconds.values())
        print(
            f"{title:32} {time.perf_counter() - began:6.1f} s, second look {look:4.0%}; false: {false or '-'}; others: {other}",
            flush=True,
        )
        count += 1
        told.update(false)
        invalid += any(name.startswith("invalid") for name in false)
    print(f"\n{count} sound models, {sum(told.values())} false findings, {invalid} models with an invalid one")
    for name, times in told.most_common():
        print(f"  {name}: {times}")


if __name__ == "__main__":
    main()
