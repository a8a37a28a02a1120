"""Where a series is made denser: constructed curves whose bends are known."""

from __future__ import annotations

import numpy as np
import pytest

from vaeaudit.placement import RESOLUTION, resolution, strengths_between
from vaeaudit.tradeoff import areas_under, fit_hinge


def _stick(distortion: np.ndarray, hinge: float = 0.4) -> np.ndarray:
    return np.maximum(0.0, 1 - distortion / hinge)


def _series(count: int, *, pairs: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """C ascending, and for each pair an X that falls with it, from 1 to 0."""
    strengths = np.logspace(-3, 3, count)
    x = 1 / (1 + strengths * np.linspace(0.9, 1.1, pairs)[:, None])
    return strengths, x


def test_new_strengths_lie_about_the_only_bend() -> None:
    strengths, x = _series(10)
    new = strengths_between(strengths, x, _stick(x), 2)
    bend = 1 / 0.4 - 1  # where X = hinge
    assert len(new) == 2
    around = np.searchsorted(strengths, bend)
    assert ((new > strengths[around - 2]) & (new < strengths[around + 1])).all()
    at = np.searchsorted(strengths, new)
    np.testing.assert_allclose(new, np.sqrt(strengths[at - 1] * strengths[at]))


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_no_more_than_asked_for_and_each_between_two_neighbours_once(count: int) -> None:
    strengths, x = _series(9)
    new = strengths_between(strengths, x, _stick(x), count)
    assert len(new) <= count
    assert (np.diff(new) > 0).all()
    assert len(np.unique(np.searchsorted(strengths, new))) == len(new)


def test_a_dense_series_is_resolved_and_gets_no_more() -> None:
    strengths, x = _series(400)
    assert resolution(x, _stick(x)) <= RESOLUTION
    assert not len(strengths_between(strengths, x, _stick(x), 4))


def test_placing_until_resolved_brings_hinge_and_area_to_their_true_values() -> None:
    strengths, x = _series(8)
    while len(new := strengths_between(strengths, x, _stick(x), 4)):
        strengths = np.sort(np.append(strengths, new))
        x = 1 / (1 + strengths * np.linspace(0.9, 1.1, 5)[:, None])
        assert len(strengths) < 200
    assert np.median(fit_hinge(x, _stick(x)).hinge) == pytest.approx(0.4, abs=RESOLUTION)
    assert np.mean(areas_under(x, _stick(x))) == pytest.approx(0.2, abs=RESOLUTION)
    even = _series(len(strengths))[1]
    assert resolution(x, _stick(x)) < resolution(even, _stick(even)), "an even series of as many is worse"


def test_the_order_of_pairs_and_pairs_without_a_curve_change_nothing() -> None:
    strengths, x = _series(10)
    y = _stick(x)
    expected = strengths_between(strengths, x, y, 3)
    order = [3, 0, 4, 1, 2]
    np.testing.assert_array_equal(strengths_between(strengths, x[order], y[order], 3), expected)
    more_x, more_y = np.vstack([x, x[:1]]), np.vstack([y, np.full_like(y[:1], np.nan)])
    np.testing.assert_array_equal(strengths_between(strengths, more_x, more_y, 3), expected)
    assert not len(strengths_between(strengths, x, np.full_like(y, np.nan), 3))


def test_nothing_is_put_beside_a_strength_of_zero() -> None:
    strengths, x = _series(10)
    strengths[0] = 0.0
    assert (strengths_between(strengths, x, _stick(x), 100) > strengths[1]).all()
