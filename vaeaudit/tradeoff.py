"""The trade-off curve: hinge, linearity and area (definitions D3 to D5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from vaeaudit.errors import DataError
from vaeaudit.statistics import CONFIDENCE, Estimate, estimate, figures_of

Floats = NDArray[np.float64]
_PARAMETERS = 3
FEWEST_STRENGTHS = _PARAMETERS + 1
_ROUNDING = 1e-9
REACHED = 0.05
"""A gap this small means that the target is reached: there is nothing left to saturate."""
SATURATED_POINTS = 2
"""Points that must lie right of the hinge for a curve to count as saturated."""
FLAT, FLAT_DROP = 0.25, 0.05
"""The right arm counts as flat unless it is this fraction as steep as the left and drops this share of the range."""


@dataclass(frozen=True, kw_only=True)
class HingeFit:
    """The broken stick Y = floor + slope * max(0, hinge - X), fitted to one curve or to several.

    Every array has the shape of the curves' leading axis: scalars for one curve, `(pairs,)` for many.

    Attributes:
        hinge: saturation point h; the largest X where `censored`; NaN where a curve could not be fitted.
        low, high: 95 % interval of each curve's own hinge.
        censored: the curve does not saturate, so the hinge is only known to be at least `hinge`.
        floor: Y right of the hinge, c.
        slope: fall of Y per unit of X left of it, s.
        r_squared: weighted R2 of the fit.
        linearity: weighted R2 of a straight line through the points left of the hinge.
        estimate: median over curves with its interval; for one curve, its own interval.
    """

    hinge: Floats
    low: Floats
    high: Floats
    censored: NDArray[np.bool_]
    floor: Floats
    slope: Floats
    r_squared: Floats
    linearity: Floats
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class _Stick:
    hinge: float
    low: float
    high: float
    censored: bool
    floor: float
    slope: float
    r_squared: float
    linearity: float


_UNFITTED = _Stick(
    hinge=math.nan, low=-math.inf, high=math.inf, censored=False,
    floor=math.nan, slope=math.nan, r_squared=math.nan, linearity=math.nan,
)  # fmt: skip


def fit_hinge(distortion: ArrayLike, gap: ArrayLike) -> HingeFit:
    """Fit the hinge of one trade-off curve, or of one a pair.

    Weighted least squares, each point weighted by its spacing in X so that the dense ends of a log
    series do not dominate; exact in h, no grid. A curve's own interval comes from the fit's
    heteroscedasticity-robust covariance, at the quantile of Student's t; the interval over curves from order
    statistics.

    Args:
        distortion: X, `(strengths,)` or `(pairs, strengths)`.
        gap: Y, the same shape; curves with NaN are left unfitted.

    Raises:
        DataError: shapes that differ, curves of fewer than four points, or what is no number.
    """
    x, y = _curves(distortion, gap)
    sticks = [_fit(a, b) for a, b in zip(np.atleast_2d(x), np.atleast_2d(y), strict=True)]
    columns = {name: np.array([getattr(s, name) for s in sticks]) for name in _Stick.__annotations__}
    if x.ndim == 1:
        one = sticks[0]
        over = Estimate(
            value=one.hinge, low=one.low, high=math.inf if one.censored else one.high,
            n=x.size, higher_is_better=True,
        )  # fmt: skip
        columns = {name: column[0] for name, column in columns.items()}
    else:
        over = hinge_estimate(columns["hinge"], columns["censored"])
    return HingeFit(**cast("dict[str, Any]", columns), estimate=over)


def hinge_estimate(hinge: Floats, censored: NDArray[np.bool_]) -> Estimate:
    """Median hinge over pairs; a censored hinge counts as its bound below and as unbounded above."""
    upper = np.where(censored, math.inf, hinge)
    return estimate(hinge, upper=upper, unit="of L2(x-t)", higher_is_better=True)


def auddc(distortion: ArrayLike, gap: ArrayLike) -> Estimate:
    """Area under the distortion-distortion curve, mean over pairs (definitions D5; Gondim-Ribeiro et al. 2018).

    Args:
        distortion: X, `(strengths,)` or `(pairs, strengths)`.
        gap: Y, the same shape.

    Raises:
        DataError: shapes that differ, curves of fewer than four points, or what is no number.
    """
    areas = np.atleast_1d(areas_under(distortion, gap))
    return estimate(areas, statistic="mean", unit="area", higher_is_better=True)


def areas_under(distortion: ArrayLike, gap: ArrayLike) -> Floats:
    """AUDDC of each curve: trapezoids over X in [0, 1], extended by (max X, min Y) and (1, min Y)."""
    x, y = _curves(distortion, gap)
    areas = [_area(a, b) for a, b in zip(np.atleast_2d(x), np.atleast_2d(y), strict=True)]
    return np.array(areas).reshape(x.shape[:-1])


def _area(x: Floats, y: Floats) -> float:
    kept = x <= 1
    if not kept.any() or np.isnan(y).any():
        return math.nan
    order = np.argsort(x[kept], kind="stable")
    x, y = x[kept][order], y[kept][order]
    return float(np.trapezoid(np.append(y, [y.min(), y.min()]), np.append(x, [x[-1], 1.0])))


def _curves(distortion: ArrayLike, gap: ArrayLike) -> tuple[Floats, Floats]:
    x, y = figures_of(distortion=distortion, gap=gap)
    if x.shape != y.shape or x.ndim not in (1, 2) or x.shape[-1] < FEWEST_STRENGTHS:
        raise DataError(
            f"distortion and gap expect one shape (strengths,) or (pairs, strengths) with at least "
            f"{FEWEST_STRENGTHS} strengths, got {x.shape} and {y.shape}"
        )
    return x, y


def _fit(x: Floats, y: Floats) -> _Stick:
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0:
        return _UNFITTED
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    weights = _spacing(x)
    hinge = _best_hinge(x, y, weights)
    floor, slope, residual = _arms(x, y, weights, hinge)
    censored = _is_censored(x, y, weights, hinge, slope)
    low, high = _interval(x, y, weights, hinge, floor, slope)
    left = x <= hinge
    return _Stick(
        hinge=float(x[-1]) if censored else hinge, low=min(low, hinge), high=max(high, hinge), censored=censored,
        floor=floor, slope=slope, r_squared=_r_squared(y, weights, residual),
        linearity=_line_r_squared(x[left], y[left], weights[left]),
    )  # fmt: skip


def _spacing(x: Floats) -> Floats:
    """Half the distance between a point's neighbours; equal points share their place."""
    gaps = np.diff(x)
    weights = np.zeros_like(x)
    weights[:-1] += gaps / 2
    weights[1:] += gaps / 2
    return weights


def _best_hinge(x: Floats, y: Floats, w: Floats) -> float:
    """The least-squares hinge, exactly: between two neighbouring points the fit is two free arms.

    Left of the hinge a line, right of it a constant; where they cross inside the interval that
    divides their points, the crossing is a stationary point. Otherwise the best lies on a point.
    """
    candidates = list(x[1:-1])
    for split in range(2, len(x)):
        a, b = _line(x[:split], y[:split], w[:split])
        if w[split:].sum() > 0 and b < 0:
            crossing = (np.average(y[split:], weights=w[split:]) - a) / b
            if x[split - 1] <= crossing <= x[split]:
                candidates.append(crossing)
    candidates.append(x[-1])
    losses = [np.dot(w, _arms(x, y, w, h)[2] ** 2) for h in candidates]
    return float(candidates[int(np.argmin(losses))])


def _line(x: Floats, y: Floats, w: Floats) -> tuple[float, float]:
    total = w.sum()
    if total == 0:
        return 0.0, 0.0
    mx, my = np.dot(w, x) / total, np.dot(w, y) / total
    spread = np.dot(w, (x - mx) ** 2)
    b = np.dot(w, (x - mx) * (y - my)) / spread if spread > 0 else 0.0
    return float(my - b * mx), float(b)


def _arms(x: Floats, y: Floats, w: Floats, hinge: float) -> tuple[float, float, Floats]:
    """Best floor and slope for a given hinge, and the residuals."""
    floor, slope = _line(np.maximum(0, hinge - x), y, w)
    return floor, slope, y - floor - slope * np.maximum(0, hinge - x)


def _is_censored(x: Floats, y: Floats, w: Floats, hinge: float, slope: float) -> bool:
    """A curve saturates when it reaches the target, or when several points beyond the hinge lie flat."""
    if slope <= 0:
        return True
    if y[-2:].max() <= REACHED:
        return False
    beyond = x > hinge
    if beyond.sum() < SATURATED_POINTS:
        return True
    fall = -_line(x[beyond], y[beyond], w[beyond])[1]
    still_falling = fall > FLAT * slope and fall * (x[-1] - hinge) > FLAT_DROP * np.ptp(y)
    return bool(still_falling)


def _interval(x: Floats, y: Floats, w: Floats, hinge: float, floor: float, slope: float) -> tuple[float, float]:
    """Interval of the hinge from the sandwich covariance of weighted least squares."""
    freedom = len(x) - _PARAMETERS
    below = x < hinge
    design = np.column_stack([np.ones_like(x), np.maximum(0, hinge - x), slope * below])
    bread = design.T @ (w[:, None] * design)
    if freedom < 1 or np.linalg.cond(bread) > 1e14:
        return -math.inf, math.inf
    inverse = np.linalg.inv(bread)
    remainder = np.eye(len(x)) - design @ inverse @ (design.T * w)
    residual = y - floor - slope * np.maximum(0, hinge - x)
    noise = np.dot(residual, residual) / np.sum(remainder**2)
    meat = design.T @ ((w**2)[:, None] * design) * noise
    error = math.sqrt(max((inverse @ meat @ inverse)[2, 2], 0.0))
    reach = max(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2) * error, _ROUNDING * x[-1])
    return hinge - reach, hinge + reach


def _r_squared(y: Floats, w: Floats, residual: Floats) -> float:
    total = np.dot(w, (y - np.average(y, weights=w)) ** 2)
    return float(1 - np.dot(w, residual**2) / total) if total > 0 else math.nan


def _line_r_squared(x: Floats, y: Floats, w: Floats) -> float:
    if len(x) < _PARAMETERS or w.sum() == 0:
        return math.nan
    a, b = _line(x, y, w)
    return _r_squared(y, w, y - a - b * x)
