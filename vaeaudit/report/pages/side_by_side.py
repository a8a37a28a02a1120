"""The same pair attacked in several models: pictures side by side, over the strengths or at one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vaeaudit.errors import DataError, brief
from vaeaudit.report import words
from vaeaudit.report.pages.charts import Chart, chart
from vaeaudit.report.pages.films import film
from vaeaudit.report.pages.pictures import LARGEST_SIDE, levels, picture
from vaeaudit.report.pages.viewers import Column, Viewer

Floats = NDArray[np.float64]
Events = NDArray[np.float32]
Limits = tuple[float, float]
_MOST_FRAMES = 34


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackedPair:
    """What an attack on one model made of a pair.

    Attributes:
        strengths: C, positive, ascending, `(strengths,)`.
        adversarial: x_a, `(strengths, *event)`.
        reconstructions: of these, the same shape.
        figures: by name, such as the distortion and the gap, `(strengths,)`.

    Raises:
        DataError: strengths of which there is none, or that do not ascend from above 0; shapes that do not match.
    """

    strengths: Floats
    adversarial: Events
    reconstructions: Events
    figures: Mapping[str, Floats]

    def __post_init__(self) -> None:
        series = self.strengths
        rising = series.ndim == 1 and len(series) > 0 and (np.diff(series, prepend=0) > 0).all()
        if not rising or not np.isfinite(series).all():
            raise DataError(
                f"an attacked pair expects positive strengths, ascending, (strengths,), got {brief(series)}"
            )
        lengths = {len(self.adversarial), len(self.reconstructions), *map(len, self.figures.values())}
        if lengths != {len(series)}:
            raise DataError(
                f"an attacked pair expects strengths, and as many of all else, got {series.shape} and {sorted(lengths)}"
            )
        if self.adversarial.shape != self.reconstructions.shape:
            raise DataError(
                f"an attacked pair expects inputs and reconstructions of one shape, got {self.adversarial.shape} and "
                f"{self.reconstructions.shape}"
            )

    def at(self, wanted: Floats) -> NDArray[np.int64]:
        """Index of the strength that is nearest, by its ratio, to each wanted one."""
        return np.asarray(np.abs(np.log(self.strengths) - np.log(wanted)[:, None]).argmin(1), np.int64)

    def said(self, index: int) -> str:
        """The figures at a strength in words."""
        return ", ".join(f"{name} {words.number(float(values[index]))}" for name, values in self.figures.items())


def side_by_side(
    name: str, caption: str, control: str, ends: tuple[Events, Events], attacked: Mapping[str, AttackedPair],
    limits: Limits, *, first: float,
) -> Viewer:  # fmt: skip
    """A slider through the strengths, from the strongest C to the weakest, that moves all models together.

    Args:
        name: of the element, unique on its page.
        caption: what it shows.
        control: what the slider changes.
        ends: original and target, `(*event,)` each.
        attacked: by the name of the model; each is shown at the strengths of the first, or at its nearest to them.
        limits: values shown as black and white.
        first: the C that is shown to begin with, or the nearest shown.

    Raises:
        DataError: no model, or no positive C to begin with.
    """
    if not attacked:
        raise DataError("attacked expects at least one model, got none")
    if not 0 < first < math.inf:
        raise DataError(f"first expects a positive C, got {first}")
    series = next(iter(attacked.values())).strengths
    chosen = np.unique(np.linspace(0, len(series) - 1, min(_MOST_FRAMES, len(series))).round().astype(int))
    shown = series[chosen][::-1]
    at = {model: pair.at(shown) for model, pair in attacked.items()}
    moving = [
        Column(
            title=f"{model}, attacked", moving=True,
            above=film(pair.adversarial[at[model]], limits, f"Attacked input of the {model}"),
            below=film(pair.reconstructions[at[model]], limits, f"Its reconstruction by the {model}"),
        )
        for model, pair in attacked.items()
    ]  # fmt: skip
    original, target = (
        Column(title=title, above=picture(event, limits, title), below=Markup())
        for title, event in zip(("Original", "Target"), ends, strict=True)
    )
    frames = tuple(
        f"C = {words.setting(strength)}. "
        + " ".join(f"{model}: {pair.said(at[model][frame])}." for model, pair in attacked.items())
        for frame, strength in enumerate(shown)
    )
    return Viewer(
        name=name, caption=caption, control=control, columns=(original, *moving, target), frames=frames,
        first=int(np.abs(np.log(shown) - np.log(first)).argmin()),
    )  # fmt: skip


def picture_grid(
    name: str, title: str, description: str, heads: Sequence[str], rows: Sequence[Sequence[Events]], limits: Limits
) -> Chart:
    """Images in a grid, as a chart: what stands in markdown, where no slider can.

    Args:
        name: see `Chart`.
        title: see `Chart`.
        description: see `Chart`.
        heads: one above each column.
        rows: images `(channels, height, width)`, as many in each row as there are heads.
        limits: values shown as black and white.

    Raises:
        DataError: no row, one with more or fewer images than heads, or what is no image.
    """
    lengths = [len(row) for row in rows]
    if set(lengths) != {len(heads)}:
        raise DataError(f"a grid expects an image below each of {len(heads)} heads in every row, got rows of {lengths}")
    shown = [_levels(event, limits) for row in rows for event in row]

    def draw(axes: NDArray[Any]) -> None:
        for ax, head in zip(axes[0], heads, strict=True):
            ax.set_title(head, fontsize=9)
        for ax, pixels in zip(axes.flat, shown, strict=True):
            ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none")
            ax.set_axis_off()

    return chart(name, title, description, draw, rows=len(rows), columns=len(heads), height=1.62 * len(rows))


def _levels(event: Events, limits: Limits) -> NDArray[np.uint8]:
    found = levels(event, limits, LARGEST_SIDE)
    if found is None:
        raise DataError(f"a grid expects images (channels, height, width), got {event.shape}")
    return found
