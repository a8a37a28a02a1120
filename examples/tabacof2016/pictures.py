"""Pictures of a run for its page: what the attack made of a few pairs, at the paper's best C and over the whole series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from examples.papers.charts import Chart, drawn
from vaeaudit.report import words
from vaeaudit.report.pages.films import film
from vaeaudit.report.pages.pictures import picture
from vaeaudit.report.pages.viewers import Column, Viewer

from .figures import NAME
from .images import Images
from .measuring import Trial
from .settings import Duel

PAIRS = 2
FRAMES = 34
Integers = NDArray[np.int64]
Trials = Mapping[str, Trial]
Best = Mapping[str, list[int]]


def stills(duel: Duel, data: Images, trials: Trials, best: Best) -> Chart:
    """What the attack made of the pictured pairs at the strength that the paper's rule picks.

    Args:
        duel: of which models.
        data: that they were attacked on.
        trials: the latent attack by role.
        best: by role, the index of that strength for every pair.
    """
    heads = ["original", "target", *(f"{role.upper()}: {what}" for role in trials for what in ("attacked", "result"))]
    rows = [
        [data.test[i].numpy(), data.test[j].numpy(), *(
            events[pair, best[role][pair]] for role, trial in trials.items()
            for events in (trial.adversarial, trial.reconstruction)
        )]
        for pair, (i, j) in enumerate(data.pairs(PAIRS))
    ]  # fmt: skip

    def draw(axes: NDArray[Any]) -> None:
        for ax, head in zip(axes[0], heads, strict=True):
            ax.set_title(head, fontsize=9)
        for row, events in zip(axes, rows, strict=True):
            for ax, event in zip(row, events, strict=True):
                shown = np.moveaxis((event - data.bounds[0]) / (data.bounds[1] - data.bounds[0]), 0, -1)
                ax.imshow(np.clip(shown, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="none")
                ax.set_axis_off()

    return drawn(
        f"{NAME}.{duel.name}-pictures", f"Attacked inputs and what is made of them at the strength that the paper's rule picks: {duel.title}",
        f"Originals, targets, attacked inputs and their reconstructions by VAE and AE, {len(rows)} pairs.", draw,
        rows=len(rows), columns=len(heads), height=1.62 * len(rows),
    )  # fmt: skip


def viewers(duel: Duel, data: Images, trials: Trials, best: Best) -> list[Viewer]:
    """The pictured pairs over the series of C, both models at the same strengths; arguments as of `stills`."""
    series = trials["vae"].curves.strengths
    shown = series[np.unique(np.linspace(0, len(series) - 1, min(FRAMES, len(series))).round().astype(int))][::-1]
    at = {role: nearest(trial.curves.strengths, shown) for role, trial in trials.items()}
    first = nearest(shown, series[best["vae"][:PAIRS]])
    return [
        Viewer(
            name=f"{duel.name}-pair-{pair + 1}",
            caption=f"Pair {pair + 1}: a {data.test_labels[i]} attacked towards a {data.test_labels[j]}",
            control=f"Strength of the attack on pair {pair + 1}",
            columns=(
                _still("Original", data, i),
                *(_moving(role, trial, data.bounds, pair, at[role]) for role, trial in trials.items()),
                _still("Target", data, j),
            ),
            frames=tuple(_said(trials, at, pair, frame, strength) for frame, strength in enumerate(shown)),
            first=int(first[pair]),
        )
        for pair, (i, j) in enumerate(data.pairs(PAIRS))
    ]


def nearest(series: NDArray[np.float64], wanted: NDArray[np.float64]) -> Integers:
    """Index into a series of C of what lies nearest to each wanted one, by its ratio."""
    return np.asarray(np.abs(np.log(series) - np.log(wanted)[:, None]).argmin(1), np.int64)


def _still(title: str, data: Images, row: int) -> Column:
    return Column(title=title, above=picture(data.test[row].numpy(), data.bounds, title), below=Markup())


def _moving(role: str, trial: Trial, bounds: tuple[float, float], pair: int, at: Integers) -> Column:
    return Column(
        title=f"{role.upper()}, attacked",
        above=film(trial.adversarial[pair, at], bounds, f"Attacked input of the {role.upper()}"),
        below=film(trial.reconstruction[pair, at], bounds, f"Its reconstruction by the {role.upper()}"),
        moving=True,
    )


def _said(trials: Trials, at: dict[str, Integers], pair: int, frame: int, strength: float) -> str:
    figures = [
        f"{role.upper()}: distortion {words.number(float(trial.curves.distortion[pair, at[role][frame]]))}, gap "
        f"{words.number(float(trial.curves.gap[pair, at[role][frame]]))}"
        for role, trial in trials.items()
    ]
    return f"C = {words.setting(strength)}. {'. '.join(figures)}."
