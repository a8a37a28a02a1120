"""The trade-off curves of a report: plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.sampled import sample_of
from vaeaudit.report.shapes import check_shapes
from vaeaudit.samples import Sample

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """The trade-off curve of every pair (definitions D3 to D5).

    Attributes:
        strengths: the series of the regularising constant C, ascending, `(strengths,)`.
        distortion: X = L2(d) / L2(x - t), `(pairs, strengths)`.
        gap: Y, distance of the reconstruction to the target between 1 (the original's) and 0
            (the target's own), `(pairs, strengths)`; NaN for excluded pairs.
        divergence: latent divergence to the target, `(pairs, strengths)`.
        objective: divergence + C * penalty, `(pairs, strengths)`.
        converged: whether the optimiser met its tolerance, `(pairs, strengths)`.
        disagreement: by how much the objectives of the paths from the original and from the target differed before
            the better one was polished, as a fraction of it, `(pairs, strengths)`; large values tell of local minima.
        originals: index of each original among the audited images, `(pairs,)`.
        targets: index of each target, `(pairs,)`.
        reach: denominator of Y, in input units, `(pairs,)`.
        excluded: pairs whose reach is not clearly positive, `(pairs,)`.
        hinge: saturation point of X, `(pairs,)`; the largest X reached where censored.
        censored: curves that do not saturate: the hinge is only known to be at least that, `(pairs,)`.
        floor: Y right of the hinge, `(pairs,)`.
        slope: fall of Y per unit of X left of the hinge, `(pairs,)`.
        r_squared: fit of the broken stick, `(pairs,)`.
        linearity: fit of a straight line left of the hinge, `(pairs,)`.
        auddc: area under the distortion-distortion curve, `(pairs,)`.
        reconstruction_error: L2(r(x) - x) of each pair's original, input units, `(pairs,)`.
        evaluations: gradient evaluations that the attack spent on each pair, `(pairs,)`.
        spans: L2(x - t), input units, `(pairs,)`; None in a report that was written before it was kept.
        labels: labels of original and target, `(pairs, 2)`; None where the data have none.
    """

    strengths: Floats
    distortion: Floats
    gap: Floats
    divergence: Floats
    objective: Floats
    converged: Booleans
    disagreement: Floats
    originals: Integers
    targets: Integers
    reach: Floats
    excluded: Booleans
    hinge: Floats
    censored: Booleans
    floor: Floats
    slope: Floats
    r_squared: Floats
    linearity: Floats
    auddc: Floats
    reconstruction_error: Floats
    evaluations: Integers
    spans: Floats | None = None
    labels: Integers | None = None

    def __post_init__(self) -> None:
        pairs, strengths = self.originals.size, self.strengths.size
        grids = dict.fromkeys(
            ("distortion", "gap", "divergence", "objective", "converged", "disagreement"), (pairs, strengths)
        )
        fields = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None]
        columns = {name: (pairs,) for name in fields if name not in grids}
        labels = {} if self.labels is None else {"labels": (pairs, 2)}
        check_shapes(self, {**columns, **grids, **labels, "strengths": (strengths,)})

    def sample(self, score: str) -> Sample:
        """The figures behind a score that comes from the pairs; those of excluded pairs are left out."""
        values: Floats = getattr(self, score)
        if score == "reconstruction_error":
            # an original may take part in several pairs, but counts once
            _, first = np.unique(self.originals, return_index=True)
            return sample_of(values[first], score, self.originals[first])
        if score != "reach":
            values = np.where(self.excluded, math.nan, values)
        upper = np.where(self.censored, math.inf, values) if score == "hinge" else None
        return sample_of(values, score, self.originals, targets=self.targets, upper=upper)
