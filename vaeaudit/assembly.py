"""From measured arrays to the estimates of a report."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit.checkpoint import Arrays
from vaeaudit.geometry import scores
from vaeaudit.report.model import PER_IMAGE, Curves, Damage, Gallery, GeometryScores
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import Estimate, count_above, estimate
from vaeaudit.tradeoff import areas_under, fit_hinge

INPUT_UNITS = "L2 of input"
SHOWN_STRENGTHS = 5
_UNITS = {"von_neumann_entropy": "nats", "effective_rank": "directions"}
_CLEARLY = 3.0
_SMALLEST_REACH = 0.01
"""A pair's reach is clearly positive above this share of its span, and above three standard errors."""

Floats = NDArray[np.float64]


def curves_of(arrays: Arrays, strengths: Floats, spans: Floats, pairs: NDArray[np.int64], seed: int) -> Curves:
    """Trade-off curves of all pairs, with their hinges.

    Args:
        arrays: from `Measurements.tradeoff`.
        strengths: C in the arrays' order, `(strengths,)`.
        spans: L2(x - t), `(pairs,)`.
        pairs: positions of originals and targets in the user's data, `(pairs, 2)`.
        seed: seed of the bootstrap.
    """
    order = np.argsort(strengths)
    reach = arrays["original_distance"] - arrays["target_distance"]
    clear = np.maximum(_SMALLEST_REACH * spans, _CLEARLY * arrays["reach_error"])
    excluded = ~(reach > clear)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (arrays["adversarial_distance"] - arrays["target_distance"][:, None]) / reach[:, None]
    gap = np.where(excluded[:, None], np.nan, gap)[:, order]
    distortion = arrays["distortion"][:, order]
    fit = fit_hinge(distortion, gap, seed=seed)
    return Curves(
        strengths=strengths[order], distortion=distortion, gap=gap, divergence=arrays["divergence"][:, order],
        objective=arrays["objective"][:, order], converged=arrays["converged"][:, order],
        originals=pairs[:, 0], targets=pairs[:, 1], reach=reach, excluded=excluded,
        hinge=fit.hinge, censored=fit.censored & ~excluded, floor=fit.floor, slope=fit.slope,
        r_squared=fit.r_squared, linearity=fit.linearity, auddc=areas_under(distortion, gap),
        reconstruction_error=arrays["reconstruction_error"], evaluations=arrays["evaluations"],
    )  # fmt: skip


def damage_of(displacement: Floats, radii: list[float], images: NDArray[np.int64], seed: int) -> Damage:
    """Estimates of untargeted damage at each budget."""

    def mean(figures: Floats, score: str, unit: str) -> Estimate:
        return estimate(figures, statistic="mean", unit=unit, higher_is_better=DIRECTIONS[score], seed=seed)

    columns = list(zip(displacement.T, radii, strict=True))
    return Damage(
        radii=np.array(radii),
        displacement=displacement,
        images=images,
        estimates=tuple(mean(column, "damage", INPUT_UNITS) for column, _ in columns),
        gains=tuple(mean(column / radius, "damage_gain", "L2 per L2") for column, radius in columns),
    )


def active_units_of(activity: Arrays, images: int) -> Estimate:
    """How many latent units are active (definitions D9)."""
    return count_above(activity["variance"], activity["error"], scores.ACTIVE_VARIANCE, n=images)


def geometry_of(arrays: Arrays, part: str, metric: str, activity: Arrays, images: int, seed: int) -> GeometryScores:
    """Scores of one of encoder, decoder and round trip.

    Args:
        arrays: from `Measurements.spectra`.
        part: whose.
        metric: name of its metric.
        activity: from `Measurements.activity`.
        images: how many images the activity was measured on.
        seed: seed of the bootstrap.
    """
    per_image, resolved = figures_of(arrays, part), arrays[f"{part}.resolved"]
    active = active_units_of(activity, images)

    def median(score: str, upper: Floats | None = None) -> Estimate:
        direction = DIRECTIONS[f"{part}.{score}"]
        return estimate(
            per_image[score], unit=_UNITS.get(score, ""), higher_is_better=direction, upper=upper, seed=seed
        )

    estimates = {score: median(score) for score in PER_IMAGE}
    condition = median("condition_number", np.where(resolved, per_image["condition_number"], np.inf))
    estimates["condition_number"] = condition if active.value >= 2 else condition.distrusted()
    return GeometryScores(
        metric=metric, **estimates, active_units=active, eigenvalues=arrays[f"{part}.eigenvalues"],
        images=arrays["images"], per_image=per_image, resolved=resolved, variances=activity["variance"],
        variance_errors=activity["error"], active_variance=scores.ACTIVE_VARIANCE,
    )  # fmt: skip


def figures_of(arrays: Arrays, part: str) -> dict[str, Floats]:
    """Every score of a pullback spectrum at each image, `(images,)`.

    Args:
        arrays: from `Measurements.spectra`.
        part: whose.
    """
    values = torch.from_numpy(arrays[f"{part}.eigenvalues"])
    error = torch.from_numpy(arrays[f"{part}.error"])
    of_spectrum = {
        "spectral_radius": scores.spectral_radius(values),
        "von_neumann_entropy": scores.von_neumann_entropy(values),
        "effective_rank": scores.effective_rank(values),
        "entropy_khan2022": scores.entropy_khan2022(values),
        "trace": scores.trace(values),
        "log_pseudo_determinant": scores.log_pseudo_determinant(values, error),
    }
    return {"condition_number": arrays[f"{part}.condition"], **{name: x.numpy() for name, x in of_spectrum.items()}}


def gallery_of(
    arrays: Arrays, pictures: Arrays, curves: Curves, order: NDArray[np.int64], bounds: tuple[float, float]
) -> Gallery:
    """The first few pairs at a few strengths that spread evenly over the distortion.

    Args:
        arrays: from `Measurements.tradeoff`.
        pictures: from `Measurements.pair_pictures`.
        curves: the curves of all pairs.
        order: what sorted the arrays' strengths.
        bounds: of the input space.
    """
    middle = np.nanmedian(curves.distortion, axis=0)
    levels = np.linspace(middle.min(), middle.max(), SHOWN_STRENGTHS)
    columns = np.unique([int(np.abs(middle - level).argmin()) for level in levels])[::-1]
    shown = len(pictures["originals"])
    return Gallery(
        pairs=np.arange(shown), strengths=columns.astype(np.int64), bounds=bounds,
        adversarials=arrays["adversarial"][:shown][:, order[columns]],
        reconstructions=arrays["adversarial_reconstruction"][:shown][:, order[columns]],
        **pictures,
    )  # fmt: skip
