"""Charts in the manner of the library's reports: an element in the page's colours, and a file that stands by itself."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from vaeaudit.report.pages.plots import INK, MUTED, RULE, SERIES, THEME, inline

COLOURS = {
    INK: "#1d1f22", MUTED: "#62666d", RULE: "#e2e3e1", SERIES[0]: "#0b5f96", SERIES[1]: "#b3500a", SERIES[2]: "#2f7d4f",
}  # fmt: skip
"""What a free-standing file is drawn with, where there is no page to take colours from."""
PAPER = "#fdfdfc"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure of a page.

    Attributes:
        name: of its file, without the ending.
        title: caption.
        description: alternative text.
        element: SVG in the colours of the page around it.
        file: free-standing SVG.
    """

    name: str
    title: str
    description: str
    element: Markup
    file: str


def drawn(
    name: str, title: str, description: str, draw: Callable[[NDArray[Any]], None], *,
    rows: int = 1, columns: int = 2, height: float, width: float = 9.0, **shared: Any,
) -> Chart:  # fmt: skip
    """A chart.

    Args:
        name: of its file, without the ending; unique on the page.
        title: caption.
        description: alternative text: what a reader would see.
        draw: given the axes, `(rows, columns)`.
        rows: of panels.
        columns: of panels.
        height: of the whole, inches.
        width: of the whole, inches.
        shared: options of matplotlib's `subplots`, such as `sharex`.
    """
    with matplotlib.style.context(["default", THEME]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="matplotlib")
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(np.asarray(figure.subplots(rows, columns, squeeze=False, **shared)))
        file = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    source = file.getvalue()
    return Chart(
        name=name, title=title, description=description,
        element=inline(source, name.replace(".", "-"), description), file=_free_standing(source, description),
    )  # fmt: skip


def logarithmic(axes: Axes, way: Literal["x", "y"]) -> None:
    """Put an axis on a logarithmic scale, its numbers in full."""
    axes.set(**{f"{way}scale": "log"})
    axis = axes.xaxis if way == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", size=0)


def _free_standing(source: str, description: str) -> str:
    for placeholder, colour in COLOURS.items():
        source = source.replace(placeholder, colour)
    start = source.index(">", source.index("<svg")) + 1
    told = Markup("<title>{}</title>").format(description)
    return f'{source[:start]}\n {told}\n <rect width="100%" height="100%" fill="{PAPER}"/>{source[start:]}'
