"""A classifier's curves around the distortion at which the wanted class begins to win."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaeaudit import DataError

X = np.linspace(0, 4, 81)
CROSSING = np.array([1.0, 1.5, 2.0, 1.2, 1.7, 1.4])
LOGIT = 12 * (X - CROSSING[:, None])
PROBABILITY = 1 / (1 + np.exp(-LOGIT))


@pytest.fixture
def crossings_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("examples.tabacof2016.crossings").crossings_of


def test_a_logit_that_is_a_line_is_told_from_its_probability(crossings_of: Any) -> None:
    found = crossings_of(np.tile(X, (6, 1)), PROBABILITY, LOGIT, CROSSING)
    assert found.logit.value == pytest.approx(1)
    assert found.probability.value < 0.95
    assert found.straighter.sign == 1
    assert found.width.value == pytest.approx(np.median(2 * math.log(9) / 12 / CROSSING), rel=1e-9)
    assert found.crossing.value == pytest.approx(1.45)
    assert found.crossed == 6


def test_images_that_are_not_crossed_or_were_from_the_start_count_nowhere(crossings_of: Any) -> None:
    crossing = np.array([*CROSSING[:3], math.inf, 0.0, math.nan])
    found = crossings_of(np.tile(X, (6, 1)), PROBABILITY, LOGIT, crossing)
    assert found.crossed == found.crossing.n == found.logit.n == found.straighter.mean.n == found.width.n == 3
    assert found.crossing.value == 1.5


def test_a_probability_that_never_rises_all_the_way_has_no_width(crossings_of: Any) -> None:
    short = X < 1.05
    found = crossings_of(np.tile(X[short], (6, 1)), PROBABILITY[:, short], LOGIT[:, short], CROSSING)
    assert found.width.n == 0


def test_shapes_that_do_not_match_are_said(crossings_of: Any) -> None:
    with pytest.raises(DataError, match=r"crossing \(images,\), got \(6, 81\), \(6, 81\), \(6, 81\) and \(5,\)"):
        crossings_of(np.tile(X, (6, 1)), PROBABILITY, LOGIT, CROSSING[:5])
