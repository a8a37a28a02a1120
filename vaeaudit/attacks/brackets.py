"""Brackets: two points of each row between which a figure changes its sign, and where to look next."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(kw_only=True, eq=False)
class Brackets:
    """Brackets of roots, narrowed by false position with the Illinois rule (Dowell and Jarratt 1971).

    Attributes:
        low: point of each row at which the figure is not above 0, `(rows,)`, float64; NaN where none is known.
        low_value: the figure there, halved for every time that this end stayed again, `(rows,)`.
        high: point at which the figure is above 0, or not a number, `(rows,)`.
        high_value: the figure there, likewise.
    """

    low: Tensor
    low_value: Tensor
    high: Tensor
    high_value: Tensor
    _last: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._last = torch.zeros_like(self.low)

    def note(self, row: Tensor, at: Tensor, value: Tensor) -> None:
        """Put new points in the place of the old ones on their side; an end that stays a second time counts half.

        Args:
            row: which rows, `(n,)`.
            at: their points, `(n,)`.
            value: the figures there, `(n,)`.
        """
        side = value.sign()
        again, above = side == self._last[row], ~(value <= 0)
        low, high = self.low_value[row], self.high_value[row]
        self.low_value[row] = torch.where(above, torch.where(again, low / 2, low), value)
        self.high_value[row] = torch.where(above, value, torch.where(again, high / 2, high))
        self.low[row] = torch.where(above, self.low[row], at)
        self.high[row] = torch.where(above, at, self.high[row])
        self._last[row] = side

    def guess(self, row: Tensor, inner: float) -> Tensor:
        """Where straight lines between the ends meet 0, `(n,)`; NaN where an end is missing.

        Args:
            row: which rows, `(n,)`.
            inner: share of its bracket that a guess stays away from both ends.
        """
        low, high = self.low_value[row], self.high_value[row]
        share = (low / (low - high)).nan_to_num(0.5).clamp(inner, 1 - inner)
        return self.low[row] + share * (self.high[row] - self.low[row])
