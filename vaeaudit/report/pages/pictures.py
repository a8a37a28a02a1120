"""Inputs and reconstructions as pictures in a page: images as PNG, anything else as a small line chart."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from vaeaudit.report.gallery import Gallery

LARGEST_SIDE = 256
"""Pixels; larger images are scaled down to keep the page small."""
MOST_POINTS = 2000
"""Longer signals are drawn by this many of their values."""
CHART_WIDTH, CHART_HEIGHT = 160, 80
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def value_range(gallery: Gallery) -> tuple[float, float]:
    """The values shown as black and white: the input space's bounds, or the data's own where it has none."""
    if len(gallery.bounds) == 2 and all(map(math.isfinite, gallery.bounds)) and gallery.bounds[0] < gallery.bounds[1]:
        return gallery.bounds[0], gallery.bounds[1]
    arrays = (
        gallery.originals, gallery.targets, gallery.adversarials,
        gallery.original_reconstructions, gallery.target_reconstructions, gallery.reconstructions,
    )  # fmt: skip
    values = np.concatenate([np.ravel(array) for array in arrays])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def picture(event: NDArray[np.float32], limits: tuple[float, float], alt: str) -> Markup:
    """One input or reconstruction as an element of a page.

    Args:
        event: `(channels, height, width)` with 1, 3 or 4 channels, or `(height, width)`; any other
            shape is flattened into a line chart.
        limits: values shown as black and white, or at the bottom and top of the chart.
        alt: alternative text; escaped here.
    """
    shown = levels(event, limits, LARGEST_SIDE)
    if shown is not None:
        return image(shown, alt)
    return Markup(
        '<svg class="signal" role="img" aria-label="{}" viewBox="-2 -2 {} {}" preserveAspectRatio="none">'
        '<path d="{}"/></svg>'
    ).format(escape(alt), CHART_WIDTH + 4, CHART_HEIGHT + 4, signal_path(event, limits))


def image(shown: NDArray[np.uint8], alt: str) -> Markup:
    """Grey levels or colours `(height, width[, channels])` as an element of a page."""
    address = base64.b64encode(_png(shown)).decode("ascii")
    height, width = shown.shape[:2]
    return Markup('<img src="data:image/png;base64,{}" alt="{}" width="{}" height="{}">').format(
        address, alt, width, height
    )


def levels(event: NDArray[np.float32], limits: tuple[float, float], largest: int) -> NDArray[np.uint8] | None:
    """An event as grey levels or colours, scaled down to at most `largest` pixels a side; None if it is no image."""
    pixels = _pixels(event)
    if pixels is None:
        return None
    shown = np.round(255 * _unit(pixels, limits)).astype(np.uint8)
    if max(shown.shape[:2]) <= largest:
        return shown
    scaled = Image.fromarray(shown)
    scaled.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return np.asarray(scaled)


def _pixels(event: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The event with its channels last, `(height, width)` or `(height, width, channels)`; None if no image."""
    if event.ndim == 2 and min(event.shape) > 1:
        return event
    if event.ndim == 3 and event.shape[0] in MODES and min(event.shape[1:]) > 1:
        return event[0] if event.shape[0] == 1 else np.moveaxis(event, 0, -1)
    return None


def _unit(values: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.float64]:
    """Values between the limits mapped to [0, 1], those outside clipped, NaN to 0."""
    low, high = limits
    scaled = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.nan_to_num(np.clip(scaled, 0.0, 1.0), nan=0.0)


def _png(shown: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(shown).save(file, format="PNG", optimize=True)
    return file.getvalue()


def signal_path(event: NDArray[np.float32], limits: tuple[float, float]) -> str:
    """A line through the values of an event, as the `d` of an SVG path; gaps where they are not finite."""
    values = np.ravel(event)
    chosen = np.unique(np.linspace(0, values.size - 1, min(values.size, MOST_POINTS)).round().astype(int))
    heights = CHART_HEIGHT * (1 - _unit(values[chosen], limits))
    steps = CHART_WIDTH * np.arange(chosen.size) / max(chosen.size - 1, 1)
    path, pen = [], "M"
    for x, y, finite in zip(steps, heights, np.isfinite(values[chosen]), strict=True):
        if finite:
            path.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L" if finite else "M"
    return f"{path[0]} h0.1" if len(path) == 1 else " ".join(path)
