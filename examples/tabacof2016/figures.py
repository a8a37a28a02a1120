"""The paper's figures, redrawn from a results file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from examples.papers.charts import Chart, drawn
from vaeaudit.report.pages.plots import ACCENT, MUTED, SERIES

from .comparing import beside_output, gaps_at, kept, measured, middle
from .results import Results, array

NAME = "tabacof2016"
ROLES = {"vae": SERIES[0], "ae": SERIES[1]}
GAP = "gap to the target's reconstruction"
SHOWN_PAIR = 0
_VISIBLE = 0.008


def charts(name: str, duel: Results) -> Iterator[Chart]:
    """Every figure that a duel allows."""
    yield _one_pair(name, duel)
    yield _all_pairs(name, duel)
    yield _own(name, duel)
    if "kl_tabacof2016" in duel["attacks"]["vae"]:
        yield _divergences(name, duel)
    if "output" in duel["attacks"]["vae"]:
        yield _direct(name, duel)


def _chart(name: str, title: str, description: str, panels: list[Callable[[Axes], None]], height: float = 3.4) -> Chart:
    """Panels side by side."""

    def draw(axes: NDArray[Any]) -> None:
        for ax, panel in zip(axes[0], panels, strict=True):
            panel(ax)

    return drawn(f"{NAME}.{name}", title, description, draw, columns=len(panels), height=height)


def _of_roles(panel: Callable[[Axes, str, Results], None], duel: Results, words: str = GAP) -> list[Any]:
    """The same panel of the VAE's latent attack and of the AE's."""

    def of(role: str) -> Callable[[Axes], None]:
        def draw(ax: Axes) -> None:
            panel(ax, role, duel["attacks"][role]["latent"])
            _axes(ax, role, words)

        return draw

    return [of(role) for role in ROLES]


def _one_pair(name: str, duel: Results) -> Chart:
    def panel(ax: Axes, role: str, trial: Results) -> None:
        x, y = array(trial["distortion"][SHOWN_PAIR]), array(trial["gap"][SHOWN_PAIR])
        ax.plot(x, y, ".", color=MUTED, ms=4, label="each C")
        best = trial["best"][SHOWN_PAIR]
        ax.plot(x[best], y[best], "o", color=SERIES[2], ms=7, label="the C that is shown in pictures")
        hinge, floor, slope = (array(trial[key])[SHOWN_PAIR] for key in ("hinge", "floor", "slope"))
        if np.isfinite(hinge):
            at = np.array([0, hinge, max(1.0, float(np.nanmax(x)))])
            stick = floor + slope * np.maximum(0, hinge - at)
            ax.plot(at, stick, color=ROLES[role], lw=1.4, label=f"hinge {hinge:.3f}")

    return _chart(
        f"{name}-one-pair", f"One pair over the series of C: {duel['title']} (after the paper's figure 2)",
        "Gap to the target against distortion for one pair, a dot a C, with the fitted broken stick; VAE left, AE right.",
        _of_roles(panel, duel),
    )  # fmt: skip


def _all_pairs(name: str, duel: Results) -> Chart:
    def panel(ax: Axes, role: str, trial: Results) -> None:
        colour, hinge, found = ROLES[role], kept(trial, "hinge"), measured(trial, "hinge")
        _lines(ax, trial, "gap")
        ax.plot(hinge, gaps_at(trial, hinge), "o", color=colour, ms=4, alpha=0.8, ls="", label="hinges")
        if np.isfinite(found.value):
            ax.axvline(found.value, color=colour, lw=1.6, label=f"median {found.value:.3f}")
        if np.isfinite([found.low, found.high]).all():
            ax.axvspan(found.low, found.high, color=colour, alpha=0.13, lw=0, label="95 % interval")

    hinges = {role: measured(duel["attacks"][role]["latent"], "hinge").value for role in ROLES}
    return _chart(
        f"{name}-all-pairs", f"All pairs and their hinges: {duel['title']} (after the paper's figures 3 and 4)",
        f"Gap against distortion, a line a pair. Median hinge of the VAE {hinges['vae']:.3f}, of the AE {hinges['ae']:.3f}.",
        _of_roles(panel, duel),
    )  # fmt: skip


def _own(name: str, duel: Results) -> Chart:
    def panel(ax: Axes, _: str, trial: Results) -> None:
        _lines(ax, trial, "own")
        ax.set_ylim(0, None)

    return _chart(
        f"{name}-own-input", f"How far reconstructions leave their input: {duel['title']} (the released second figure)",
        "E L2(r(x_a) - x_a) in units of the reach against distortion, a line a pair; VAE left, AE right.",
        _of_roles(panel, duel, "reconstruction to its own input, in reaches"),
    )  # fmt: skip


def _divergences(name: str, duel: Results) -> Chart:
    def of(attack: str, words: str) -> Callable[[Axes], None]:
        def panel(ax: Axes) -> None:
            trial = duel["attacks"]["vae"][attack]
            _lines(ax, trial, "gap")
            floor = measured(trial, "floor").value
            if np.isfinite(floor):
                ax.axhline(floor, color=ACCENT, lw=1.6, label=f"median floor {floor:.3f}")
            _axes(ax, "vae", GAP)
            ax.set_title(words, fontsize=9, loc="left")

        return panel

    return _chart(
        f"{name}-divergences", f"Where the VAE's floor comes from: {duel['title']}",
        "Gap against distortion of the VAE's pairs under the KL, left, and under the released code's divergence, right.",
        [of("latent", "KL"), of("kl_tabacof2016", "what the paper's code minimised")],
    )  # fmt: skip


def _direct(name: str, duel: Results) -> Chart:
    at = np.linspace(0, 1, 81)

    def panel(ax: Axes, role: str, _: Results) -> None:
        for attack, style in (("latent", "-"), ("output", "--")):
            trial = duel["attacks"][role][attack]
            means = [middle(gaps_at(trial, np.full(len(trial["distortion"]), x)), np.mean) for x in at]
            ax.plot(at, means, style, color=ROLES[role], lw=1.6, label=f"{attack} attack")

    told = "; ".join(
        f"{role.upper()} " + ", ".join(f"{apart.mean.value:+.3f} at {level:g} hinges" for level, (apart, _) in found.items())
        for role in ROLES
        for found in (beside_output(duel, role),)
    )  # fmt: skip
    return _chart(
        f"{name}-direct", f"Attacking the output directly, mean gap at equal distortion: {duel['title']}",
        f"Mean gap over pairs against distortion. Gap of the output attack minus the latent attack's: {told}.",
        _of_roles(panel, duel),
    )  # fmt: skip


def of_classifier(name: str, trial: Results) -> Chart:
    """Probability and logit of the wanted class around the crossing."""
    crossing = array(trial["crossing"])
    has = np.isfinite(crossing) & (crossing > 0)
    x = (array(trial["distortion"]) - crossing[:, None])[has]
    reach = float(np.median(crossing[has])) if has.any() else 1.0

    def of(key: str, words: str) -> Callable[[Axes], None]:
        def panel(ax: Axes) -> None:
            y = array(trial[key])[has]
            lines = [np.stack([a, b], 1)[np.argsort(a, kind="stable")] for a, b in zip(x, y, strict=True)]
            ax.add_collection(LineCollection(lines, colors=MUTED, lw=0.7, alpha=0.6))
            ax.axvline(0, color=ACCENT, lw=1.4, label="the wanted class begins to win")
            most = 1.1 * np.abs(y[np.abs(x) <= reach]).max(initial=1)
            ax.set(xlim=(-reach, reach), ylim=(-0.03, 1.03) if key == "probability" else (-most, most))
            ax.set(xlabel="distortion, from the crossing on", ylabel=words)
            _legend(ax)

        return panel

    return _chart(
        f"{name}-classifier", f"The same attack on a classifier: {name.upper()} (after the paper's figure 5)",
        f"Probability, left, and logit, right, of the wanted class against distortion, centred at the crossing, of {int(has.sum())} images.",
        [of("probability", "probability of the wanted class"), of("logit", "its logit")],
    )  # fmt: skip


def _lines(ax: Axes, trial: Results, key: str) -> None:
    excluded = np.array(trial["excluded"], bool)
    x, y = array(trial["distortion"])[~excluded], array(trial[key])[~excluded]
    lines = [np.stack([a, b], 1)[np.isfinite(b)] for a, b in zip(x, y, strict=True)]
    lines = [_thinned(line[np.argsort(line[:, 0], kind="stable")]) for line in lines]
    ax.add_collection(LineCollection(lines, colors=MUTED, lw=0.7, alpha=0.5))
    heights = np.concatenate([np.zeros(0), *(line[:, 1] for line in lines)])
    ax.set_ylim(min(-0.04, heights.min(initial=0) - 0.02), heights.max(initial=1) + 0.06)


def _thinned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line without the points that could not be told from the one before, `(points, 2)`."""
    rows = [0] if len(line) else []
    for row in range(1, len(line)):
        if np.abs(line[row] - line[rows[-1]]).max() > _VISIBLE or row == len(line) - 1:
            rows.append(row)
    return line[rows]


def _axes(ax: Axes, role: str, words: str) -> None:
    ax.set_xlim(0, 1.05)
    ax.set(xlabel=f"{role.upper()}: distortion / distance of original and target", ylabel=words)
    _legend(ax)


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=3, borderaxespad=0.2, handlelength=1.2,
                  columnspacing=1.2)  # fmt: skip
