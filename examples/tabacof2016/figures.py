"""The paper's figures, redrawn from a results file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vaeaudit import gap_at
from vaeaudit.report.pages.charts import ACCENT, MUTED, SERIES, Chart, chart
from vaeaudit.report.pages.drawing import draw_curves

from .comparing import LEVELS, ROLES, beside_output, kept, mean_of, measured
from .study import Results, array

NAME = "tabacof2016"
SHOWN_PAIR = 0
_COLOURS = dict(zip(ROLES, SERIES, strict=False))
_GAP = "gap to the target's reconstruction"
_VISIBLE = 0.008
"""Points of a curve that lie nearer to each other than this are drawn as one."""
Panel = Callable[[Axes], None]


def charts(name: str, duel: Results) -> Iterator[Chart]:
    """Every figure that a duel allows."""
    hinges = {role: measured(duel["attacks"][role]["latent"], "hinge").value for role in ROLES}
    yield _chart(
        f"{name}-one-pair", f"One pair over the series of C: {duel['title']} (after the paper's figure 2)",
        "Gap to the target against distortion for one pair, a dot a C, with the fitted broken stick; VAE left, AE right.",
        _of_roles(_one_pair, duel),
    )  # fmt: skip
    yield _chart(
        f"{name}-all-pairs", f"All pairs and their hinges: {duel['title']} (after the paper's figures 3 and 4)",
        f"Gap against distortion, a line a pair. Median hinge of the VAE {hinges['vae']:.3f}, of the AE {hinges['ae']:.3f}.",
        _of_roles(_all_pairs, duel),
    )  # fmt: skip
    yield _chart(
        f"{name}-own-input", f"How far reconstructions leave their input: {duel['title']} (the released second figure)",
        "E L2(r(x_a) - x_a) in units of the reach against distortion, a line a pair; VAE left, AE right.",
        _of_roles(_own_input, duel, "reconstruction to its own input, in reaches"),
    )  # fmt: skip
    if "kl_tabacof2016" in duel["attacks"]["vae"]:
        minimised = {"latent": "KL", "kl_tabacof2016": "what the paper's code minimised"}
        yield _chart(
            f"{name}-divergences", f"Where the VAE's floor comes from: {duel['title']}",
            "Gap against distortion of the VAE's pairs under the KL, left, and under the released code's divergence, right.",
            [partial(_floor, duel["attacks"]["vae"][attack], words) for attack, words in minimised.items()],
        )  # fmt: skip
    if "output" in duel["attacks"]["vae"]:
        apart = {role: [(level, beside_output(duel, role, level)[0].mean.value) for level in LEVELS] for role in ROLES}
        told = "; ".join(
            f"{role.upper()} {', '.join(f'{value:+.3f} at {level:g} hinges' for level, value in found)}"
            for role, found in apart.items()
        )
        yield _chart(
            f"{name}-direct", f"Attacking the output directly, mean gap at equal distortion: {duel['title']}",
            f"Mean gap over pairs against distortion. Gap of the output attack minus the latent attack's: {told}.",
            _of_roles(partial(_direct, duel), duel),
        )  # fmt: skip


def of_classifier(name: str, trial: Results) -> Chart:
    """Probability and logit of the wanted class around the crossing."""
    crossing = array(trial["crossing"])
    has = np.isfinite(crossing) & (crossing > 0)
    x = (array(trial["distortion"]) - crossing[:, None])[has]
    reach = float(np.median(crossing[has])) if has.any() else 1.0

    def panel(key: str, words: str, ax: Axes) -> None:
        y = array(trial[key])[has]
        draw_curves(ax, zip(x, y, strict=True), alpha=0.6)
        ax.axvline(0, color=ACCENT, lw=1.4, label="the wanted class begins to win")
        most = 1.1 * np.abs(y[np.abs(x) <= reach]).max(initial=1)
        ax.set(xlim=(-reach, reach), ylim=(-0.03, 1.03) if key == "probability" else (-most, most))
        _named(ax, "distortion, from the crossing on", words)

    return _chart(
        f"{name}-classifier", f"The same attack on a classifier: {name.upper()} (after the paper's figure 5)",
        f"Probability, left, and logit, right, of the wanted class against distortion, centred at the crossing, of {int(has.sum())} images.",
        [partial(panel, "probability", "probability of the wanted class"), partial(panel, "logit", "its logit")],
    )  # fmt: skip


def _chart(name: str, title: str, description: str, panels: Sequence[Panel]) -> Chart:
    """Panels side by side."""

    def draw(axes: NDArray[Any]) -> None:
        for ax, panel in zip(axes[0], panels, strict=True):
            panel(ax)

    return chart(f"{NAME}.{name}", title, description, draw, columns=len(panels), height=3.4)


def _of_roles(panel: Callable[[Axes, str, Results], None], duel: Results, words: str = _GAP) -> list[Panel]:
    """The same panel of the VAE's latent attack and of the AE's."""

    def draw(role: str, ax: Axes) -> None:
        panel(ax, role, duel["attacks"][role]["latent"])
        _axes(ax, role, words)

    return [partial(draw, role) for role in ROLES]


def _one_pair(ax: Axes, role: str, trial: Results) -> None:
    x, y = array(trial["distortion"][SHOWN_PAIR]), array(trial["gap"][SHOWN_PAIR])
    ax.plot(x, y, ".", color=MUTED, ms=4, label="each C")
    best = trial["best"][SHOWN_PAIR]
    ax.plot(x[best], y[best], "o", color=SERIES[2], ms=7, label="the C that is shown in pictures")
    hinge, floor, slope = (array(trial[key])[SHOWN_PAIR] for key in ("hinge", "floor", "slope"))
    if np.isfinite(hinge):
        at = np.array([0, hinge, max(1.0, float(np.nanmax(x)))])
        stick = floor + slope * np.maximum(0, hinge - at)
        ax.plot(at, stick, color=_COLOURS[role], lw=1.4, label=f"hinge {hinge:.3f}")


def _all_pairs(ax: Axes, role: str, trial: Results) -> None:
    colour, hinge, found = _COLOURS[role], kept(trial, "hinge"), measured(trial, "hinge")
    _curves(ax, trial, "gap")
    marks = gap_at(trial["distortion"], trial["gap"], hinge)
    ax.plot(hinge, marks, "o", color=colour, ms=4, alpha=0.8, ls="", label="hinges")
    if np.isfinite(found.value):
        ax.axvline(found.value, color=colour, lw=1.6, label=f"median {found.value:.3f}")
    if np.isfinite([found.low, found.high]).all():
        ax.axvspan(found.low, found.high, color=colour, alpha=0.13, lw=0, label="95 % interval")


def _own_input(ax: Axes, _: str, trial: Results) -> None:
    _curves(ax, trial, "own")
    ax.set_ylim(0, None)


def _floor(trial: Results, words: str, ax: Axes) -> None:
    _curves(ax, trial, "gap")
    floor = measured(trial, "floor").value
    if np.isfinite(floor):
        ax.axhline(floor, color=ACCENT, lw=1.6, label=f"median floor {floor:.3f}")
    _axes(ax, "vae", _GAP)
    ax.set_title(words, fontsize=9, loc="left")


def _direct(duel: Results, ax: Axes, role: str, _: Results) -> None:
    at = np.linspace(0, 1, 81)
    for attack, style in (("latent", "-"), ("output", "--")):
        trial = duel["attacks"][role][attack]
        means = [mean_of(gap_at(trial["distortion"], trial["gap"], x)) for x in at]
        ax.plot(at, means, style, color=_COLOURS[role], lw=1.6, label=f"{attack} attack")


def _curves(ax: Axes, trial: Results, key: str) -> None:
    """A line a pair, but those that are excluded."""
    kept = ~np.array(trial["excluded"], bool)
    x, y = array(trial["distortion"])[kept], array(trial[key])[kept]
    low, high = draw_curves(ax, zip(x, y, strict=True), visible=_VISIBLE)
    ax.set_ylim(min(-0.04, low - 0.02), max(1.0, high) + 0.06)


def _axes(ax: Axes, role: str, words: str) -> None:
    ax.set_xlim(0, 1.05)
    _named(ax, f"{role.upper()}: distortion / distance of original and target", words)


def _named(ax: Axes, x: str, y: str) -> None:
    ax.set(xlabel=x, ylabel=y)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=3, borderaxespad=0.2, handlelength=1.2,
                  columnspacing=1.2)  # fmt: skip
