"""Several inputs or reconstructions side by side in one picture, of which a page can show one at a time."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from vaeaudit.report.pages.pictures import CHART_HEIGHT, CHART_WIDTH, image, levels, signal_path

LARGEST_FRAME = 128
"""Pixels of a frame's longer side; larger frames are scaled down to keep the page small."""
_ALPHA = 4
_SHORT_OF_BLACK = 0.99
Events = NDArray[np.float32]


def film(events: Events, limits: tuple[float, float], alt: str) -> Markup:
    """Frames from left to right as one PNG, or as one line chart beside the other.

    Args:
        events: `(frames, *event)`, see `pictures.picture`.
        limits: values shown as black and white, or at the bottom and top of a chart.
        alt: alternative text; escaped here.
    """
    frames = [levels(event, limits, LARGEST_FRAME) for event in events]
    shown = [frame for frame in frames if frame is not None]
    strip = image(np.concatenate(shown, axis=1), alt) if shown else _charts(events, limits, alt)
    return Markup('<span class="film">{}</span>').format(strip)


def difference(events: Events, origin: Events, limits: tuple[float, float], alt: str) -> tuple[Markup, float]:
    """What sets frames apart from an event, magnified alike in all of them; grey, or the middle, is no difference.

    Returns:
        The film, and by how much differences are magnified: all but the largest hundredth stay short of black and white.
    """
    apart = events - origin
    sizes = np.abs(apart[np.isfinite(apart)])
    most = float(np.quantile(sizes, _SHORT_OF_BLACK)) if sizes.size else 0.0
    half = (limits[1] - limits[0]) / 2
    factor = max(1.0, half / most) if most > 0 else 1.0
    return film(_opaque(apart), (-half / factor, half / factor), alt), factor


def _opaque(apart: Events) -> Events:
    """Differences of an image with an alpha channel as grey ones: at each pixel, that of the channel that differs most."""
    if apart.ndim != 4 or apart.shape[1] != _ALPHA:
        return apart
    strongest = np.abs(apart).argmax(axis=1, keepdims=True)
    return np.take_along_axis(apart, strongest, axis=1)


def _charts(events: Events, limits: tuple[float, float], alt: str) -> Markup:
    paths = Markup("").join(
        Markup('<path transform="translate({} 0)" d="{}"/>').format(place * CHART_WIDTH, signal_path(event, limits))
        for place, event in enumerate(events)
    )
    return Markup(
        '<svg class="signal" role="img" aria-label="{}" viewBox="0 -2 {} {}" preserveAspectRatio="none">{}</svg>'
    ).format(escape(alt), CHART_WIDTH * len(events), CHART_HEIGHT + 4, paths)
