"""The pictures: scores and resistance against beta, and attacks against their budget."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.khan2022.attacking import ENCODER, LATENT, MAXIMUM, RANDOM, ROUND_TRIP
from examples.khan2022.measuring import NOTHING, Model
from examples.khan2022.results import SCORES, Results
from examples.khan2022.training import TITLES

PANELS = {
    "spectral radius": ("encoder.spectral_radius", "round_trip.spectral_radius"),
    "von Neumann entropy": ("encoder.von_neumann_entropy", "round_trip.von_neumann_entropy"),
    "units": ("encoder.active_units", "encoder.effective_rank", "encoder.condition_number"),
    "of the attack": ("hinge", "auddc"),
    "L2 of input": ("reach", "reconstruction_error"),
}
LOGARITHMIC = ("spectral radius", "units")
SHOWN = (f"{ENCODER} 1", f"{ROUND_TRIP} 1", LATENT, MAXIMUM, RANDOM)


def against_beta(results: Results, file: Path) -> Path:
    """A column a data set; the bars are 95 % intervals over pairs or images."""
    panels = PANELS | {"damage, L2 of input": tuple(results.damages)}
    figure, axes = plt.subplots(
        len(panels), len(results.series), figsize=(4.6 * len(results.series), 2.1 * len(panels)), sharex=True,
        sharey="row", squeeze=False, layout="constrained",
    )  # fmt: skip
    for column, (dataset, models) in zip(axes.T, results.series.items(), strict=True):
        column[0].set_title(f"{TITLES[dataset]} ({len(models)} models)")
        column[-1].set_xlabel("beta")
        for axis, (title, names) in zip(column, panels.items(), strict=True):
            for name in names:
                _against_beta(axis, models, name)
            axis.set(xscale="log", yscale="log" if title in LOGARITHMIC else "linear")
            axis.grid(alpha=0.3)
            if axis in axes[:, 0]:
                axis.set_ylabel(title)
                if axis.containers:
                    axis.legend(fontsize="xx-small")
    return _saved(figure, file)


def against_budget(results: Results, file: Path) -> Path:
    """Displacement of the reconstruction by attack, at the lowest, the middle and the highest beta of every data set."""
    radii = results.setting.of_series.radii
    figure, axes = plt.subplots(
        len(results.series), 3, figsize=(11, 3.0 * len(results.series)), sharex=True, sharey="row", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, (dataset, models) in zip(axes, results.series.items(), strict=True):
        for axis, model in zip(row, three(models), strict=True):
            for name in SHOWN:
                value, low, high = np.array(model.attacks[name]["displacement"]).T
                axis.errorbar(radii, value, yerr=[value - low, high - value], marker=".", capsize=2, label=name, lw=1)
            axis.set(xscale="log", title=f"{TITLES[dataset]}, beta {model.recipe.beta:.3g}")
            axis.grid(alpha=0.3)
        row[0].set_ylabel("displacement, L2 of input")
    axes[0, 0].legend(fontsize="xx-small")
    for axis in axes[-1]:
        axis.set_xlabel("L2 budget")
    return _saved(figure, file)


def three(models: list[Model]) -> list[Model]:
    """The lowest, the middle and the highest beta; models repeat where there are fewer."""
    return [models[0], models[len(models) // 2], models[-1]]


def _against_beta(axis: Axes, models: list[Model], name: str) -> None:
    kept = [(m.recipe.beta, *m.figures.get(name, NOTHING)) for m in models if math.isfinite(m.value(name))]
    if not kept:
        return
    beta, value, low, high = np.array(kept).T
    bars = [np.where(np.isfinite(end), abs(value - end), 0) for end in (low, high)]
    axis.errorbar(beta, value, yerr=bars, marker=".", capsize=2, lw=1, label=SCORES.get(name, name.replace("_", " ")))


def _saved(figure: Figure, file: Path) -> Path:
    with mpl.rc_context({"svg.hashsalt": file.name, "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return file
