"""Climbs inside a ball that have come to the same place: only the higher one goes on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SAME = 0.05
"""Share of the radius within which two climbs count as in one place."""
_EVERY = 8
"""Evaluations between two looks: a row's first steps take it across the ball."""
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class WithoutTwins:
    """An objective for `vaeaudit.optimize.ascend` that leaves out rows for as long as they are another one's twins.

    A row whose best point lies near a higher one's of the same image is evaluated no more: its value is then minus
    infinity and its gradient zero, so that it rests where it is.

    Args:
        objective: `(points (rows, n), problem (rows,)) -> (values (rows,), gradients (rows, n))`.
        problem: the image of each row, `(rows,)`; the images of the first start come first, and every start has all.
        radius: of each row's ball, `(rows,)`.
    """

    def __init__(self, objective: Objective, problem: Tensor, radius: Tensor) -> None:
        self._objective, self._problem, self._radius = objective, problem, radius
        self._going = torch.ones_like(problem, dtype=torch.bool)
        self._calls = 0
        self._best: Tensor | None = None
        self._highest = torch.full(problem.shape, -torch.inf, dtype=torch.float64, device=problem.device)
        self.evaluations = torch.zeros_like(problem)

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values `(rows,)` and gradients `(rows, n)`."""
        rows = torch.nonzero(self._going)[:, 0]
        values = torch.full_like(self._highest, -torch.inf)
        gradients = torch.zeros_like(points)
        values[rows], gradients[rows] = self._objective(points[rows], self._problem[rows])
        self.evaluations[rows] += 1
        self._best = points if self._best is None else self._best
        better = values > self._highest
        self._best = torch.where(better[:, None], points, self._best)
        self._highest = torch.where(better, values, self._highest)
        self._calls += 1
        if self._calls % _EVERY == 0:
            self._going &= ~self._twins(self._best)
        return values, gradients

    def _twins(self, best: Tensor) -> Tensor:
        """Rows with a higher one near, or an earlier one as high, `(rows,)`."""
        images = int(self._problem.max()) + 1
        places = best.view(-1, images, best.shape[1]).transpose(0, 1)
        heights = self._highest.view(-1, images).T
        apart = torch.cdist(places, places) / self._radius.view(-1, images).T[:, :, None]
        earlier = torch.ones(heights.shape[1], heights.shape[1], device=heights.device).tril(-1).bool()
        level = heights[:, None, :] == heights[:, :, None]
        higher = (heights[:, None, :] > heights[:, :, None]) | (level & earlier)
        return ((apart < SAME) & higher).any(2).T.flatten()
