"""Charts in the manner of the reports: SVG that takes its colours from the page around it, or that stands by itself."""

from __future__ import annotations

import html
import io
import re
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

from vaeaudit.errors import OptionError, brief

INK, MUTED, RULE = "#010101", "#010102", "#010103"
SERIES = ("#010104", "#010105", "#010106", "#010107", "#010108", "#010109")
ACCENT = SERIES[0]
COLOURS = {
    INK: ("var(--ink)", "#1d1f22"),
    MUTED: ("var(--muted)", "#62666d"),
    RULE: ("var(--rule)", "#e2e3e1"),
    SERIES[0]: ("var(--accent)", "#0b5f96"),
    SERIES[1]: ("var(--second)", "#b3500a"),
    SERIES[2]: ("var(--third)", "#2f7d4f"),
    SERIES[3]: ("var(--fourth)", "#7a4fb0"),
    SERIES[4]: ("var(--fifth)", "#a3346c"),
    SERIES[5]: ("var(--sixth)", "#7a6a14"),
}
"""Colours drawn with; what takes their place in a page, its style sheet's, and in a file of its own."""
_PAPER = "#fdfdfc"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WIDTH = 7.2
_THEME: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vaeaudit",
    "font.size": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelpad": 7,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart of a page.

    Attributes:
        name: of its file, without the ending, and of its ids; letters, digits, '_', '-' and '.', unique on the page.
        title: caption.
        description: alternative text: what a reader would see.
        element: SVG in the colours of the page around it.
        file: free-standing SVG.
    """

    name: str
    title: str
    description: str
    element: Markup
    file: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OptionError(
                f"a chart's name expects letters, digits, '_', '-' and '.', the first no '-' or '.', got {brief(self.name)}"
            )


def chart(
    name: str, title: str, description: str, draw: Callable[[NDArray[Any]], None], *,
    rows: int = 1, columns: int = 1, height: float, width: float = 9.0, **shared: Any,
) -> Chart:  # fmt: skip
    """Draw a chart of one's own; the same every time, whatever matplotlib is set to.

    Args:
        name: see `Chart`.
        title: see `Chart`.
        description: see `Chart`.
        draw: given matplotlib's axes, `(rows, columns)`; drawn with `INK`, `MUTED`, `RULE` and `SERIES`, a chart has the
            page's colours, in the dark too.
        rows: of panels.
        columns: of panels.
        height: of the whole, inches.
        width: of the whole, inches.
        shared: options of matplotlib's `subplots`, such as `sharex`.

    Raises:
        OptionError: a name that is no file's and no id's.
    """
    source = _drawn(draw, (width, height), rows, columns, shared)
    return Chart(
        name=name, title=title, description=description, element=inline(source, name.replace(".", "-"), description),
        file=_free_standing(source, description),
    )  # fmt: skip


def svg(name: str, description: str, draw: Callable[[Axes], None], *, height: float) -> Markup:
    """Draw one panel and turn it into an element that can stand in any page."""
    return inline(_drawn(lambda axes: draw(axes[0, 0]), (_WIDTH, height), 1, 1, {}), name, description)


def _drawn(
    draw: Callable[[NDArray[Any]], None], size: tuple[float, float], rows: int, columns: int, shared: dict[str, Any]
) -> str:
    """An SVG file in the colours that `COLOURS` names."""
    with matplotlib.style.context(["default", _THEME]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="matplotlib")
        figure = Figure(figsize=size, layout="constrained")
        draw(np.asarray(figure.subplots(rows, columns, squeeze=False, **shared)))
        file = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    return file.getvalue()


def logarithmic(axes: Axes, way: Literal["x", "y"]) -> None:
    """Put an axis on a logarithmic scale, its numbers in full."""
    axes.set(**{f"{way}scale": "log"})
    axis = axes.xaxis if way == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", size=0)


def legend(axes: Axes) -> None:
    """What the chart's lines are, above it; nothing where none has a name."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, borderaxespad=0.2,
                    handlelength=1.4, columnspacing=1.6)  # fmt: skip


def inline(source: str, name: str, description: str) -> Markup:
    """Make a free-standing SVG file part of a page: own ids, the page's colours and font, a description.

    Args:
        source: the file, drawn with the colours of `COLOURS`.
        name: prefix of every id, unique on the page.
        description: alternative text.
    """
    body = source[source.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', lambda found: f"{found[1]}{name}-", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 var(--font, sans-serif)", body)
    for drawn, (variable, _) in COLOURS.items():
        body = body.replace(drawn, variable)
    box = re.search(r'viewBox="[^"]*"', body)
    opening = f'<svg class="chart" role="img" aria-label="{html.escape(description)}" {box.group() if box else ""}>'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1).strip())


def _free_standing(source: str, description: str) -> str:
    """The file with the colours of a light page, on paper, and with its description."""
    for drawn, (_, colour) in COLOURS.items():
        source = source.replace(drawn, colour)
    start = source.index(">", source.index("<svg")) + 1
    told = Markup("<title>{}</title>").format(description)
    return f'{source[:start]}\n {told}\n <rect width="100%" height="100%" fill="{_PAPER}"/>{source[start:]}'
