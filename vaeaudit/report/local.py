"""How well local geometry predicts the real attack: plain values of a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.shapes import check_shapes
from vaeaudit.statistics import Estimate, all_distrusted

Floats = NDArray[np.float64]
LINEAR = (0.8, 1.25)
"""Realised over predicted displacement between which a model counts as linear."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalStep:
    """Predicted and realised length of the steps along the leading eigenvector of one metric, image by image.

    An L2 budget r cannot displace more than r sqrt(lambda_1) as long as the model is linear (definitions row 24).
    Two things part what comes of it from that: the bounds of the input space, which rule the eigenvector itself
    out (`predicted` is what the metric says of the step that they allow), and the model's curvature.

    Attributes:
        metric: name of the metric.
        eigenvalue: the largest at each image, `(pairs,)`.
        predicted: length sqrt(d' G d) of the step d, `(pairs, budgets)`.
        realised: the distance that the metric is the local form of, `(pairs, budgets)`; NaN, like `predicted`,
            where a displacement does not stand clear of the model's rounding.
        attained: realised / (r sqrt(lambda_1)) at each budget, median over images.
        linear: realised / predicted at each budget, median over images.
        breaks: budget at which realised / predicted leaves 0.8 to 1.25, between the budgets by a straight line,
            `(pairs,)`; the largest budget where it never does.
        censored: whether it never does, so that linearity holds at least as far, `(pairs,)`.
        breaking_budget: median of `breaks` over images, open above where they are censored.
    """

    metric: str
    eigenvalue: Floats
    predicted: Floats
    realised: Floats
    attained: tuple[Estimate, ...]
    linear: tuple[Estimate, ...]
    breaks: Floats
    censored: NDArray[np.bool_]
    breaking_budget: Estimate

    def __post_init__(self) -> None:
        pairs, budgets = self.eigenvalue.size, len(self.attained)
        check_shapes(self, dict.fromkeys(("eigenvalue", "breaks", "censored"), (pairs,)))
        check_shapes(self, dict.fromkeys(("predicted", "realised"), (pairs, budgets)))
        check_shapes(self, dict.fromkeys(("attained", "linear"), (budgets,)))

    def distrusted(self) -> LocalStep:
        """The same figures, marked as not to be relied upon."""
        return replace(
            self, attained=all_distrusted(self.attained), linear=all_distrusted(self.linear),
            breaking_budget=self.breaking_budget.distrusted(),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalPrediction:
    """What the leading eigenvectors promise, what they do, and how near that is to the best attacks.

    Rows are pairs; an original that takes part in several pairs counts once in estimates over images.

    Attributes:
        radii: L2 budgets in input units, ascending, `(budgets,)`.
        originals: index of each original among the audited images, `(pairs,)`.
        targets: index of each target, `(pairs,)`.
        latent: steps of the encoder's metric, judged by the latent distance.
        reconstruction: steps of the round trip of posterior means, judged by the reconstruction's displacement.
        compared: budgets at which steps are held against the best attacks, those of `Damage`, `(compared,)`.
        untargeted_share: displacement of the reconstruction by the `reconstruction` step, as a share of the
            untargeted attack's at the same budget, `(pairs, compared)`; NaN where that was not measured.
        targeted_share: way towards the target, 1 - Y, that the `latent` step goes in the better of its two
            directions, as a share of the way of the targeted attack at equal distortion, read between the points
            of the pair's trade-off curve, `(pairs, compared)`; NaN for excluded pairs, and where the targeted
            attack itself does not get clearly off the spot. At most 1 but for that attack's own shortcomings;
            negative if both directions lead away from the target.
        untargeted: `untargeted_share` at each budget, median over images.
        targeted: `targeted_share` at each budget, median over pairs.
    """

    radii: Floats
    originals: NDArray[np.int64]
    targets: NDArray[np.int64]
    latent: LocalStep
    reconstruction: LocalStep
    compared: Floats
    untargeted_share: Floats
    targeted_share: Floats
    untargeted: tuple[Estimate, ...]
    targeted: tuple[Estimate, ...]

    def __post_init__(self) -> None:
        pairs, compared = (self.originals.size,), self.compared.size
        for step in (self.latent, self.reconstruction):
            check_shapes(step, {"eigenvalue": pairs, "attained": (self.radii.size,)})
        check_shapes(self, {"radii": (self.radii.size,), "originals": pairs, "targets": pairs})
        check_shapes(self, dict.fromkeys(("compared", "untargeted", "targeted"), (compared,)))
        check_shapes(self, dict.fromkeys(("untargeted_share", "targeted_share"), (*pairs, compared)))

    def distrusted(self, doubted: Callable[[str], bool]) -> LocalPrediction:
        """The same figures, marked as not to be relied upon where the scores they are made of are not.

        Args:
            doubted: whether a score, given by its full name or room, is not to be relied upon.
        """
        latent, reconstruction = doubted("encoder"), doubted("round_trip")
        return replace(
            self,
            latent=self.latent.distrusted() if latent else self.latent,
            reconstruction=self.reconstruction.distrusted() if reconstruction else self.reconstruction,
            untargeted=all_distrusted(self.untargeted) if reconstruction or doubted("damage") else self.untargeted,
            targeted=all_distrusted(self.targeted) if latent or doubted("hinge") else self.targeted,
        )
