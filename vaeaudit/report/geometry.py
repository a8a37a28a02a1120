"""Scores of pullback spectra in a report: plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.sampled import sample_of
from vaeaudit.report.shapes import check_entries, check_shapes
from vaeaudit.samples import Sample
from vaeaudit.statistics import Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
PER_IMAGE = (
    "spectral_radius", "condition_number", "von_neumann_entropy", "effective_rank", "entropy_khan2022", "trace",
    "log_pseudo_determinant",
)  # fmt: skip
"""Scores of a pullback spectrum with one figure an image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryScores:
    """Scores of a pullback spectrum (definitions D6 to D9), each over images.

    Attributes:
        metric: name of the metric whose eigenvalues these are.
        spectral_radius: largest eigenvalue; lower is more robust.
        condition_number: sqrt(largest / smallest) over the active latent units; lower is more robust.
        von_neumann_entropy: -sum p ln p of the normalised spectrum, nats; no direction.
        effective_rank: exp of the entropy; no direction.
        entropy_khan2022: the max-normalised variant that Khan and Storkey's code computes.
        trace: sum of eigenvalues; lower is more robust.
        log_pseudo_determinant: sum of logs of the non-zero eigenvalues; no direction.
        active_units: latent units in use (Burda et al. 2016); the condition number's denominator.
        eigenvalues: descending, `(images, rank)`.
        images: index of each image, `(images,)`.
        per_image: the figures behind every score but `active_units`, by name, each `(images,)`.
        resolved: whether the condition number stands clear of rounding noise, `(images,)`; where it
            does not, it is at least the figure given.
        variances: variance over the data of each unit's posterior mean, `(units,)`.
        variance_errors: their standard errors, `(units,)`.
        active_variance: the variance above which a unit counts as active.
    """

    metric: str
    spectral_radius: Estimate
    condition_number: Estimate
    von_neumann_entropy: Estimate
    effective_rank: Estimate
    entropy_khan2022: Estimate
    trace: Estimate
    log_pseudo_determinant: Estimate
    active_units: Estimate
    eigenvalues: Floats
    images: Integers
    per_image: dict[str, Floats]
    resolved: Booleans
    variances: Floats
    variance_errors: Floats
    active_variance: float

    def __post_init__(self) -> None:
        images, rank = self.images.size, self.eigenvalues.shape[-1] if self.eigenvalues.ndim else 0
        units = (self.variances.size,)
        check_shapes(self, {"images": (images,), "eigenvalues": (images, rank), "resolved": (images,)})
        check_shapes(self, {"variances": units, "variance_errors": units})
        check_entries(self, "per_image", dict.fromkeys(PER_IMAGE, (images,)))

    def sample(self, score: str) -> Sample:
        """The figures behind one of the scores."""
        if score == "active_units":
            nowhere = np.zeros(0, dtype=np.int64)
            return Sample(
                values=self.variances, statistic="count", originals=nowhere, errors=self.variance_errors,
                threshold=self.active_variance,
            )  # fmt: skip
        values = self.per_image[score]
        upper = np.where(self.resolved, values, math.inf) if score == "condition_number" else None
        return sample_of(values, score, self.images, upper=upper)
