"""What charts draw most often: a line a pair, and points with their intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from vaeaudit.report.pages.charts import MUTED

Floats = NDArray[np.float64]


def path(x: Floats, y: Floats) -> Floats:
    """The finite points of a curve by ascending x, `(points, 2)`."""
    points = np.stack([x, y], axis=1)[np.isfinite(x) & np.isfinite(y)]
    return points[np.argsort(points[:, 0], kind="stable")]


def thinned(line: Floats, visible: float) -> Floats:
    """A line without the points that lie within `visible`, in x and in y, of the one before, `(points, 2)`; its ends stay."""
    if not visible:
        return line
    rows = [0] if len(line) else []
    for row in range(1, len(line)):
        if np.abs(line[row] - line[rows[-1]]).max() > visible or row == len(line) - 1:
            rows.append(row)
    return line[rows]


def draw_curves(
    axes: Axes, curves: Iterable[tuple[Floats, Floats]], *, visible: float = 0.0, alpha: float = 0.5
) -> tuple[float, float]:
    """Draw a thin line for each curve.

    Args:
        axes: where.
        curves: x and y of each, `(points,)`, in any order; what is not finite is left out.
        visible: see `thinned`; it keeps the file small, and 0 draws every point.
        alpha: opacity.

    Returns:
        The least and the largest y; 0 and 0 where there is none.
    """
    lines = [thinned(path(x, y), visible) for x, y in curves]
    axes.add_collection(LineCollection(lines, colors=MUTED, lw=0.7, alpha=alpha))
    heights = np.concatenate([np.zeros(0), *(line[:, 1] for line in lines)])
    return (float(heights.min()), float(heights.max())) if heights.size else (0.0, 0.0)


def draw_intervals(axes: Axes, rows: Floats, *, colour: str, mark: str, label: str) -> None:
    """Draw points with their intervals, joined by a line.

    Args:
        axes: where.
        rows: place, value, low and high, `(points, 4)`; an open end has no bar.
        colour: of `charts`.
        mark: matplotlib's.
        label: for the legend.
    """
    place, value, low, high = rows.T
    bars = [np.where(np.isfinite(end), abs(value - end), 0) for end in (low, high)]
    axes.errorbar(place, value, yerr=bars, marker=mark, ms=3.5, capsize=2, lw=1, color=colour, label=label)
