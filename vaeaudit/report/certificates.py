"""What no attack can beat, beside what ours reached: plain values of a report."""

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
Booleans = NDArray[np.bool_]
VACUOUS = 0.01
"""Share of L2(x - t), or of Delta(x, t), below which a lower bound says next to nothing."""


@dataclass(frozen=True, kw_only=True)
class LipschitzBound:
    """An upper bound of a part's Lipschitz constant, L2 to L2, for all inputs.

    Attributes:
        constant: of the posterior's mean, or of the reconstruction.
        product: what multiplying the layers' constants gives.
    """

    constant: float
    product: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Certified:
    """Bounds that hold for every distortion, pair by pair, beside what the attacks came to (`vaeaudit.certificates`).

    A figure that was not certified is NaN, and `refusals` says why; one that the preset leaves out is NaN as well.

    Attributes:
        divergence_name: Delta, as it is bounded.
        originals: index of each original among the audited images, `(pairs,)`.
        targets: index of each target, `(pairs,)`.
        level: the Delta to the target that the targeted attack came down to at its smallest C, `(pairs,)`.
        distortion: no attack gets Delta down to `level` with a smaller X, `(pairs,)`.
        attacked: the smallest X with which ours does, `(pairs,)`.
        radii: L2 budgets, those of the untargeted attack, `(budgets,)`.
        clean: Delta without any distortion, `(pairs,)`.
        divergence: within a budget Delta stays at least this, `(pairs, budgets)`.
        damage: within a budget the mean reconstruction moves by this at most, input units, `(pairs, budgets)`.
        attacked_damage: by how much the untargeted attack moves it, `(pairs, budgets)`; NaN where it was not tried.
        margin: the reconstruction is r-robust (definitions rows 16, 17) for every L2(d) below this, `(pairs,)`.
        r: the r of that margin, input units.
        sampled: whether the margin compares two samples, or one with the mean reconstruction.
        balls: around each original in which bounds were sought; 0 for bounds over all inputs alone.
        largest_damage: the largest L2 distance of two valid images; a damage bound beyond it is vacuous.
        encoder: Lipschitz constant of the posterior's mean; None where there is none.
        decoder: Lipschitz constant of the reconstruction; None where there is none, or the preset leaves it out.
        refusals: why a part is not certified, by the part's name.
        certified_distortion: `distortion`, median over pairs; higher is more robust.
        tightness: `distortion` over `attacked`, median over pairs; 1 where nothing is left open between the two.
        damage_bounds: `damage` at each budget, median over pairs; lower is more robust.
    """

    divergence_name: str
    originals: Integers
    targets: Integers
    level: Floats
    distortion: Floats
    attacked: Floats
    radii: Floats
    clean: Floats
    divergence: Floats
    damage: Floats
    attacked_damage: Floats
    margin: Floats
    r: float
    sampled: bool
    balls: int
    largest_damage: float
    encoder: LipschitzBound | None
    decoder: LipschitzBound | None
    refusals: dict[str, str]
    certified_distortion: Estimate
    tightness: Estimate
    damage_bounds: tuple[Estimate, ...]

    def __post_init__(self) -> None:
        pairs, budgets = (self.originals.size,), self.radii.size
        columns = ("originals", "targets", "level", "distortion", "attacked", "clean", "margin")
        check_shapes(self, dict.fromkeys(columns, pairs))
        check_shapes(self, dict.fromkeys(("divergence", "damage", "attacked_damage"), (*pairs, budgets)))
        check_shapes(self, dict.fromkeys(("radii", "damage_bounds"), (budgets,)))

    @property
    def measured(self) -> bool:
        """Whether the bound of the distortion says anything, in the median over pairs."""
        return bool(self.certified_distortion.value >= VACUOUS)

    @property
    def refusal(self) -> str:
        """Why there is no bound of the distortion that says anything; empty if there is one."""
        if self.measured:
            return ""
        if np.isnan(self.certified_distortion.value):
            return next(iter(self.refusals.values()), "no distortion was certified")
        return (
            f"the certified distortion is vacuous: below {VACUOUS:g} of the way to the target in half of the pairs, "
            "which neither proves the model robust nor that it is not"
        )

    @property
    def distortion_vacuous(self) -> Booleans:
        """Where the bound of the distortion says next to nothing, `(pairs,)`."""
        return self.distortion < VACUOUS

    @property
    def divergence_vacuous(self) -> Booleans:
        """Where the bound of the divergence does, `(pairs, budgets)`."""
        return self.divergence <= VACUOUS * self.clean[:, None]

    @property
    def damage_vacuous(self) -> Booleans:
        """Where the bound of the damage exceeds what any two valid images differ by, `(pairs, budgets)`."""
        return self.damage >= self.largest_damage

    @property
    def margin_vacuous(self) -> Booleans:
        """Where nothing is certified of r-robustness, `(pairs,)`."""
        return self.margin <= 0

    def sample(self, score: str) -> Sample:
        """The figures behind `certified_distortion`."""
        return sample_of(self.distortion, score, self.originals, targets=self.targets)

    def distrusted(self) -> Certified:
        """The same figures, marked as not to be relied upon."""
        return replace(
            self, certified_distortion=self.certified_distortion.distrusted(), tightness=self.tightness.distrusted(),
            damage_bounds=all_distrusted(self.damage_bounds),
        )  # fmt: skip
