"""Frames of a film lie side by side, and differences are magnified alike in all of them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from vaeaudit.report.pages.films import LARGEST_FRAME, difference, film

UNIT = (0.0, 1.0)


def _decode(markup: Markup) -> np.ndarray:
    match = re.search(r"base64,([^\"]+)", markup)
    assert match is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(match.group(1)))))


def test_frames_stand_from_left_to_right() -> None:
    frames = np.stack([np.full((1, 2, 3), level, np.float32) for level in (0.0, 0.5, 1.0)])
    assert _decode(film(frames, UNIT, "x")).tolist() == [[0] * 3 + [128] * 3 + [255] * 3] * 2


def test_large_frames_are_scaled_down_each_by_itself() -> None:
    frames = np.zeros((3, 3, LARGEST_FRAME * 2, LARGEST_FRAME * 4), np.float32)
    assert _decode(film(frames, UNIT, "x")).shape == (LARGEST_FRAME // 2, 3 * LARGEST_FRAME, 3)


def test_signals_are_drawn_one_beside_the_other() -> None:
    markup = film(np.zeros((4, 6), np.float32), UNIT, 'a "b"')
    assert re.findall(r"translate\((\d+) 0\)", markup) == ["0", "160", "320", "480"]
    assert 'aria-label="a &#34;b&#34;"' in markup
    assert 'viewBox="0 -2 640 84"' in markup


def test_differences_are_magnified_until_the_largest_are_black_and_white() -> None:
    origin = np.full((1, 2, 2), 0.5, np.float32)
    frames = origin + np.array([[[[0.1, -0.1], [0.0, 0.05]]], [[[0.1, -0.1], [0.1, 0.1]]]], np.float32)
    markup, factor = difference(frames, origin, UNIT, "x")
    assert factor == pytest.approx(5.0, rel=1e-5)
    assert _decode(markup)[:, :2].tolist() == [[255, 0], [128, 191]]


def test_a_few_outliers_do_not_hide_the_rest_and_are_cut() -> None:
    origin = np.zeros((1, 20, 20), np.float32)
    frames = origin[None] + 0.05
    frames[0, 0, 0, 0] = 0.5
    markup, factor = difference(frames, origin, UNIT, "x")
    assert factor == pytest.approx(10.0, rel=1e-5)
    assert _decode(markup)[0, 0] == _decode(markup)[5, 5] == 255


def test_large_differences_are_not_made_smaller_and_none_is_grey() -> None:
    origin = np.zeros((1, 4, 4), np.float32)
    assert difference(origin[None] + 0.9, origin, UNIT, "x")[1] == 1.0
    markup, factor = difference(origin[None], origin, UNIT, "x")
    assert factor == 1.0
    assert set(_decode(markup).ravel()) == {128}


def test_a_difference_in_opacity_alone_is_seen() -> None:
    origin = np.zeros((4, 2, 2), np.float32)
    frames = origin[None].copy()
    frames[0, 3, 0, 0] = 0.5
    shown = _decode(difference(frames, origin, UNIT, "x")[0])
    assert shown.ndim == 2
    assert (shown[0, 0], shown[1, 1]) == (255, 128)
