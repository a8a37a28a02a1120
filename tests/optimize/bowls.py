"""Rows of quadratic bowls in boxes, whose minima along a path of weights are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaeaudit.optimize import REASONS, BoxLBFGS, Minimum, follow

INF = math.inf
ROWS, N = 10, 8
TIGHT = BoxLBFGS(tolerance=1e-12, max_evaluations=3000)
SERIES = torch.tensor([0.0, 1e-3, 0.02, 0.3, 4.0], dtype=torch.float64)


def reason_index(text: str) -> int:
    (index,) = (i for i, reason in enumerate(REASONS) if text in reason)
    return index


class Bowls:
    """Rows of |M x - r|^2 in boxes of their own; with `separable`, M is diagonal and every minimum is a formula."""

    def __init__(self, *, separable: bool = False, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        values = torch.logspace(0, -1.5, N, dtype=torch.float64)
        if separable:
            self.matrix = torch.diag(values).repeat(ROWS, 1, 1)
        else:
            left, right = torch.linalg.qr(torch.randn(2, ROWS, N, N, generator=generator, dtype=torch.float64))[0]
            self.matrix = left @ torch.diag(values) @ right
        self.right = 2 * torch.randn(ROWS, N, generator=generator, dtype=torch.float64)
        self.lower = -torch.rand(ROWS, N, generator=generator, dtype=torch.float64) - 0.1
        self.upper = torch.rand(ROWS, N, generator=generator, dtype=torch.float64) + 0.1
        self.upper[:, 0] = INF
        self.lower[:, 1], self.upper[:, 1] = -INF, INF
        self.lower[:, 2] = self.upper[:, 2] = 0.05
        self.start = torch.zeros(ROWS, N, dtype=dtype)
        self.calls = torch.zeros(ROWS, dtype=torch.long)
        self.sizes: list[int] = []

    def __call__(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(problem))
        self.calls.index_add_(0, problem, torch.ones_like(problem))
        residual = (self.matrix[problem] @ points.double()[..., None])[..., 0] - self.right[problem]
        gradient = 2 * (self.matrix[problem].mT @ residual[..., None])[..., 0]
        return residual.square().sum(1), gradient.to(points.dtype)

    def follow(
        self, weights: Tensor = SERIES, solver: BoxLBFGS = TIGHT, objective: Callable | None = None, **options
    ) -> Minimum:
        weights = weights.expand(ROWS, -1).contiguous()
        lower, upper = self.lower.to(self.start.dtype), self.upper.to(self.start.dtype)
        return follow(objective or self, self.start, lower, upper, weights, solver, **options)

    def poisoned(self, rows: list[int], poison: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The same, but that value and gradient of these rows are not finite."""

        def objective(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = self(points, problem)
            bad = torch.isin(problem, torch.tensor(rows))
            return torch.where(bad, poison, value), torch.where(bad[:, None], poison, gradient)

        return objective

    def ridged(self, ridge: Tensor | float, row: int) -> Tensor:
        """Minimiser of one separable row plus ridge |x|^2."""
        slopes = self.matrix[row].diagonal()
        free = slopes * self.right[row] / (slopes.square() + ridge)
        return free.clamp(self.lower[row], self.upper[row])


def assert_close(
    found: Minimum, expected: Minimum, rows: Tensor | slice = slice(None), tolerance: float = 1e-5
) -> None:
    torch.testing.assert_close(found.value[rows], expected.value[rows], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.point[rows], expected.point[rows], rtol=0, atol=tolerance)
