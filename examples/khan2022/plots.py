"""The pictures: scores and resistance against beta, and attacks against their budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vaeaudit.report.pages.charts import INK, MUTED, SERIES, Chart, chart, logarithmic
from vaeaudit.report.pages.drawing import draw_intervals

from .attacking import ENCODER, LATENT, MAXIMUM, RANDOM, ROUND_TRIP
from .measuring import Model
from .results import Results, titled
from .settings import DATASETS

_PANELS = {
    "spectral radius": ("encoder.spectral_radius", "round_trip.spectral_radius"),
    "von Neumann entropy": ("encoder.von_neumann_entropy", "round_trip.von_neumann_entropy"),
    "units": ("encoder.active_units", "encoder.effective_rank", "encoder.condition_number"),
    "of the attack": ("hinge", "auddc"),
    "L2 of input": ("reach", "reconstruction_error"),
}
_LOGARITHMIC = ("spectral radius", "units")
_ATTACKS = (f"{ENCODER} 1", f"{ROUND_TRIP} 1", LATENT, MAXIMUM, RANDOM)
_STYLES = [{"colour": colour, "mark": mark} for colour, mark in zip((*SERIES[:3], MUTED, INK), "os^vD", strict=True)]
"""Of each line of a panel."""
_ROOM = 0.14
"""Inches above and below a panel, where its legend stands."""


def against_beta(results: Results) -> Chart:
    """A column a data set; the bars are 95 % intervals over pairs or images."""
    panels, series = _PANELS | {"damage, L2 of input": tuple(results.damages)}, results.by_beta

    def draw(axes: NDArray[Any]) -> None:
        for column, (dataset, models) in zip(axes.T, series.items(), strict=True):
            column[0].set_title(f"{DATASETS[dataset]} ({len(models)} models)", fontsize=9, pad=20)
            column[-1].set_xlabel("beta")
            for axis, (title, names) in zip(column, panels.items(), strict=True):
                _against_beta(axis, models, names)
                logarithmic(axis, "x")
                if title in _LOGARITHMIC:
                    logarithmic(axis, "y")
        for axis, title in zip(axes[:, 0], panels, strict=True):
            axis.set_ylabel(title)
            if axis.containers:
                legend = axis.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, borderaxespad=0.2)
                legend.set_in_layout(False)
        axes[0, 0].figure.get_layout_engine().set(h_pad=_ROOM)

    return chart(
        "khan2022-beta", "Scores and resistance against beta; bars are 95 % intervals over pairs or images of a model",
        f"Panels of {', '.join(panels)} against beta, a column each for {', '.join(DATASETS[name] for name in series)}.",
        draw, rows=len(panels), columns=len(series), height=2.3 * len(panels), sharex=True, sharey="row",
    )  # fmt: skip


def _against_beta(axis: Axes, models: Sequence[Model], names: Sequence[str]) -> None:
    for name, style in zip(names, _STYLES, strict=False):
        kept = [(m.recipe.beta, *m.figure(name)) for m in models if math.isfinite(m.figure(name)[0])]
        if kept:
            draw_intervals(axis, np.array(kept), **style, label=titled(name))


def against_budget(results: Results) -> Chart:
    """Displacement of the reconstruction by attack, at the lowest, the middle and the highest beta of every data set."""
    radii, series = results.setting.of_series.radii, results.by_beta

    def draw(axes: NDArray[Any]) -> None:
        for row, (dataset, models) in zip(axes, series.items(), strict=True):
            for axis, model in zip(row, (models[0], middle(models), models[-1]), strict=True):
                for name, style in zip(_ATTACKS, _STYLES, strict=True):
                    table = np.array(model.attacks[name]["displacement"])
                    draw_intervals(axis, np.column_stack([radii, table]), **style, label=name)
                logarithmic(axis, "x")
                axis.set_xticks(radii, [f"{radius:g}" for radius in radii])
                axis.set_title(f"{DATASETS[dataset]}, beta {model.recipe.beta:.3g}", fontsize=9)
                axis.set_xlabel("L2 budget")
            row[0].set_ylabel("displacement, L2 of input")
        axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=len(_ATTACKS))

    return chart(
        "khan2022-budget", "Displacement of the reconstruction by attack and budget, at the lowest, a middle and the highest beta",
        f"Mean displacement of the reconstruction against the L2 budget, a line each for {', '.join(_ATTACKS)}.",
        draw, rows=len(series), columns=3, height=3.4 * len(series), sharex=True, sharey="row",
    )  # fmt: skip


def middle(models: Sequence[Model]) -> Model:
    """The middle one of the betas."""
    return models[len(models) // 2]
