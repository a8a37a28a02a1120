"""Charts of several reports on the same axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.charts import SERIES, legend, svg
from vaeaudit.report.pages.drawing import path
from vaeaudit.report.pages.plots import ends
from vaeaudit.report.words import number, setting

Reports = Mapping[str, AuditReport]
"""By the short names that the charts call them by."""
Floats = NDArray[np.float64]
_POINTS = 101
_DASHES = ("-", "--", ":")


def tradeoff(reports: Reports) -> Markup:
    """Median gap over the pairs by distortion, with the middle half of the pairs, for each report."""

    def draw(axes: Axes) -> None:
        for place, (name, report) in enumerate(reports.items()):
            x, low, middle, high = _median_curve(report)
            style = _style(place)
            axes.plot(x, middle, lw=1.8, label=name, **style)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.12, lw=0)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.05, 1.06)
        axes.set_xlabel("distortion, relative to the distance between original and target")
        axes.set_ylabel("gap to the target's reconstruction")
        legend(axes)

    told = "; ".join(f"{name}, median hinge {number(report.hinge.value)}" for name, report in reports.items())
    return svg("tradeoff", f"Median trade-off curves: {told}.", draw, height=4.0)


def _median_curve(report: AuditReport) -> tuple[Floats, Floats, Floats, Floats]:
    """Distortion, and the quartiles of the gap over the pairs there; a curve ends where the attack spends no more."""
    curves, x = report.curves, np.linspace(0, 1, _POINTS)
    rows = [np.full(_POINTS, np.nan)]
    for pair in np.flatnonzero(~curves.excluded):
        points = path(curves.distortion[pair], curves.gap[pair])
        if len(points):
            distortion, gap = np.concatenate([[(0.0, 1.0)], points]).T
            rows.append(np.interp(x, distortion, np.minimum.accumulate(gap)))
    table = np.stack(rows)
    with np.errstate(all="ignore"):
        low, middle, high = (
            np.nanquantile(table, share, axis=0) if len(rows) > 1 else rows[0] for share in (0.25, 0.5, 0.75)
        )
    return x, low, middle, high


def damage(reports: Reports) -> Markup | None:
    """Mean displacement by budget with its interval, for each report that measured it; None where none did."""
    measured = {name: report.damage for name, report in reports.items() if report.damage is not None}
    if not measured:
        return None
    places = {name: place for place, name in enumerate(reports)}

    def draw(axes: Axes) -> None:
        for name, found in measured.items():
            values, low, high = ends(found.estimates)
            style = _style(places[name])
            axes.plot(found.radii, values, lw=1.6, marker="o", ms=3.5, label=name, **style)
            axes.errorbar(
                found.radii, values, [values - low, high - values], fmt="none", color=style["color"], lw=1.2, capsize=4
            )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("budget: L2 norm of the distortion")
        axes.set_ylabel("displacement of the reconstruction")
        legend(axes)

    told = "; ".join(
        f"{name}, {number(found.estimates[-1].value)} at {setting(found.radii[-1])}" for name, found in measured.items()
    )
    return svg("damage", f"Mean displacement of the reconstruction by budget: {told}.", draw, height=3.4)


def _style(place: int) -> dict[str, Any]:
    """Colours first, and where they are used up, dashes."""
    return {"color": SERIES[place % len(SERIES)], "ls": _DASHES[place // len(SERIES) % len(_DASHES)]}
