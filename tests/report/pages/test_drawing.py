"""Lines and intervals are drawn where they are, and no further."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from vaeaudit.report.pages.drawing import draw_curves, draw_intervals, path, thinned


def test_a_path_runs_through_the_finite_points_by_ascending_x() -> None:
    x, y = np.array([3.0, 1.0, 2.0, math.inf]), np.array([30.0, 10.0, math.nan, 1.0])
    assert path(x, y).tolist() == [[1, 10], [3, 30]]


@pytest.mark.parametrize(
    ("visible", "left"), [(0.0, [0, 0.1, 0.2, 0.5, 0.55]), (0.15, [0, 0.2, 0.5, 0.55]), (9.0, [0, 0.55])]
)
def test_a_thinned_line_keeps_its_ends_and_what_can_be_told_apart(visible: float, left: list[float]) -> None:
    line = np.array([[x, 0.0] for x in (0, 0.1, 0.2, 0.5, 0.55)])
    assert thinned(line, visible)[:, 0].tolist() == left


def test_curves_are_drawn_one_a_pair_and_their_heights_told() -> None:
    axes = Figure().subplots()
    x = np.linspace(0, 1, 5)
    assert draw_curves(axes, [(x, 1 - x), (x, np.array([2, math.nan, 0, 0, -0.5]))]) == (-0.5, 2.0)
    assert [len(line) for line in axes.collections[0].get_segments()] == [5, 4]
    assert draw_curves(Figure().subplots(), []) == (0, 0)


def test_an_open_end_has_no_bar() -> None:
    axes = Figure().subplots()
    rows = np.array([[1.0, 2.0, 1.5, 3.0], [2.0, 4.0, -math.inf, math.inf]])
    draw_intervals(axes, rows, colour="k", mark="o", label="figures")
    (bars,) = axes.containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[1.5, 3.0], [4.0, 4.0]]
