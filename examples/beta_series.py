"""Which score follows beta, and which follows the resistance that attacks measure? A series of VAEs on two data sets.

    python examples/beta_series.py --data data --epochs 10 --output beta-series

`--data` is where torchvision keeps the images; what is not there is downloaded. Trained models and audited
reports are kept under `--output` and used again, so that a killed run goes on where it stopped, and a further beta
or seed costs only itself. Khan and Storkey (2022) train 50 betas from logspace(-2, 1); the default is ten of them.

Rank correlations (Spearman) are over models, of which there are few: each carries an interval, see `correlation`.
All models of a data set are audited on the same pairs. The tables (`beta_series.md`), every figure behind them
(`beta_series.json`) and a picture (`beta_series.png`) are written to `--output`.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

import vaeaudit
from vaeaudit.zoo.models import DenseAutoencoder

DATASETS = {"mnist": torchvision.datasets.MNIST, "fashion": torchvision.datasets.FashionMNIST}
BATCH, LEARNING_RATE = 100, 1e-3
RESAMPLES = 4000
PARTS = {"encoder": "encoder", "decoder": "decoder", "round_trip": "round trip"}
GEOMETRY = {
    "spectral_radius": "spectral radius",
    "trace": "trace",
    "von_neumann_entropy": "von Neumann entropy",
    "effective_rank": "effective rank",
    "entropy_khan2022": "entropy, Khan 2022",
    "condition_number": "condition number",
    "log_pseudo_determinant": "log pseudo-determinant",
}
HEADLINE = {"hinge": "hinge", "auddc": "AUDDC", "reach": "reach", "reconstruction_error": "reconstruction error"}
SCORES = {
    **{f"{part}.{score}": f"{title}, {name}" for score, name in GEOMETRY.items() for part, title in PARTS.items()},
    "encoder.active_units": "active units",
    "reach": "reach",
    "reconstruction_error": "reconstruction error",
}
FIGURES = {
    **HEADLINE,
    "damage at 0.56": "damage at 0.56",
    "damage / reach": "damage at 0.56 / reach",
    "reach / hinge": "reach / hinge",
    "encoder.spectral_radius": "encoder spectral radius",
    "round_trip.spectral_radius": "round trip spectral radius",
    "encoder.condition_number": "encoder condition number",
    "encoder.active_units": "active units",
}
PANELS = {
    "hinge, AUDDC": ("hinge", "auddc"),
    "damage": ("damage at 0.28", "damage at 0.56", "damage at 1.4"),
    "reach, error": ("reach", "reconstruction_error"),
    "spectral radius": tuple(f"{part}.spectral_radius" for part in PARTS),
    "von Neumann entropy": tuple(f"{part}.von_neumann_entropy" for part in PARTS),
    "condition number, active units": (
        "encoder.condition_number",
        "round_trip.condition_number",
        "encoder.active_units",
    ),
}
LOGARITHMIC = ("spectral radius", "condition number, active units")


class Model(NamedTuple):
    """One model of the series: value, low and high of every figure, and the names of its health findings."""

    beta: float
    seed: int
    figures: dict[str, tuple[float, float, float]]
    findings: list[str]


class Correlation(NamedTuple):
    """Spearman's rank correlation over n models, and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


Series = dict[str, list[Model]]


def train(images: Tensor, *, beta: float, epochs: int, seed: int) -> DenseAutoencoder:
    """A 784-256-256-20 VAE that minimises Bernoulli reconstruction + beta KL; Adam, annealed by a cosine."""
    torch.manual_seed(seed)
    model = DenseAutoencoder()
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            batch = images[rows]
            mean, log_variance = model.encode(batch)
            decoded = model.decode(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
            fit = F.binary_cross_entropy(decoded, batch, reduction="sum")
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            optimiser.zero_grad()
            ((fit + beta * kl) / len(batch)).backward()
            optimiser.step()
        schedule.step()
    return model


def trained(file: Path, images: Tensor, *, beta: float, epochs: int, seed: int) -> DenseAutoencoder:
    """The model kept in a file, trained first if there is none."""
    model = DenseAutoencoder()
    if not file.exists():
        model = train(images, beta=beta, epochs=epochs, seed=seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        save_file(model.state_dict(), unfinished)
        unfinished.replace(file)
    model.load_state_dict(load_file(file))
    return model.eval()


def audited(dataset: str, options: argparse.Namespace, *, beta: float, seed: int) -> vaeaudit.AuditReport:
    """The report of one model, measured first if it is not there."""
    folder = options.output / f"{dataset}-beta{beta:.4g}-seed{seed}-{options.images}images-{options.epochs}epochs"
    if (folder / options.preset / "report.json").exists():
        return vaeaudit.load(folder / options.preset)
    print(f"{dataset}: beta {beta:.3g}, seed {seed}", flush=True)
    training = DATASETS[dataset](options.data, train=True, download=True).data[: options.images, None].float() / 255
    model = trained(folder / "model.safetensors", training, beta=beta, epochs=options.epochs, seed=seed)
    test = DATASETS[dataset](options.data, train=False, download=True, transform=torchvision.transforms.ToTensor())
    ae = vaeaudit.Autoencoder(model.encode, model.decode, bounds=(0.0, 1.0), name=f"{dataset} beta {beta:.3g}")
    report = vaeaudit.audit(ae, test, preset=options.preset)
    report.save(folder / options.preset)
    return report


def figures_of(report: vaeaudit.AuditReport) -> dict[str, tuple[float, float, float]]:
    """Every score, damage at every budget, and two ratios; a figure that must not be relied upon is NaN.

    The ratios carry no interval. Reach / hinge is proportional to how far the targeted attack carries the
    reconstruction per unit of distortion: L2(x - t) belongs to the pairs, which are the same for all models.
    """
    estimates = report.scores()
    for radius, damage, gain in zip(report.damage.radii, report.damage.estimates, report.damage.gains, strict=True):
        estimates |= {f"damage at {radius:.3g}": damage, f"gain at {radius:.3g}": gain}
    figures = {
        name: (found.value, found.low, found.high) if found.trusted else (math.nan,) * 3
        for name, found in estimates.items()
    }
    reach, hinge = figures["reach"][0], figures["hinge"][0]
    damage = report.damage.estimates[report.damage.middle].value
    ratios = {"damage / reach": damage / reach, "reach / hinge": reach / hinge if hinge else math.nan}
    return figures | {name: (value, value, value) for name, value in ratios.items()}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's, along the last axis; NaN where either is constant."""
    x, y = (scipy.stats.rankdata(v, axis=-1) for v in (a, b))
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def correlation(a: list[float], b: list[float]) -> Correlation:
    """Rank correlation over the models that have both figures, and the wider of two 95 % intervals at each end.

    One is the bootstrap's over models (percentiles), which has no width where all are in perfect order; the other
    Fisher's with the standard error of Bonett and Wright (2000), for which a perfect order counts as one exchange of
    neighbours short of it.
    """
    x, y = (np.array(v)[np.isfinite(a) & np.isfinite(b)] for v in (a, b))
    n = len(x)
    value = float(rank_correlation(x, y)) if n > 1 else math.nan
    if n < 4 or math.isnan(value):
        return Correlation(value, -1.0, 1.0, n)
    rows = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    resampled = np.nanquantile(rank_correlation(x[rows], y[rows]), [0.025, 0.975])
    nearly = 1 - 12 / (n * (n * n - 1))
    centre = math.atanh(np.clip(value, -nearly, nearly))
    half = 1.96 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return Correlation(
        value,
        -1.0 if value < -nearly else min(resampled[0], math.tanh(centre - half)),
        1.0 if value > nearly else max(resampled[1], math.tanh(centre + half)),
        n,
    )


def resistances(models: list[Model]) -> list[str]:
    """What attacks measured; the gain is damage over its budget, which ranks models as the damage does."""
    return ["hinge", "auddc", *(name for name in models[0].figures if name.startswith("damage at"))]


def correlations(models: list[Model]) -> dict[str, dict[str, Correlation]]:
    """Of every score (and every resistance) with beta and with every resistance."""

    def column(name: str) -> list[float]:
        return [m.beta if name == "beta" else m.figures.get(name, (math.nan,))[0] for m in models]

    against = ["beta", *resistances(models)]
    rows = [*SCORES, *resistances(models), "damage / reach", "reach / hinge"]
    return {row: {name: correlation(column(row), column(name)) for name in against} for row in rows}


def markdown(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures_table(models: list[Model]) -> str:
    """One row a model: the figures with their intervals."""
    rows = [["beta", *FIGURES.values(), "findings"]]
    for model in models:
        cells = [interval(*model.figures.get(name, (math.nan,) * 3)) for name in FIGURES]
        rows.append([f"{model.beta:.3g}", *cells, ", ".join(model.findings) or "–"])
    return markdown(rows)


def interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3g}" if low == high else f"{value:.3g} [{low:.3g}, {high:.3g}]"


def correlation_table(models: list[Model]) -> str:
    """One row a score, one column what it is held against."""
    found = correlations(models)
    against = ["beta", *resistances(models)]
    rows = [["", *(HEADLINE.get(name, name) for name in against)]]
    for score, cells in found.items():
        rows.append([SCORES.get(score, HEADLINE.get(score, score)), *(cell(cells[name], models) for name in against)])
    return markdown(rows)


def cell(found: Correlation, models: list[Model]) -> str:
    if math.isnan(found.value):
        return "–"
    short = f" ({found.n} models)" if found.n < len(models) else ""
    value, low, high = (f"{round(end, 2) + 0.0:.2f}" for end in found[:3])  # adding 0 takes the sign from a zero
    return f"{value} [{low}, {high}]{short}"


def tables(series: Series) -> str:
    parts = []
    for dataset, models in series.items():
        parts += [
            f"{dataset}: figures of {len(models)} models", figures_table(models),
            f"{dataset}: rank correlation over {len(models)} models", correlation_table(models),
        ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def as_json(series: Series) -> str:
    """Every figure and every correlation, a line a model or a score."""

    def plain(values: tuple[float, ...]) -> list[float | None]:
        return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values]

    data = {
        dataset: {
            "models": [
                {**m._asdict(), "beta": plain((m.beta,))[0], "figures": {k: plain(v) for k, v in m.figures.items()}}
                for m in models
            ],
            "correlations": [
                {"score": score, **{name: plain(found) for name, found in cells.items()}}
                for score, cells in correlations(models).items()
            ],
        }
        for dataset, models in series.items()
    }
    text = json.dumps(data)
    return text.replace('{"beta": ', '\n{"beta": ').replace('{"score": ', '\n{"score": ') + "\n"


def draw(series: Series, file: Path) -> None:
    """Scores and resistance against beta, a column a data set; the bars are the 95 % intervals of the audits."""
    figure, axes = plt.subplots(
        len(PANELS), len(series), figsize=(4.5 * len(series), 2.4 * len(PANELS)), sharex=True, sharey="row",
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for column, (dataset, models) in zip(axes.T, series.items(), strict=True):
        column[0].set_title(f"{dataset} ({len(models)} models)")
        column[-1].set_xlabel("beta")
        for axis, (title, names) in zip(column, PANELS.items(), strict=True):
            for name in names:
                plot(axis, models, name)
            axis.set(xscale="log", yscale="log" if title in LOGARITHMIC else "linear")
            axis.grid(alpha=0.3)
            if axis in axes[:, 0]:
                axis.set_ylabel(title)
                axis.legend(fontsize="xx-small")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def plot(axis: plt.Axes, models: list[Model], name: str) -> None:
    kept = sorted((m.beta, *m.figures[name]) for m in models if name in m.figures and math.isfinite(m.figures[name][0]))
    if not kept:
        return
    beta, value, low, high = np.array(kept).T
    bars = [np.where(np.isfinite(end), abs(value - end), 0) for end in (low, high)]
    label = SCORES.get(name, HEADLINE.get(name, name))
    axis.errorbar(beta, value, yerr=bars, marker=".", capsize=2, linewidth=1, label=label)


def main(arguments: list[str] | None = None) -> Series:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data")
    parser.add_argument("--dataset", default=",".join(DATASETS), help="comma-separated: " + ", ".join(DATASETS))
    parser.add_argument("--betas", help="comma-separated; default: ten of logspace(-2, 1)")
    parser.add_argument("--images", type=int, default=60000, help="training images")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--output", type=Path, default=Path("beta-series"))
    options = parser.parse_args(arguments)
    if unknown := set(options.dataset.split(",")) - set(DATASETS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; choose of {', '.join(DATASETS)}")
    betas = [float(beta) for beta in options.betas.split(",")] if options.betas else torch.logspace(-2, 1, 10).tolist()
    series = {}
    for dataset in options.dataset.split(","):
        series[dataset] = []
        for seed in range(options.seeds):
            for beta in betas:
                report = audited(dataset, options, beta=beta, seed=seed)
                findings = [finding.name for finding in report.health if finding.severity != "info"]
                series[dataset].append(Model(beta, seed, figures_of(report), findings))
    text = tables(series)
    print(text)
    (options.output / "beta_series.md").write_text(text)
    (options.output / "beta_series.json").write_text(as_json(series))
    draw(series, options.output / "beta_series.png")
    return series


if __name__ == "__main__":
    main()
