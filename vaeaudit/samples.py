"""Samples: the figures behind a score, one a pair or an image, and the one-sided bounds that verdicts rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.intervals import Statistic, bounds_of_count, bounds_of_mean, bounds_of_median

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The figures that one score was estimated from; those of excluded pairs are left out.

    Attributes:
        values: one figure a pair or an image, `(n,)`; for a count, one variance a latent unit, `(units,)`.
        statistic: how the score combines them.
        originals: position of each value's image in the user's data, `(n,)`; empty for a count,
            whose values belong to latent units.
        targets: position of each pair's target, `(n,)`; None where a value belongs to one image.
        upper: the largest each value could be, `(n,)`; +inf for a curve that does not saturate or an
            eigenvalue lost in rounding. None where all values are exact.
        errors: standard error of each value, `(units,)`; only for a count.
        threshold: what a value must exceed to be counted; only for a count.
    """

    values: Floats
    statistic: Statistic
    originals: Integers
    targets: Integers | None = None
    upper: Floats | None = None
    errors: Floats | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("originals", "targets", "upper", "errors"):
            array = getattr(self, name)
            optional = name == "originals" and self.statistic == "count"
            if array is not None and not optional and array.shape != self.values.shape:
                raise ReportError(f"Sample.{name} has shape {array.shape}, expected {self.values.shape}")
        if self.statistic == "count" and self.errors is None:
            raise ReportError("Sample expects errors beside the values of a count, got none")

    def bounds(self, level: float) -> tuple[float, float]:
        """Lower and upper bound of the score, each holding by itself with probability `level`.

        Args:
            level: one-sided confidence, above 0.5 and below 1.

        Returns:
            The two bounds; infinite where the sample carries none.
        """
        check_level("level", level)
        if self.statistic == "count":
            assert self.errors is not None
            return bounds_of_count(self.values, self.errors, self.threshold, level)
        of = bounds_of_median if self.statistic == "median" else bounds_of_mean
        low, high = of(self.values, level)
        if self.upper is not None:
            high = of(self.upper, level)[1]
        return float(low), float(high)


def check_level(name: str, value: float) -> None:
    """Refuse a level that no one-sided bound has.

    Raises:
        OptionError: it is no number above 0.5 and below 1.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0.5 < value < 1:
        raise OptionError(f"{name} expects a number above 0.5 and below 1, such as 0.95, got {value!r}")
