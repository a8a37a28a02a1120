"""Untargeted damage in a report: plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.movement import LatentMovement
from vaeaudit.report.sampled import empty_sample, sample_of
from vaeaudit.report.shapes import check_shapes
from vaeaudit.samples import Sample
from vaeaudit.statistics import Estimate, all_distrusted

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SCORES = ("damage", "damage_gain", "damage_latent")
"""Scores that are those of the middle budget."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Damage:
    """What an untargeted attack does to the reconstruction at fixed input budgets (definitions D12).

    Attributes:
        radii: L2 budgets in input units, `(budgets,)`.
        displacement: L2 distance the reconstruction was moved, input units, `(images, budgets)`.
        images: index of each attacked image, `(images,)`.
        estimates: mean displacement at each budget.
        gains: mean displacement per unit of distortion at each budget.
        latent: how far the same attacked images move the posterior mean; None in a report of an older schema.
    """

    radii: Floats
    displacement: Floats
    images: Integers
    estimates: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]
    latent: LatentMovement | None

    def __post_init__(self) -> None:
        images, budgets = self.images.size, self.radii.size
        check_shapes(self, {**dict.fromkeys(("radii", "estimates", "gains"), (budgets,)), "images": (images,)})
        check_shapes(self, {"displacement": (images, budgets)})
        if self.latent is not None:
            check_shapes(self.latent, {"moved": (images, budgets)})

    @property
    def middle(self) -> int:
        """Which budget the scores of the damage are those of."""
        return len(self.estimates) // 2

    def rows_of(self, images: Integers) -> Integers:
        """The row of each image, given by its index among the audited ones, `(n,)`; -1 where it was not attacked."""
        place = {int(image): row for row, image in enumerate(self.images)}
        return np.array([place.get(int(image), -1) for image in images], np.int64)

    def displacement_of(self, images: Integers) -> Floats:
        """How far the reconstruction of each image was moved, `(n, budgets)`; NaN where it was not attacked."""
        rows = self.rows_of(images)
        return np.where((rows >= 0)[:, None], self.displacement[rows], np.nan)

    def scores(self) -> dict[str, Estimate]:
        """Those of `SCORES` that were measured."""
        found = {"damage": self.estimates[self.middle], "damage_gain": self.gains[self.middle]}
        return found if self.latent is None else {**found, "damage_latent": self.latent.estimates[self.middle]}

    def distrusted(self) -> Damage:
        """The same figures, marked as not to be relied upon."""
        latent = None if self.latent is None else self.latent.distrusted()
        return replace(
            self, estimates=all_distrusted(self.estimates), gains=all_distrusted(self.gains), latent=latent
        )  # fmt: skip

    def sample(self, score: str) -> Sample:
        """The figures behind one of `SCORES`; none where it was not measured."""
        if score == "damage_latent":
            if self.latent is None:
                return empty_sample(score)
            return sample_of(self.latent.moved[:, self.middle], score, self.images)
        values = self.displacement[:, self.middle]
        return sample_of(values / self.radii[self.middle] if score == "damage_gain" else values, score, self.images)
