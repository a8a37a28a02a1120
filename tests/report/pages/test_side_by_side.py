"""One slider moves the pictures of all models to the same strength."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vaeaudit import DataError
from vaeaudit.report.pages.side_by_side import AttackedPair, picture_grid, side_by_side
from vaeaudit.report.pages.viewers import Viewer


def _pair(strengths: Any, figure: float = 1.0) -> AttackedPair:
    series = np.asarray(strengths, np.float64)
    events = np.zeros((len(series), 1, 4, 4), np.float32)
    figures = {"distortion": figure + np.arange(len(series)), "gap": np.where(np.arange(len(series)) == 1, np.nan, 0.5)}
    return AttackedPair(strengths=series, adversarial=events, reconstructions=events, figures=figures)


def _viewer(attacked: dict[str, AttackedPair], first: float) -> Viewer:
    ends = np.zeros((1, 4, 4), np.float32), np.ones((1, 4, 4), np.float32)
    return side_by_side("n", "Pair 1", "Strength", ends, attacked, (0.0, 1.0), first=first)


def test_models_with_series_of_their_own_are_shown_at_the_same_strengths() -> None:
    whole = np.logspace(-3, 3, 13)
    assert _pair(whole).at(whole[::4]).tolist() == [0, 4, 8, 12]
    assert _pair(whole[::4]).at(whole[[3, 5, 7]]).tolist() == [1, 1, 2]
    frames = _viewer({"A": _pair(whole[::4]), "B": _pair(whole, 11)}, 1.0).frames
    assert [frame.split("B: ")[1].split(",")[0] for frame in frames] == [
        f"distortion {n:.1f}" for n in (23, 19, 15, 11)
    ]


def test_a_slider_runs_from_the_strongest_to_the_weakest_and_starts_where_it_is_told() -> None:
    found = _viewer({"VAE": _pair(np.logspace(-3, 3, 4)), "AE": _pair(np.logspace(-3, 3, 4))}, 0.08)
    assert found.first == 2
    assert found.frames[2] == "C = 0.1. VAE: distortion 2.00, gap –. AE: distortion 2.00, gap –."
    assert found.frames[0].startswith("C = 1e+03. ")
    assert [column.title for column in found.columns] == ["Original", "VAE, attacked", "AE, attacked", "Target"]
    assert [column.moving for column in found.columns] == [False, True, True, False]


def test_a_long_series_is_shown_at_some_of_its_strengths_its_ends_among_them() -> None:
    frames = _viewer({"A": _pair(np.logspace(-2, 2, 101))}, 1.0).frames
    assert len(frames) == 34
    assert (frames[0].split(".")[0], frames[-1].split(" VAE")[0][:9]) == ("C = 100", "C = 0.01.")


@pytest.mark.parametrize("strengths", [[0.0, 1.0], [-1.0, 1.0], [1.0, np.inf], [2.0, 1.0], [1.0, 1.0], []])
def test_strengths_that_do_not_rise_from_above_nothing_are_refused(strengths: list[float]) -> None:
    with pytest.raises(DataError, match="positive strengths, ascending"):
        _pair(strengths)


def test_figures_of_other_strengths_are_refused() -> None:
    events = np.zeros((2, 1, 4, 4), np.float32)
    with pytest.raises(DataError, match=r"as many of all else, got \(2,\) and \[2, 3\]"):
        AttackedPair(
            strengths=np.array([1.0, 2.0]), adversarial=events, reconstructions=events, figures={"gap": np.zeros(3)}
        )  # fmt: skip


def test_reconstructions_of_another_shape_are_refused() -> None:
    events = np.zeros((2, 1, 4, 4), np.float32)
    with pytest.raises(DataError, match=r"of one shape, got \(2, 1, 4, 4\) and \(2, 1, 8, 8\)"):
        AttackedPair(
            strengths=np.array([1.0, 2.0]), adversarial=events, reconstructions=np.zeros((2, 1, 8, 8), np.float32), figures={}
        )  # fmt: skip


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(DataError, match="at least one model"):
        _viewer({}, 1.0)
    with pytest.raises(DataError, match="first expects a positive C, got 0"):
        _viewer({"A": _pair([1.0, 2.0])}, 0.0)


def test_a_grid_has_a_picture_for_every_head_of_every_row() -> None:
    grey, colour = np.zeros((1, 4, 4), np.float32), np.ones((3, 4, 4), np.float32)
    found = picture_grid("g", "T", "D", ["original", "attacked"], [[grey, colour], [colour, grey]], (-1.0, 1.0))
    assert found.file.count("<image") == 4
    assert found.file.count(">attacked</text>") == 1


def test_a_grid_with_gaps_or_without_images_is_refused() -> None:
    image = np.zeros((1, 4, 4), np.float32)
    for rows in ([], [[image, image], [image]]):
        with pytest.raises(DataError, match=r"an image below each of 2 heads in every row, got rows of \["):
            picture_grid("g", "T", "D", ["original", "attacked"], rows, (0.0, 1.0))
    with pytest.raises(DataError, match=r"images \(channels, height, width\), got \(16,\)"):
        picture_grid("g", "T", "D", ["signal"], [[np.zeros(16, np.float32)]], (0.0, 1.0))
