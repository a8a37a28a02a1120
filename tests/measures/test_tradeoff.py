"""Trade-off curves: hinges of known sticks, honest censoring, coverage at a fixed n, and areas with closed forms."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from vaeaudit import DataError, auddc, fit_hinge
from vaeaudit.tradeoff import areas_under

GRIDS = ("log", "uniform")
HINGES = (0.28, 0.383, 0.62, 0.9)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("count", [8, 24, 100])
@pytest.mark.parametrize("hinge", HINGES)
@pytest.mark.parametrize("floor", [0.0, 0.11, -0.02])
def test_without_noise_the_hinge_is_recovered_to_rounding(
    curves: ModuleType, kind: str, count: int, hinge: float, floor: float
) -> None:
    x = curves.grid(kind, count, reach=1.2)
    found = fit_hinge(x, curves.stick(x, hinge, floor))
    assert float(found.hinge) == pytest.approx(hinge, rel=1e-9)
    assert float(found.floor) == pytest.approx(floor, abs=1e-9)
    assert float(found.slope) == pytest.approx((1 - floor) / hinge, rel=1e-9)
    assert float(found.r_squared) == pytest.approx(1)
    if (x <= hinge).sum() > 2:
        assert float(found.linearity) == pytest.approx(1)
    else:
        assert math.isnan(float(found.linearity)), "two points always lie on a line"
    assert not found.censored
    assert found.low <= hinge <= found.high
    assert found.high - found.low < 1e-6


def test_points_given_in_any_order_make_the_same_fit(curves: ModuleType) -> None:
    x = curves.grid("log")
    y = curves.stick(x, 0.6) + 0.02 * np.random.default_rng(0).standard_normal(x.size)
    order = np.random.default_rng(1).permutation(x.size)
    straight, shuffled = fit_hinge(x, y), fit_hinge(x[order], y[order])
    assert float(shuffled.hinge) == pytest.approx(float(straight.hinge), rel=1e-12)
    assert float(shuffled.low) == pytest.approx(float(straight.low), rel=1e-9)


@pytest.mark.parametrize("kind", GRIDS)
def test_no_hinge_on_a_fine_grid_fits_better(curves: ModuleType, kind: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(15):
        x = curves.grid(kind)
        y = curves.stick(x, rng.uniform(0.2, 1)) + 0.1 * rng.standard_normal(x.size)
        found = fit_hinge(x, y)
        if found.censored:
            continue
        slow = curves.hinge_by_grid(x, y)
        best, here = curves.stick_error(x, y, slow), curves.stick_error(x, y, float(found.hinge))
        assert here <= best * (1 + 1e-9)


def test_the_dense_ends_of_a_log_series_do_not_dominate(curves: ModuleType) -> None:
    """A curve that is not quite a stick: piling points up at zero hardly moves its hinge."""
    x = np.linspace(0, 1.2, 61)
    soft = np.log1p(np.exp((0.5 - x) / 0.05)) * 0.1
    piled = np.concatenate([np.linspace(1e-4, 0.02, 300), x])
    pile = np.log1p(np.exp((0.5 - piled) / 0.05)) * 0.1
    assert float(fit_hinge(piled, pile).hinge) == pytest.approx(float(fit_hinge(x, soft).hinge), rel=0.01)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
def test_a_curves_own_interval_covers_its_hinge_in_95_percent_of_noisy_trials(
    curves: ModuleType, kind: str, noise: float
) -> None:
    rng = np.random.default_rng(int(1000 * noise) + len(kind))
    trials, covered, width = 400, 0, []
    for _ in range(trials):
        hinge = rng.uniform(0.3, 0.8)
        x = curves.grid(kind)
        found = fit_hinge(x, curves.stick(x, hinge) + noise * rng.standard_normal(x.size))
        covered += bool(found.estimate.low <= hinge <= found.estimate.high)
        width.append(float(found.high - found.low))
    error = math.sqrt(trials * 0.95 * 0.05)
    assert covered > 0.95 * trials - 4 * error
    assert covered < trials, "an interval that never misses is too wide"
    assert np.median(width) < 20 * noise


def _noisy(curves: ModuleType, pairs: int, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    hinges = rng.normal(0.6, 0.1, pairs).clip(0.3, 1.0)
    x = np.stack([curves.grid("log", reach=rng.uniform(1.1, 1.3)) for _ in hinges])
    y = np.stack([curves.stick(a, h) for a, h in zip(x, hinges, strict=True)])
    return x, y + 0.02 * rng.standard_normal(y.shape), hinges


def test_the_models_hinge_covers_the_median_over_pairs(curves: ModuleType) -> None:
    rng = np.random.default_rng(5)
    trials, covered = 60, 0
    for _ in range(trials):
        x, y, _ = _noisy(curves, 24, rng)
        found = fit_hinge(x, y).estimate
        covered += found.low <= 0.6 <= found.high
    assert covered > 0.94 * trials - 3 * math.sqrt(trials * 0.06 * 0.94)
    assert found.n == 24
    assert found.higher_is_better
    assert found.statistic == "median"


def test_many_curves_are_fitted_one_by_one(curves: ModuleType) -> None:
    x, y, hinges = _noisy(curves, 7, np.random.default_rng(6))
    found = fit_hinge(x, y)
    assert found.hinge.shape == found.low.shape == found.censored.shape == (7,)
    for row in range(7):
        one = fit_hinge(x[row], y[row])
        assert one.hinge.shape == ()
        for name in ("hinge", "low", "high", "floor", "slope", "r_squared", "linearity"):
            assert float(getattr(one, name)) == float(getattr(found, name)[row])
    assert np.abs(found.hinge - hinges).max() < 0.1
    assert found.estimate.value == np.median(found.hinge)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_curve_cut_off_before_it_saturates_is_censored_at_its_end(
    curves: ModuleType, kind: str, share: float
) -> None:
    x = curves.grid(kind, reach=share * 0.7)
    found = fit_hinge(x, curves.stick(x, 0.7, floor=0.0))
    assert found.censored
    assert float(found.hinge) == x[-1]
    assert found.estimate.high == math.inf


def test_a_straight_line_or_a_rising_curve_has_no_hinge() -> None:
    x = np.linspace(0, 0.8, 20)
    for y in (1 - x, 0.5 + 0.2 * x, np.full_like(x, 0.7)):
        found = fit_hinge(x, y)
        assert found.censored
        assert float(found.hinge) == 0.8


@pytest.mark.parametrize("beyond", [0, 1, 2])
def test_a_curve_that_reaches_the_target_is_not_censored_however_few_points_lie_beyond(
    curves: ModuleType, beyond: int
) -> None:
    x = np.append(np.linspace(0, 0.58, 15), [0.595, 0.6, 0.62, 0.65][: 2 + beyond])
    found = fit_hinge(x, curves.stick(x, 0.6, floor=0.0))
    assert not found.censored
    assert float(found.hinge) == pytest.approx(0.6, rel=0.01)


def test_a_still_falling_right_arm_is_censored_and_a_flat_one_is_not() -> None:
    x = np.linspace(0, 1, 40)
    bend = np.where(x < 0.5, 1 - x, 0.5 - 0.6 * (x - 0.5))
    rest = np.where(x < 0.5, 1 - x, 0.5)
    assert fit_hinge(x, bend).censored
    assert not fit_hinge(x, rest).censored


def test_censored_curves_count_below_as_their_bound_and_above_as_unbounded(curves: ModuleType) -> None:
    rng = np.random.default_rng(7)
    x, y, _ = _noisy(curves, 20, rng)
    few, many = (x.copy(), y.copy()), (x.copy(), y.copy())
    for (a, b), count in ((few, 3), (many, 14)):
        for row in range(count):
            a[row] = curves.grid("log", reach=0.5)
            b[row] = curves.stick(a[row], 0.9, floor=0.0)
    few_fit, many_fit = fit_hinge(*few), fit_hinge(*many)
    assert few_fit.censored.sum() == 3
    assert many_fit.censored.sum() == 14
    assert math.isfinite(few_fit.estimate.high)
    assert many_fit.estimate.high == math.inf
    assert many_fit.estimate.low == pytest.approx(0.5, rel=0.02)


def test_a_curve_with_nan_is_left_out_and_counted_out(curves: ModuleType) -> None:
    x, y, _ = _noisy(curves, 10, np.random.default_rng(8))
    whole = fit_hinge(x[1:], y[1:])
    y[0, 3] = math.nan
    found = fit_hinge(x, y)
    assert math.isnan(found.hinge[0])
    assert not found.censored[0]
    assert found.estimate.n == 9
    assert found.estimate.value == whole.estimate.value
    areas = areas_under(x, y)
    assert math.isnan(areas[0])
    assert np.isfinite(areas[1:]).all()
    assert auddc(x, y).n == 9


def test_a_curve_whose_distortions_are_all_equal_cannot_be_fitted() -> None:
    found = fit_hinge(np.full(6, 0.3), np.linspace(1, 0, 6))
    assert math.isnan(float(found.hinge))
    assert math.isnan(found.estimate.value)


@pytest.mark.parametrize("hinge", HINGES)
def test_the_area_under_an_ideal_curve_is_half_its_hinge(curves: ModuleType, hinge: float) -> None:
    x = np.sort(np.append(np.linspace(0, 1, 200), hinge))
    assert auddc(x, curves.stick(x, hinge, floor=0.0)).value == pytest.approx(hinge / 2, rel=1e-12)


# hinge, floor, slope and AUDDC of paper A's released curves, means over 25 pairs (definitions 2.7)
RELEASED = [
    (0.635, 0.110, 1.46, 0.387), (0.616, 0.000, 1.73, 0.333), (0.383, 0.005, 2.61, 0.194), (0.282, 0.001, 3.55, 0.139),
]  # fmt: skip


@pytest.mark.parametrize(("hinge", "floor", "slope", "area"), RELEASED)
def test_sticks_with_the_released_figures_have_about_the_released_areas(
    curves: ModuleType, hinge: float, floor: float, slope: float, area: float
) -> None:
    x = np.sort(np.append(curves.grid("log", 100, reach=1.0), [0, hinge]))
    y = floor + slope * np.maximum(0, hinge - x)
    found = auddc(x, y).value
    assert found == pytest.approx(floor + slope * hinge**2 / 2, abs=2e-3)
    assert found == pytest.approx(area, abs=0.025)
    assert float(fit_hinge(x, y).hinge) == pytest.approx(hinge, rel=1e-9)


def test_going_straight_to_the_target_has_the_area_one_half() -> None:
    x = np.linspace(0, 1, 11)
    assert auddc(x, 1 - x).value == pytest.approx(0.5)


def test_an_area_is_that_of_a_plain_loop_in_any_order_and_without_points_beyond_one(curves: ModuleType) -> None:
    rng = np.random.default_rng(9)
    x, y = 1.5 * rng.random((30, 12)), rng.random((30, 12))
    y[:, -1] = -5
    x[:, -1] = 1.2  # dropped before the lowest Y is taken
    areas = areas_under(x, y)
    for row in range(30):
        assert areas[row] == pytest.approx(curves.area_by_loop(x[row], y[row]), rel=1e-12)
        order = rng.permutation(12)
        assert areas_under(x[row][order], y[row][order]) == pytest.approx(areas[row], rel=1e-12)


def test_a_curve_wholly_beyond_one_has_no_area() -> None:
    assert math.isnan(float(areas_under(np.linspace(1.1, 2, 5), np.linspace(1, 0, 5))))


def test_the_models_area_is_the_mean_over_pairs_with_its_direction(curves: ModuleType) -> None:
    x, y, _ = _noisy(curves, 12, np.random.default_rng(10))
    found = auddc(x, y)
    assert found.value == pytest.approx(areas_under(x, y).mean())
    assert found.low < found.value < found.high
    assert (found.statistic, found.higher_is_better, found.n) == ("mean", True, 12)


@pytest.mark.parametrize("function", [fit_hinge, auddc])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros(5), np.zeros(6)), (np.zeros((2, 5)), np.zeros((5, 2))), (np.zeros(3), np.zeros(3)),
        (np.zeros((2, 3, 5)), np.zeros((2, 3, 5))), (np.float64(1), np.float64(1)),
    ],
)  # fmt: skip
def test_shapes_that_are_no_curves_are_refused(function, x: NDArray, y: NDArray) -> None:
    with pytest.raises(DataError, match=r"expect one shape \(strengths,\) or \(pairs, strengths\) with at least 4"):
        function(x, y)
