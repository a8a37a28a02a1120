"""The pictures: scores and resistance against beta, and attacks against their budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from examples.khan2022.attacking import ENCODER, LATENT, MAXIMUM, RANDOM, ROUND_TRIP
from examples.khan2022.measuring import NOTHING, Model
from examples.khan2022.results import RESISTANCE, SCORES, Results
from examples.khan2022.training import TITLES
from examples.papers.charts import Chart, drawn, logarithmic
from vaeaudit.report.pages.plots import INK, MUTED, SERIES

PANELS = {
    "spectral radius": ("encoder.spectral_radius", "round_trip.spectral_radius"),
    "von Neumann entropy": ("encoder.von_neumann_entropy", "round_trip.von_neumann_entropy"),
    "units": ("encoder.active_units", "encoder.effective_rank", "encoder.condition_number"),
    "of the attack": ("hinge", "auddc"),
    "L2 of input": ("reach", "reconstruction_error"),
}
LOGARITHMIC = ("spectral radius", "units")
SHOWN = (f"{ENCODER} 1", f"{ROUND_TRIP} 1", LATENT, MAXIMUM, RANDOM)
COLOURS = (*SERIES[:3], MUTED, INK)
MARKS = ("o", "s", "^", "v", "D")
ROOM = 0.14
"""Inches above and below a panel, where its legend stands."""


def against_beta(results: Results) -> Chart:
    """A column a data set; the bars are 95 % intervals over pairs or images."""
    panels = PANELS | {"damage, L2 of input": tuple(results.damages)}

    def draw(axes: NDArray[Any]) -> None:
        for column, (dataset, models) in zip(axes.T, results.series.items(), strict=True):
            column[0].set_title(f"{TITLES[dataset]} ({len(models)} models)", fontsize=9, pad=20)
            column[-1].set_xlabel("beta")
            for axis, (title, names) in zip(column, panels.items(), strict=True):
                _against_beta(axis, models, names)
                logarithmic(axis, "x")
                if title in LOGARITHMIC:
                    logarithmic(axis, "y")
        for axis, title in zip(axes[:, 0], panels, strict=True):
            axis.set_ylabel(title)
            if axis.containers:
                axis.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, borderaxespad=0.2).set_in_layout(
                    False
                )
        axes[0, 0].figure.get_layout_engine().set(h_pad=ROOM)

    return drawn(
        "khan2022-beta", "Scores and resistance against beta; bars are 95 % intervals over pairs or images of a model",
        f"Panels of {', '.join(panels)} against beta, a column each for {', '.join(TITLES[name] for name in results.series)}.",
        draw, rows=len(panels), columns=len(results.series), height=2.3 * len(panels), sharex=True, sharey="row",
    )  # fmt: skip


def against_budget(results: Results) -> Chart:
    """Displacement of the reconstruction by attack, at the lowest, the middle and the highest beta of every data set."""
    radii = results.setting.of_series.radii

    def draw(axes: NDArray[Any]) -> None:
        for row, (dataset, models) in zip(axes, results.series.items(), strict=True):
            for axis, model in zip(row, three(models), strict=True):
                for name, colour, mark in zip(SHOWN, COLOURS, MARKS, strict=True):
                    table = np.array(model.attacks[name]["displacement"])
                    _bars(axis, np.column_stack([radii, table]), colour, mark, name)
                logarithmic(axis, "x")
                axis.set_xticks(radii, [f"{radius:g}" for radius in radii])
                axis.set_title(f"{TITLES[dataset]}, beta {model.recipe.beta:.3g}", fontsize=9)
                axis.set_xlabel("L2 budget")
            row[0].set_ylabel("displacement, L2 of input")
        axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=len(SHOWN))

    return drawn(
        "khan2022-budget", "Displacement of the reconstruction by attack and budget, at the lowest, a middle and the highest beta",
        f"Mean displacement of the reconstruction against the L2 budget, a line each for {', '.join(SHOWN)}.",
        draw, rows=len(results.series), columns=3, height=3.4 * len(results.series), sharex=True, sharey="row",
    )  # fmt: skip


def three(models: list[Model]) -> list[Model]:
    """The lowest, the middle and the highest beta; models repeat where there are fewer."""
    return [models[0], models[len(models) // 2], models[-1]]


def _against_beta(axis: Axes, models: list[Model], names: tuple[str, ...]) -> None:
    for name, colour, mark in zip(names, COLOURS, MARKS, strict=False):
        kept = [(m.recipe.beta, *m.figures.get(name, NOTHING)) for m in models if math.isfinite(m.value(name))]
        if kept:
            _bars(axis, np.array(kept), colour, mark, (SCORES | RESISTANCE).get(name, name))


def _bars(axis: Axes, table: NDArray[Any], colour: str, mark: str, label: str) -> None:
    """Points with their intervals, of rows of place, value, low and high; an open end has no bar."""
    place, value, low, high = table.T
    bars = [np.where(np.isfinite(end), abs(value - end), 0) for end in (low, high)]
    axis.errorbar(place, value, yerr=bars, marker=mark, ms=3.5, capsize=2, lw=1, color=colour, label=label)
