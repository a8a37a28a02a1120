"""Arrays become the right kind of picture, with the right grey levels."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import re

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from vaeaudit.report.pages.pictures import CHART_HEIGHT, LARGEST_SIDE, picture, value_range

from ..conftest import MakeReport

UNIT = (0.0, 1.0)


def _decode(markup: Markup) -> Image.Image:
    match = re.search(r"base64,([^\"]+)", markup)
    assert match is not None
    return Image.open(io.BytesIO(base64.b64decode(match.group(1))))


def _heights(markup: Markup) -> list[float]:
    return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", markup)]


@pytest.mark.parametrize(("shape", "mode"), [((1, 5, 7), "L"), ((5, 7), "L"), ((3, 5, 7), "RGB"), ((4, 5, 7), "RGBA")])
def test_images_keep_their_size_and_channels(shape: tuple[int, ...], mode: str) -> None:
    image = _decode(picture(np.zeros(shape, np.float32), UNIT, "x"))
    assert (image.size, image.mode) == ((7, 5), mode)


def test_the_limits_become_black_and_white_and_the_middle_grey() -> None:
    event = np.array([[[-1.0, 0.0, 1.0], [-9.0, np.nan, 9.0]]], np.float32)
    assert np.asarray(_decode(picture(event, (-1.0, 1.0), "x"))).tolist() == [[0, 128, 255], [0, 0, 255]]


def test_channels_end_up_in_their_own_colour() -> None:
    event = np.zeros((3, 2, 2), np.float32)
    event[2, 0, 1] = 1.0
    assert _decode(picture(event, UNIT, "x")).getpixel((1, 0)) == (0, 0, 255)


def test_a_constant_picture_without_a_range_is_black() -> None:
    assert np.asarray(_decode(picture(np.full((2, 2), 3, np.float32), (3.0, 3.0), "x"))).max() == 0


def test_large_images_are_scaled_down_in_proportion() -> None:
    image = _decode(picture(np.zeros((3, 2 * LARGEST_SIDE, 4 * LARGEST_SIDE), np.float32), UNIT, "x"))
    assert image.size == (LARGEST_SIDE, LARGEST_SIDE // 2)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1), (2, 3, 1), (5, 2, 2), (1, 1, 6)])
def test_anything_else_is_a_line_chart(shape: tuple[int, ...]) -> None:
    markup = picture(np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape), UNIT, "x")
    assert markup.startswith('<svg class="signal" role="img"')
    heights = _heights(markup)
    assert len(heights) == np.prod(shape)
    assert (heights[0], heights[-1]) == (CHART_HEIGHT, 0.0)


def test_a_line_chart_breaks_where_values_are_missing() -> None:
    markup = picture(np.array([0, 1, np.nan, 1, 0], np.float32), UNIT, "x")
    assert (markup.count("M"), len(_heights(markup))) == (2, 4)


def test_a_long_signal_is_thinned_out_but_keeps_its_ends() -> None:
    heights = _heights(picture(np.linspace(0, 1, 100_000, dtype=np.float32), UNIT, "x"))
    assert len(heights) <= 2000
    assert (heights[0], heights[-1]) == (CHART_HEIGHT, 0.0)


def test_a_single_value_is_still_visible() -> None:
    assert "h0.1" in picture(np.array([0.5], np.float32), UNIT, "x")


@pytest.mark.parametrize("shape", [(4, 4), (4,)])
def test_the_alternative_text_is_escaped_once(shape: tuple[int, ...]) -> None:
    markup = picture(np.zeros(shape, np.float32), UNIT, 'a<b "c" & d')
    assert "a&lt;b &#34;c&#34; &amp; d" in markup


def test_finite_bounds_are_the_range(make_report: MakeReport) -> None:
    gallery = make_report().gallery
    assert gallery is not None
    assert value_range(dataclasses.replace(gallery, bounds=(-2.0, 5.0))) == (-2.0, 5.0)


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, math.inf), (math.nan, math.nan), (1.0, 1.0), ()])
def test_without_usable_bounds_the_data_are_the_range(make_report: MakeReport, bounds: tuple[float, ...]) -> None:
    gallery = make_report().gallery
    assert gallery is not None
    adversarials = gallery.adversarials.copy()
    adversarials.flat[0], adversarials.flat[1], adversarials.flat[2] = -3.0, 7.0, np.nan
    assert value_range(dataclasses.replace(gallery, bounds=bounds, adversarials=adversarials)) == (-3.0, 7.0)
