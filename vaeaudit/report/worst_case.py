"""The worst case over many attacks: plain values of a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.sampled import sample_of
from vaeaudit.report.shapes import check_entries, check_shapes
from vaeaudit.samples import Sample
from vaeaudit.statistics import Estimate, all_distrusted

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
EFFECTS = (
    "amplification", "ms_ssim_inputs", "ms_ssim_reconstructions", "likelihood_drop", "deviance_ratio", "elbo_drop",
    "r_robust_share", "latent_class_kept", "latent_class_right", "reconstruction_class_kept",
    "reconstruction_class_right",
)  # fmt: skip
"""What is measured of the worst attacked images, in reading order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackFamily:
    """What several attacks came to inside the same balls, and the worst of them row by row.

    Attributes:
        kind: "damage" for untargeted attacks, one row an image; "gap" for targeted ones, one row a pair.
        norm: of the balls.
        radii: budgets, ascending, `(budgets,)`.
        attacks: their names, in the order in which they were tried.
        figures: the L2 distance by which the reconstruction was moved, input units, of which the largest is the worst;
            or the gap to the target (definitions D3), of which the smallest is the worst, `(attacks, rows, budgets)`;
            NaN for excluded pairs.
        originals: index of each attacked image, `(rows,)`.
        targets: index of each target, `(rows,)`; empty for untargeted attacks.
        estimates: the worst case at each budget: its mean over images, or its median over pairs.
        shares: on which share of the rows each attack comes within 0.1 % of the worst, `(attacks, budgets)`.
    """

    kind: Literal["damage", "gap"]
    norm: str
    radii: Floats
    attacks: tuple[str, ...]
    figures: Floats
    originals: Integers
    targets: Integers
    estimates: tuple[Estimate, ...]
    shares: Floats

    def __post_init__(self) -> None:
        attacks, rows, budgets = len(self.attacks), self.originals.size, self.radii.size
        check_shapes(self, {"figures": (attacks, rows, budgets), "shares": (attacks, budgets)})
        check_shapes(self, {"radii": (budgets,), "estimates": (budgets,), "originals": (rows,)})
        if self.kind == "gap":
            check_shapes(self, {"targets": (rows,)})

    @property
    def worst(self) -> Floats:
        """The worst figure of each row, `(rows, budgets)`."""
        worst: Floats = self.figures.max(0) if self.kind == "damage" else self.figures.min(0)
        return worst

    @property
    def middle(self) -> int:
        """Which budget the scores of the family are those of."""
        return self.radii.size // 2

    def sample(self, score: str) -> Sample:
        """The figures behind the family's score."""
        targets = self.targets if self.kind == "gap" else None
        return sample_of(self.worst[:, self.middle], score, self.originals, targets=targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackEffects:
    """What the worst untargeted attack inside the L2 balls did to each image.

    Attributes:
        radii: budgets, ascending, `(budgets,)`.
        images: index of each image, `(images,)`.
        figures: by the names of `EFFECTS`, those that were measured, each `(images, budgets)`.
        estimates: their medians over images, or the shares, at each budget.
        refusals: why another was not measured, by its name.
        r: reconstructions within this L2 distance count as the same, input units.
        broke: smallest distortion that broke r-robustness for sure, input units, `(images,)`; the largest budget
            where none did.
        unbroken: images where none did, `(images,)`.
        margin: the budget that the attacks needed for that: median of `broke`, open above where images stayed unbroken.
            The true r-robustness margin is no larger.
    """

    radii: Floats
    images: Integers
    figures: dict[str, Floats]
    estimates: dict[str, tuple[Estimate, ...]]
    refusals: dict[str, str]
    r: float
    broke: Floats
    unbroken: NDArray[np.bool_]
    margin: Estimate

    def __post_init__(self) -> None:
        images, budgets = self.images.size, self.radii.size
        check_shapes(self, {"radii": (budgets,), "images": (images,), "broke": (images,), "unbroken": (images,)})
        check_entries(self, "figures", dict.fromkeys(self.figures, (images, budgets)))
        check_entries(self, "estimates", dict.fromkeys(self.figures, (budgets,)))

    def distrusted(self) -> AttackEffects:
        """The same figures, marked as not to be relied upon."""
        estimates = {name: all_distrusted(figures) for name, figures in self.estimates.items()}
        return replace(self, estimates=estimates, margin=self.margin.distrusted())


@dataclass(frozen=True, kw_only=True, eq=False)
class WorstCase:
    """The worst case over all attacks for each image, in the manner of AutoAttack (Croce and Hein 2020).

    Attributes:
        damage: untargeted attacks inside L2 balls.
        damage_linf: the same inside L-infinity balls.
        gap: targeted attacks inside L2 balls.
        gap_linf: the same inside L-infinity balls.
        effects: what the worst of the first did.
    """

    damage: AttackFamily
    damage_linf: AttackFamily
    gap: AttackFamily
    gap_linf: AttackFamily
    effects: AttackEffects

    def families(self) -> dict[str, AttackFamily]:
        """The families by their score: worst_damage, worst_damage_linf, worst_gap, worst_gap_linf."""
        return {
            "worst_damage": self.damage, "worst_damage_linf": self.damage_linf,
            "worst_gap": self.gap, "worst_gap_linf": self.gap_linf,
        }  # fmt: skip

    def distrusted(self, invalid: Callable[[str], bool]) -> WorstCase:
        """The same figures, with those marked that are not to be relied upon.

        Args:
            invalid: says so of a family's score; the effects follow `worst_damage`.
        """
        families = {
            score.removeprefix("worst_"): replace(family, estimates=all_distrusted(family.estimates))
            if invalid(score) else family
            for score, family in self.families().items()
        }  # fmt: skip
        return WorstCase(**families, effects=self.effects.distrusted() if invalid("worst_damage") else self.effects)
