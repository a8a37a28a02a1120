"""The report's charts."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from vaeaudit.report.damage import Damage
from vaeaudit.report.local import LINEAR
from vaeaudit.report.meanings import ROOMS
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.charts import ACCENT, MUTED, RULE, SERIES, legend, logarithmic, svg
from vaeaudit.report.pages.drawing import path
from vaeaudit.report.words import number, setting
from vaeaudit.statistics import Estimate

Floats = NDArray[np.float64]

MOST_LINES = 150


def tradeoff(report: AuditReport) -> Markup:
    """Gap against distortion for every pair, each hinge, and the median hinge (paper A, figure 3)."""
    curves = report.curves
    hinge = report.hinge

    def draw(axes: Axes) -> None:
        shown = _evenly(np.flatnonzero(~curves.excluded), MOST_LINES)
        lines = [path(curves.distortion[pair], curves.gap[pair]) for pair in shown]
        axes.add_collection(LineCollection([line for line in lines if len(line) > 1], colors=MUTED, lw=0.6, alpha=0.45))
        single = [line for line in lines if len(line) == 1]
        if single:
            axes.plot(*np.concatenate(single).T, ".", color=MUTED, ms=4)
        _mark_hinges(axes, shown, curves.hinge, curves.censored, lines)
        _median_hinge(axes, hinge)
        _frame(axes, lines)

    description = (
        f"Trade-off curves of {int((~curves.excluded).sum())} pairs: the gap to the target's reconstruction falls as "
        f"distortion grows. Median hinge {number(hinge.value)}."
    )
    return svg("tradeoff", description, draw, height=4.0)


def _mark_hinges(
    axes: Axes, shown: NDArray[np.int64], hinge: Floats, censored: NDArray[np.bool_], lines: list[Floats]
) -> None:
    marks = np.array([
        (hinge[pair], np.interp(hinge[pair], *line.T), censored[pair])
        for pair, line in zip(shown, lines, strict=True)
        if len(line) and np.isfinite(hinge[pair])
    ]).reshape(-1, 3)  # fmt: skip
    for kind, style in ((0, {"marker": "o", "ms": 4.5}), (1, {"marker": ">", "ms": 6, "mfc": "none"})):
        chosen = marks[marks[:, 2] == kind]
        label = "hinge" if kind == 0 else "not saturated"
        if len(chosen):
            axes.plot(chosen[:, 0], chosen[:, 1], ls="", color=ACCENT, alpha=0.85, label=label, mew=1, **style)  # type: ignore[arg-type]


def _median_hinge(axes: Axes, hinge: Estimate) -> None:
    if not np.isfinite(hinge.value):
        return
    axes.axvline(hinge.value, color=ACCENT, lw=1.6, label=f"median hinge {number(hinge.value)}")
    low, high = hinge.low, min(hinge.high, 1e3)
    if np.isfinite(low):
        axes.axvspan(low, high, color=ACCENT, alpha=0.13, lw=0, label="95 % interval")


def _frame(axes: Axes, lines: list[Floats]) -> None:
    """Axes that show the unit square, and as much beyond it as the curves need and a reader can use."""
    points = np.concatenate([*lines, np.zeros((0, 2))])
    right = max(1.0, float(points[:, 0].max(initial=0)) * 1.02)
    axes.set_xlim(0, min(right, 2.0))
    low, high = float(points[:, 1].min(initial=0)), float(points[:, 1].max(initial=1))
    axes.set_ylim(max(low - 0.04, -0.5), min(high + 0.06, 1.6))
    axes.set_xlabel("distortion, relative to the distance between original and target")
    axes.set_ylabel("gap to the target's reconstruction")
    legend(axes)


def spectra(report: AuditReport) -> Markup | None:
    """Eigenvalues by index, median and 10 to 90 % of the images; None where no spectrum was computed."""
    rooms = {room: getattr(report, room) for room in ROOMS if getattr(report, room) is not None}
    bands = {room: band for room, scores in rooms.items() if (band := _band(scores.eigenvalues)) is not None}
    if not bands:
        return None

    def draw(axes: Axes) -> None:
        for colour, (room, (index, low, middle, high)) in zip(_colours(bands), bands.items(), strict=True):
            style = {"marker": "o", "ms": 3.2} if len(index) <= 40 else {}
            axes.fill_between(index, low, high, color=colour, alpha=0.15, lw=0)
            axes.plot(index, middle, color=colour, lw=1.6, label=ROOMS[room], **style)  # type: ignore[arg-type]
        logarithmic(axes, "y")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set_xlabel("index of the eigenvalue, largest first")
        axes.set_ylabel("eigenvalue")
        legend(axes)

    names = ", ".join(ROOMS[room].lower() for room in bands)
    return svg("spectra", f"Eigenvalues of the pullback metric by index, on a log scale: {names}.", draw, height=3.6)


def _colours(bands: dict[str, Any]) -> list[str]:
    return [SERIES[list(ROOMS).index(room)] for room in bands]


def _band(eigenvalues: Floats) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Index, and 10 %, 50 % and 90 % quantiles over images, of the eigenvalues that are not zero."""
    values = np.array(eigenvalues, dtype=np.float64, ndmin=2)
    values[~np.isfinite(values)] = np.nan
    largest = np.nanmax(values, initial=0)
    values[~(values > largest * values.shape[1] * np.finfo(np.float64).eps)] = np.nan
    alive = np.isfinite(values).any(axis=0)
    if not alive.any():
        return None
    low, middle, high = (np.nanquantile(values[:, alive], share, axis=0) for share in (0.1, 0.5, 0.9))
    return np.asarray(np.flatnonzero(alive) + 1.0, np.float64), np.asarray(low), np.asarray(middle), np.asarray(high)


def damage(report: AuditReport) -> Markup | None:
    """Displacement of the reconstruction by budget; None where damage was not measured."""
    measured = report.damage
    if measured is None or not measured.radii.size:
        return None

    def draw(axes: Axes) -> None:
        _each_image(axes, measured)
        values, low, high = ends(measured.estimates)
        axes.plot(measured.radii, values, color=ACCENT, lw=1.6, marker="o", ms=3.5, label="mean")
        axes.errorbar(measured.radii, values, [values - low, high - values], fmt="none", color=ACCENT, lw=1.2,
                      capsize=4, label="95 % interval")  # fmt: skip
        axes.set_xticks(measured.radii, [setting(radius) for radius in measured.radii])
        axes.set_xlim(0, float(np.nanmax(measured.radii)) * 1.06)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("budget: L2 norm of the distortion")
        axes.set_ylabel("displacement of the reconstruction")
        legend(axes)

    pairs = zip(measured.radii, measured.estimates, strict=False)
    told = "; ".join(f"{number(estimate.value)} at {number(float(radius))}" for radius, estimate in pairs)
    return svg("damage", f"Mean displacement of the reconstruction by budget: {told}.", draw, height=3.4)


def local(report: AuditReport) -> Markup | None:
    """Realised over predicted displacement of the steps along eigenvectors by budget; None where not measured."""
    measured = report.local
    if measured is None:
        return None
    parts = {"latent": (measured.latent, SERIES[0]), "reconstruction": (measured.reconstruction, SERIES[1])}

    def draw(axes: Axes) -> None:
        axes.axhspan(*LINEAR, color=MUTED, alpha=0.12, lw=0, label=f"{LINEAR[0]:g} to {LINEAR[1]:g}")
        for name, (step, colour) in parts.items():
            values, low, high = ends(step.attained)
            axes.plot(measured.radii, values, color=colour, lw=1.6, marker="o", ms=3.5, label=name)
            axes.fill_between(measured.radii, low, high, color=colour, alpha=0.15, lw=0)
            axes.plot(measured.radii, ends(step.linear)[0], color=colour, lw=1, ls="--")
        axes.set_xscale("log")
        axes.set_xticks(measured.radii, [setting(radius) for radius in measured.radii])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0)
        axes.set_xlabel("budget: L2 norm of the distortion")
        axes.set_ylabel("realised / predicted displacement")
        legend(axes)

    told = "; ".join(
        f"{name} {number(step.attained[0].value)} at the smallest budget, {number(step.attained[-1].value)} at the largest"
        for name, (step, _) in parts.items()
    )
    return svg("local", f"Realised over predicted displacement by budget: {told}.", draw, height=3.2)


def certificates(report: AuditReport) -> Markup | None:
    """Certified and attacked distortion, one line a pair, sorted by the attack's; None where nothing is certified."""
    found = report.certificates
    if found is None or not np.isfinite(found.distortion).any():
        return None
    known = np.flatnonzero(np.isfinite(found.distortion) & np.isfinite(found.attacked))
    order = _evenly(known[np.argsort(found.attacked[known], kind="stable")], MOST_LINES)
    low, high, place = found.distortion[order], found.attacked[order], np.arange(1, len(order) + 1)

    def draw(axes: Axes) -> None:
        axes.vlines(place, low, high, color=RULE, lw=4)
        axes.plot(place, high, ls="", color=ACCENT, marker="v", ms=5, label="found, by ours")
        axes.plot(place, low, ls="", color=SERIES[2], marker="^", ms=5, label="certified, for every attack")
        axes.set_ylim(0, max(1.0, float(high.max(initial=0)) * 1.05))
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set_xlabel("pair, in the order of the attack's distortion")
        axes.set_ylabel("distortion")
        legend(axes)

    described = (
        f"Distortion of {len(order)} pairs between what is certified to be needed, median {number(float(np.median(low)))}, "
        f"and what the attack got by with, median {number(float(np.median(high)))}."
    )
    return svg("certificates", described, draw, height=3.2) if len(order) else None


def _each_image(axes: Axes, measured: Damage) -> None:
    rows = measured.displacement.reshape(-1, measured.radii.size)
    shown = _evenly(np.arange(len(rows)), MOST_LINES)
    lines = [line for row in shown if len(line := path(measured.radii, rows[row])) > 1]
    if lines:
        axes.add_collection(LineCollection(lines, colors=MUTED, lw=0.6, alpha=0.4, label="each image"))


def ends(estimates: tuple[Estimate, ...]) -> tuple[Floats, Floats, Floats]:
    """Values with the ends of their intervals, which hold them to the last bit; NaN where an end is open."""
    table = np.array([(e.value, e.low, e.high) for e in estimates], dtype=np.float64)
    table[~np.isfinite(table).all(axis=1), 1:] = np.nan
    value, low, high = table.T
    return value, np.minimum(low, value), np.maximum(high, value)


def _evenly(items: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if items.size <= most:
        return items
    taken: NDArray[np.int64] = items[np.linspace(0, items.size - 1, most).round().astype(np.int64)]
    return taken
