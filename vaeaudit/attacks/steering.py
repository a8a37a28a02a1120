"""The weight of a penalty at which a goal meets its limit: a root search for every path, on the logarithms of both."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaeaudit.attacks.brackets import Brackets

_INNER = 0.05
"""A guess stays this share of its bracket away from both ends."""
_NARROW = 0.1
"""Width of a bracket, in log C and as a share of the tolerance, inside which u jumps if it is not 1."""


class RootSearch:
    """Steers paths of `vaeaudit.optimize.follow` to the C at which a figure u of what they minimise is 1.

    u falls with C, as a minimum moves towards the target. From C to C by a constant factor until the root is
    bracketed, then false position with the Illinois rule (see `Brackets`) in log u over log C. Where the minimum
    jumps, and u with it, the bracket closes on the jump.

    Args:
        paths: how many.
        step: factor on C before a root is bracketed.
        tolerance: on |log u|, at which a path ends.
        device: of the paths.
    """

    def __init__(self, paths: int, step: float, tolerance: float, device: torch.device) -> None:
        self.step, self.tolerance = math.log(step), tolerance
        low, low_value, high, high_value = torch.full((4, paths), torch.nan, dtype=torch.float64, device=device)
        self._brackets = Brackets(low=low, low_value=low_value, high=high, high_value=high_value)

    def next(self, path: Tensor, weights: Tensor, figures: Tensor) -> Tensor:
        """The C to try next, NaN for a path that is done; `(rows,)` each, float64."""
        at, value = weights.log(), figures.clamp_min(torch.finfo(torch.float64).tiny).log()
        self._brackets.note(path, at, value)
        guess = self._brackets.guess(path, _INNER)
        width = (self._brackets.high[path] - self._brackets.low[path]).abs()
        outwards = torch.where(value > 0, at - self.step, at + self.step)
        # a bracket that still lacks an end has no width, and none is narrow
        done = (value.abs() <= self.tolerance) | (width <= _NARROW * self.tolerance) | ~value.isfinite()
        return torch.where(done, torch.nan, torch.where(guess.isfinite(), guess, outwards).exp())
