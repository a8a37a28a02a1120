"""The paper's figures, redrawn from a results file in the manner of the library's reports."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaeaudit.report.plots import ACCENT, INK, MUTED, RULE, SERIES, THEME, inline

from .claims import beside_output, gaps_at, kept, measured, middle
from .results import Results, array

COLOURS = {
    INK: "#1d1f22",
    MUTED: "#62666d",
    RULE: "#e2e3e1",
    SERIES[0]: "#0b5f96",
    SERIES[1]: "#b3500a",
    SERIES[2]: "#2f7d4f",
}
"""What a free-standing file is drawn with, where there is no page to take colours from."""
ROLES = {"vae": SERIES[0], "ae": SERIES[1]}
SHOWN_PAIR = 0
_VISIBLE = 0.008
_SIDE = 104
"""Pixels from one picture to the next."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure: an element for the page, and a file for what cannot hold one.

    Attributes:
        part: duel that it belongs to, or "classifiers".
    name: of the file, without its ending.
        title: caption.
        description: alternative text.
        element: SVG in the page's colours.
        file: free-standing SVG.
    """

    part: str
    name: str
    title: str
    description: str
    element: Markup
    file: str


def charts(results: Results) -> Iterator[Chart]:
    """Every figure that the results allow."""
    for name, duel in results["duels"].items():
        yield _one_pair(name, duel)
        yield _all_pairs(name, duel)
        yield _own(name, duel)
        if "kl_tabacof2016" in duel["attacks"]["vae"]:
            yield _divergences(name, duel)
        if "output" in duel["attacks"]["vae"]:
            yield _direct(name, duel)
    for name, trial in results["classifiers"].items():
        yield _classifier(name, trial)


def stills(name: str, duel: Results, frames: Results) -> Chart:
    """What the attack made of the pictured pairs at the strength that the paper's rule picks."""
    head = ["original", "target", "VAE: attacked", "reconstruction", "AE: attacked", "reconstruction"]
    rows = [
        [pair["original"], pair["target"], *(
            pair["models"][role][kind][pair["best"][role]] for role in ROLES for kind in ("adversarial", "reconstruction")
        )]
        for pair in frames["pairs"]
    ]  # fmt: skip
    description = f"Originals, targets, attacked inputs and their reconstructions by VAE and AE, {len(rows)} pairs."
    width, height = _SIDE * len(head), _SIDE * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ]
    for column, words in enumerate(head):
        parts.append(f'<text x="{column * _SIDE + 2}" y="14" style="font: 11px sans-serif" fill="{INK}">{words}</text>')
        for row, cells in enumerate(rows):
            parts.append(
                f'<image x="{column * _SIDE + 2}" y="{row * _SIDE + 20}" width="{_SIDE - 8}" height="{_SIDE - 8}" '
                f'style="image-rendering: pixelated" href="{cells[column]}"/>'
            )
    source = "\n".join([*parts, "</svg>"])
    return Chart(
        part=name, name=f"{name}-pictures", title=f"Attacked inputs at the strength that the paper's rule picks: {duel['title']}",
        description=description, element=inline(source, f"{name}-pictures", description),
        file=_free_standing(source, description),
    )  # fmt: skip


def _one_pair(name: str, duel: Results) -> Chart:
    def draw(axes: NDArray[Any]) -> None:
        for ax, role in zip(axes, ROLES, strict=True):
            trial = duel["attacks"][role]["latent"]
            x, y = array(trial["distortion"][SHOWN_PAIR]), array(trial["gap"][SHOWN_PAIR])
            ax.plot(x, y, ".", color=MUTED, ms=4, label="each C")
            best = trial["best"][SHOWN_PAIR]
            ax.plot(x[best], y[best], "o", color=SERIES[2], ms=7, label="the C that is shown in pictures")
            _stick(ax, trial, SHOWN_PAIR, ROLES[role])
            _axes(ax, role)

    return _chart(
        name, f"{name}-one-pair", f"One pair over the series of C: {duel['title']} (after the paper's figure 2)",
        "Gap to the target against distortion for one pair, a dot a C, with the fitted broken stick; VAE left, AE right.",
        draw, columns=2, height=3.2,
    )  # fmt: skip


def _stick(ax: Axes, trial: Results, pair: int, colour: str) -> None:
    hinge, floor, slope = (array(trial[key])[pair] for key in ("hinge", "floor", "slope"))
    if np.isfinite(hinge):
        right = max(1.0, float(np.nanmax(array(trial["distortion"][pair]))))
        at = np.array([0, hinge, right])
        ax.plot(at, floor + slope * np.maximum(0, hinge - at), color=colour, lw=1.4, label=f"hinge {hinge:.3f}")


def _all_pairs(name: str, duel: Results) -> Chart:
    def draw(axes: NDArray[Any]) -> None:
        for ax, (role, colour) in zip(axes, ROLES.items(), strict=True):
            trial = duel["attacks"][role]["latent"]
            _lines(ax, trial, "gap")
            hinge = kept(trial, "hinge")
            ax.plot(hinge, gaps_at(trial, hinge), "o", color=colour, ms=4, alpha=0.8, ls="", label="hinges")
            found = measured(trial, "hinge")
            if np.isfinite(found.value):
                ax.axvline(found.value, color=colour, lw=1.6, label=f"median {found.value:.3f}")
            if np.isfinite([found.low, found.high]).all():
                ax.axvspan(found.low, found.high, color=colour, alpha=0.13, lw=0, label="95 % interval")
            _axes(ax, role)

    hinges = {role: measured(duel["attacks"][role]["latent"], "hinge").value for role in ROLES}
    return _chart(
        name, f"{name}-all-pairs", f"All pairs and their hinges: {duel['title']} (after the paper's figures 3 and 4)",
        f"Gap against distortion, a line a pair. Median hinge of the VAE {hinges['vae']:.3f}, of the AE {hinges['ae']:.3f}.",
        draw, columns=2, height=3.6,
    )  # fmt: skip


def _own(name: str, duel: Results) -> Chart:
    def draw(axes: NDArray[Any]) -> None:
        for ax, role in zip(axes, ROLES, strict=True):
            _lines(ax, duel["attacks"][role]["latent"], "own")
            _axes(ax, role, "reconstruction to its own input, in reaches")
            ax.set_ylim(0, None)

    return _chart(
        name, f"{name}-own-input", f"How far reconstructions leave their input: {duel['title']} (the released second figure)",
        "E L2(r(x_a) - x_a) in units of the reach against distortion, a line a pair; VAE left, AE right.",
        draw, columns=2, height=3.2,
    )  # fmt: skip


def _divergences(name: str, duel: Results) -> Chart:
    attacks = {"latent": "KL", "kl_tabacof2016": "what the paper's code minimised"}

    def draw(axes: NDArray[Any]) -> None:
        for ax, (attack, words) in zip(axes, attacks.items(), strict=True):
            trial = duel["attacks"]["vae"][attack]
            _lines(ax, trial, "gap")
            floor = measured(trial, "floor").value
            if np.isfinite(floor):
                ax.axhline(floor, color=ACCENT, lw=1.6, label=f"median floor {floor:.3f}")
            _axes(ax, "vae")
            ax.set_title(words, fontsize=9, loc="right")

    return _chart(
        name, f"{name}-divergences", f"Where the VAE's floor comes from: {duel['title']}",
        "Gap against distortion of the VAE's pairs under the KL, left, and under the released code's divergence, right.",
        draw, columns=2, height=3.4,
    )  # fmt: skip


def _direct(name: str, duel: Results) -> Chart:
    def draw(axes: NDArray[Any]) -> None:
        for ax, (role, colour) in zip(axes, ROLES.items(), strict=True):
            for attack, style in (("latent", "-"), ("output", "--")):
                trial = duel["attacks"][role][attack]
                at = np.linspace(0, 1, 81)
                gaps = np.array([gaps_at(trial, np.full(len(trial["distortion"]), x)) for x in at])
                ax.plot(
                    at, [middle(row, np.mean) for row in gaps], style, color=colour, lw=1.6, label=f"{attack} attack"
                )
            _axes(ax, role)

    told = "; ".join(
        f"{role.upper()} " + ", ".join(f"{apart.value:+.3f} at {level:g} hinges" for level, (apart, _) in found.items())
        for role in ROLES
        for found in (beside_output(duel, role),)
    )
    return _chart(
        name, f"{name}-direct", f"Attacking the output directly, mean gap at equal distortion: {duel['title']}",
        f"Mean gap over pairs against distortion. Gap of the output attack minus the latent attack's: {told}.",
        draw, columns=2, height=3.4,
    )  # fmt: skip


def _classifier(name: str, trial: Results) -> Chart:
    crossing = array(trial["crossing"])
    has = np.isfinite(crossing) & (crossing > 0)
    x = (array(trial["distortion"]) - crossing[:, None])[has]

    def draw(axes: NDArray[Any]) -> None:
        for ax, (key, words) in zip(
            axes, {"probability": "probability of the wanted class", "logit": "its logit"}.items(), strict=True
        ):
            y = array(trial[key])[has]
            order = np.argsort(x, axis=1)
            lines = [np.stack([a[o], b[o]], 1) for a, b, o in zip(x, y, order, strict=True)]
            ax.add_collection(LineCollection(lines, colors=MUTED, lw=0.7, alpha=0.6))
            ax.axvline(0, color=ACCENT, lw=1.4, label="the wanted class begins to win")
            reach = float(np.median(crossing[has])) if has.any() else 1.0
            ax.set_xlim(-reach, reach)
            shown = np.abs(x) <= reach
            ax.set_ylim(
                *((-0.03, 1.03) if key == "probability" else np.array([-1.1, 1.1]) * np.abs(y[shown]).max(initial=1))
            )
            ax.set_xlabel("distortion, from the crossing on")
            ax.set_ylabel(words)
            ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2)

    return _chart(
        "classifiers", f"{name}-classifier", f"The same attack on a classifier: {name.upper()} (after the paper's figure 5)",
        f"Probability, left, and logit, right, of the wanted class against distortion, centred at the crossing, of {int(has.sum())} images.",
        draw, columns=2, height=3.2,
    )  # fmt: skip


def _lines(ax: Axes, trial: Results, key: str) -> None:
    excluded = np.array(trial["excluded"], bool)
    x, y = array(trial["distortion"])[~excluded], array(trial[key])[~excluded]
    lines = [np.stack([a, b], 1)[np.isfinite(b)] for a, b in zip(x, y, strict=True)]
    lines = [_thinned(line[np.argsort(line[:, 0], kind="stable")]) for line in lines]
    ax.add_collection(LineCollection(lines, colors=MUTED, lw=0.7, alpha=0.5))
    finite = np.concatenate(lines) if lines else np.zeros((0, 2))
    ax.set_ylim(
        min(-0.04, float(np.nanmin(finite[:, 1], initial=0)) - 0.02), float(np.nanmax(finite[:, 1], initial=1)) + 0.06
    )


def _thinned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line without the points that could not be told from the one before, `(points, 2)`."""
    kept_rows = [0] if len(line) else []
    for row in range(1, len(line)):
        if np.abs(line[row] - line[kept_rows[-1]]).max() > _VISIBLE or row == len(line) - 1:
            kept_rows.append(row)
    return line[kept_rows]


def _axes(ax: Axes, role: str, words: str = "gap to the target's reconstruction") -> None:
    ax.set_xlim(0, 1.05)
    ax.set_xlabel(f"{role.upper()}: distortion / distance of original and target")
    ax.set_ylabel(words)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper right")


def _chart(
    part: str,
    name: str,
    title: str,
    description: str,
    draw: Callable[[NDArray[Any]], None],
    *,
    columns: int,
    height: float,
) -> Chart:
    with matplotlib.style.context(["default", THEME]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="matplotlib")
        figure = Figure(figsize=(9.0, height), layout="constrained")
        draw(np.atleast_1d(figure.subplots(1, columns)))
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    source = file.getvalue()
    return Chart(
        part=part, name=name, title=title, description=description, element=inline(source, name, description),
        file=_free_standing(source, description),
    )  # fmt: skip


def _free_standing(source: str, description: str) -> str:
    for placeholder, colour in COLOURS.items():
        source = source.replace(placeholder, colour)
    start = source.index(">", source.index("<svg")) + 1
    told = Markup("<title>{}</title>").format(description)
    return f'{source[:start]}\n {told}\n <rect width="100%" height="100%" fill="#fdfdfc"/>{source[start:]}'
