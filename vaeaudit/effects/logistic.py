"""Multinomial logistic regression with a squared penalty, fitted to its one optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_GRADIENT = 1e-6
"""Largest entry of the gradient at which the fit is at its optimum; an image's own terms are of order one."""
_ITERATIONS = 2000


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """A linear classifier of features `(rows, features)`.

    Attributes:
        centre: mean of the features it learnt from, `(features,)`.
        scale: their root mean square about it, one number for all features.
        weights: `(features, classes)`, of centred and scaled features.
        offsets: `(classes,)`.
        converged: whether the fit came to its optimum.
    """

    centre: Floats
    scale: float
    weights: Floats
    offsets: Floats
    converged: bool

    def logits(self, features: Floats) -> Floats:
        """Unnormalised log-probabilities of features `(..., features)`, `(..., classes)`."""
        found: Floats = (features - self.centre) / self.scale @ self.weights + self.offsets
        return found

    def classes(self, features: Floats) -> Integers:
        """The most probable class of each row of features `(..., features)`, `(...)`."""
        found: Integers = self.logits(features).argmax(-1).astype(np.int64)
        return found


def fit_logistic(features: Floats, classes: Integers, count: int, penalty: float, width: int | None = None) -> Logistic:
    """Minimise the sum of cross-entropies + penalty / 2 * |weights|^2; the offsets are free.

    The features share one scale, so that the fit does not depend on the unit of pixels, and latent units that are switched
    off stay as small as they are. The best weights lie in the span of the rows, and are sought along its principal axes,
    each stretched by the curvature that the objective has there at the start: without that, pixels take L-BFGS thousands of
    steps.

    Args:
        features: `(rows, features)`.
        classes: from 0 to count - 1, `(rows,)`.
        count: how many classes there are.
        penalty: above 0, which makes the weights unique.
        width: how many features there were, should these be coordinates of them; their mean square is of so many.
    """
    centre = features.mean(0)
    rows = features - centre
    scale = float(np.sqrt(np.vdot(rows, rows) / (len(rows) * (width or rows.shape[1])))) or 1.0
    rows /= scale
    lengths, axes = _principal(rows)
    stretch = 1 / np.sqrt(penalty + np.square(lengths) * (1 - 1 / count) / count)
    inner = rows @ (axes.T * stretch)
    best, _, facts = scipy.optimize.fmin_l_bfgs_b(
        _loss, np.zeros((len(lengths) + 1) * count), args=(inner, np.eye(count)[classes], penalty * np.square(stretch)),
        m=20, factr=0.0, pgtol=_GRADIENT, maxiter=_ITERATIONS, maxfun=2 * _ITERATIONS,
    )  # fmt: skip
    weights, offsets = best[:-count].reshape(-1, count), best[-count:]
    return Logistic(
        centre=centre, scale=scale, weights=axes.T @ (stretch[:, None] * weights), offsets=offsets,
        converged=bool(np.abs(facts["grad"]).max() <= 10 * _GRADIENT),
    )  # fmt: skip


def _principal(rows: Floats) -> tuple[Floats, Floats]:
    """Lengths along the principal axes, and the axes `(axes, features)`: orthonormal, and spanning the rows."""
    if rows.shape[1] > len(rows):
        _, lengths, axes = np.linalg.svd(rows, full_matrices=False)
        return lengths, axes
    # all axes are there, so that rounding in the shortest of them costs steps at most, and no copy of the rows is made
    squares, axes = np.linalg.eigh(rows.T @ rows)
    return np.sqrt(squares.clip(min=0)), axes.T


def _loss(parameters: Floats, rows: Floats, chosen: Floats, penalties: Floats) -> tuple[float, Floats]:
    """The objective and its gradient, with a penalty of its own on each row of weights, `(features,)`."""
    count = chosen.shape[1]
    weights, offsets = parameters[:-count].reshape(-1, count), parameters[-count:]
    logits = rows @ weights + offsets
    norm = scipy.special.logsumexp(logits, axis=1, keepdims=True)
    value = float((norm[:, 0] - (logits * chosen).sum(1)).sum() + 0.5 * (penalties[:, None] * np.square(weights)).sum())
    excess = np.exp(logits - norm) - chosen
    gradient = np.concatenate([(rows.T @ excess + penalties[:, None] * weights).ravel(), excess.sum(0)])
    return value, cast("Floats", gradient)
