"""Least squares in a ball, by its multiplier, in float64."""

from __future__ import annotations

import math

import torch
from scipy.optimize import brentq
from torch import Tensor


def ridge(matrix: Tensor, right: Tensor, weight: float) -> Tensor:
    """The minimiser of |M d - r|^2 + weight |d|^2."""
    gram = matrix.T @ matrix
    return torch.linalg.solve(gram + weight * torch.eye(len(gram), dtype=matrix.dtype), matrix.T @ right)


def least_squares_in_ball(matrix: Tensor, right: Tensor, radius: float) -> Tensor:
    """The minimiser of |M d - r|^2 with |d| <= radius: a ridge, of the weight at which it just fits."""
    free = torch.linalg.pinv(matrix) @ right
    if float(free.norm()) <= radius:
        return free
    root = brentq(lambda log: float(ridge(matrix, right, math.exp(log)).norm()) - radius, -60, 60, xtol=1e-14)
    return ridge(matrix, right, math.exp(root))
