"""Untargeted damage in a report: plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.sampled import sample_of
from vaeaudit.report.shapes import check_shapes
from vaeaudit.samples import Sample
from vaeaudit.statistics import Estimate, all_distrusted

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Damage:
    """What an untargeted attack does to the reconstruction at fixed input budgets (definitions D12).

    Attributes:
        radii: L2 budgets in input units, `(budgets,)`.
        displacement: L2 distance the reconstruction was moved, input units, `(images, budgets)`.
        images: index of each attacked image, `(images,)`.
        estimates: mean displacement at each budget.
        gains: mean displacement per unit of distortion at each budget.
    """

    radii: Floats
    displacement: Floats
    images: Integers
    estimates: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]

    def __post_init__(self) -> None:
        images, budgets = self.images.size, self.radii.size
        check_shapes(self, {**dict.fromkeys(("radii", "estimates", "gains"), (budgets,)), "images": (images,)})
        check_shapes(self, {"displacement": (images, budgets)})

    @property
    def middle(self) -> int:
        """Which budget the scores `damage` and `damage_gain` are those of."""
        return len(self.estimates) // 2

    def distrusted(self) -> Damage:
        """The same figures, marked as not to be relied upon."""
        return replace(self, estimates=all_distrusted(self.estimates), gains=all_distrusted(self.gains))

    def sample(self, score: str) -> Sample:
        """The figures behind `damage` or `damage_gain`."""
        values = self.displacement[:, self.middle]
        return sample_of(values / self.radii[self.middle] if score == "damage_gain" else values, score, self.images)
