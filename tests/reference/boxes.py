"""Slow, obvious minimisers, steps and projections in a box, one problem at a time in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Floats = NDArray[np.float64]


def minimize_in_box(
    function: Callable[[Floats], tuple[float, Floats]], start: Floats, lower: Floats, upper: Floats, *,
    tight: bool = True,
) -> optimize.OptimizeResult:  # fmt: skip
    """scipy's L-BFGS-B, to rounding if `tight`, else as patient as in paper A (factr 10; definitions 2.3)."""
    options = {"maxiter": 15000, "maxfun": 15000}
    options |= {"ftol": 1e-16, "gtol": 1e-12} if tight else {"ftol": 10 * np.finfo(np.float64).eps, "gtol": 1e-5}
    bounds = optimize.Bounds(lower, upper)
    return optimize.minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def box_least_squares(matrix: Floats, right: Floats, lower: Floats, upper: Floats) -> Floats:
    """The minimiser of |M x - r|^2 in a box, by an active-set method."""
    return optimize.lsq_linear(matrix, right, (lower, upper), method="bvls", tol=1e-15).x


def bfgs_matrix(pairs: Iterable[tuple[Floats, Floats]], theta: float, n: int) -> Floats:
    """The BFGS matrix that pairs (s, y), oldest first, make of theta times the identity, update by update."""
    matrix = theta * np.eye(n)
    for s, y in pairs:
        image = matrix @ s
        matrix = matrix - np.outer(image, image) / (s @ image) + np.outer(y, y) / (s @ y)
    return matrix


def subspace_step(matrix: Floats, gradient: Floats, free: NDArray[np.bool_]) -> Floats:
    """Minimiser of g'p + p'Bp/2 over the free coordinates, by elimination; the others stay."""
    step = np.zeros_like(gradient)
    step[free] = np.linalg.solve(matrix[np.ix_(free, free)], -gradient[free])
    return step


def project_by_multiplier(point: Floats, radius: float, lower: Floats, upper: Floats) -> Floats:
    """Nearest point of the ball in the box: clip(point / (1 + m)) with the multiplier m >= 0 of the ball."""
    if np.linalg.norm(np.clip(point, lower, upper)) <= radius:
        return np.clip(point, lower, upper)

    def excess(log_m: float) -> float:
        return float(np.linalg.norm(np.clip(point / (1 + np.exp(log_m)), lower, upper)) - radius)

    return np.clip(point / (1 + np.exp(optimize.brentq(excess, -80, 80, xtol=1e-14))), lower, upper)


def maximum_of_linear(slope: Floats, radius: float, lower: Floats, upper: Floats) -> Floats:
    """The point of a ball in a box where slope . d is largest: clip(slope / m), or a corner of the box."""
    corner = np.where(slope > 0, upper, np.where(slope < 0, lower, 0.0))
    if np.linalg.norm(corner) <= radius:
        return corner

    def excess(log_m: float) -> float:
        return float(np.linalg.norm(np.clip(slope * np.exp(-log_m), lower, upper)) - radius)

    return np.clip(slope * np.exp(-optimize.brentq(excess, -80, 80, xtol=1e-14)), lower, upper)
