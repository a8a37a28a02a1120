"""The weight of a penalty at which a goal meets its limit: a root search for every path, on the logarithms of both."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_INNER = 0.05
"""A guess stays this share of its bracket away from both ends."""
_NARROW = 0.1
"""Width of a bracket, in log C and as a share of the tolerance, inside which u jumps if it is not 1."""


class RootSearch:
    """Steers paths of `vaeaudit.optimize.follow` to the C at which a figure u of what they minimise is 1.

    u falls with C, as a minimum moves towards the target. From C to C by a constant factor until the root is
    bracketed, then false position with the Illinois rule (Dowell and Jarratt 1971) in log u over log C. Where the minimum
    jumps, and u with it, the bracket closes on the jump.

    Args:
        paths: how many.
        step: factor on C before a root is bracketed.
        tolerance: on |log u|, at which a path ends.
        device: of the paths.
    """

    def __init__(self, paths: int, step: float, tolerance: float, device: torch.device) -> None:
        self.step, self.tolerance = math.log(step), tolerance
        empty = torch.full((paths,), torch.nan, dtype=torch.float64, device=device)
        self._near, self._near_value = empty, empty.clone()
        self._far, self._far_value = empty.clone(), empty.clone()
        self._last = torch.zeros_like(empty)

    def next(self, path: Tensor, weights: Tensor, figures: Tensor) -> Tensor:
        """The C to try next, NaN for a path that is done; `(rows,)` each, float64."""
        at, value = weights.log(), figures.clamp_min(torch.finfo(torch.float64).tiny).log()
        self._note(path, at, value)
        near, far = self._near[path], self._far[path]
        low, high = self._near_value[path], self._far_value[path]
        share = (low / (low - high)).clamp(_INNER, 1 - _INNER)
        outwards = torch.where(value > 0, at - self.step, at + self.step)
        bracketed = near.isfinite() & far.isfinite()
        done = (
            (value.abs() <= self.tolerance)
            | (bracketed & ((far - near).abs() <= _NARROW * self.tolerance))
            | ~value.isfinite()
        )
        guess = torch.where(bracketed, near + share * (far - near), outwards)
        return torch.where(done, torch.nan, guess.exp())

    def _note(self, path: Tensor, at: Tensor, value: Tensor) -> None:
        """Put the new end in the place of the old one on its side; an end that stays a second time counts half."""
        side = value.sign()
        again = side == self._last[path]
        far = value > 0
        low, high = self._near_value[path], self._far_value[path]
        self._near_value[path] = torch.where(far, torch.where(again, low / 2, low), value)
        self._far_value[path] = torch.where(far, value, torch.where(again, high / 2, high))
        self._near[path] = torch.where(far, self._near[path], at)
        self._far[path] = torch.where(far, at, self._far[path])
        self._last[path] = side
