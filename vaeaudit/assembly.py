"""From measured arrays to the estimates of a report."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit.checkpoint import Arrays
from vaeaudit.geometry import scores
from vaeaudit.report.local import LINEAR, LocalPrediction, LocalStep
from vaeaudit.report.model import PER_IMAGE, Curves, Damage, Gallery, GeometryScores
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import Estimate, count_above, estimate
from vaeaudit.tradeoff import areas_under, fit_hinge

INPUT_UNITS = "L2 of input"
SHOWN_STRENGTHS = 5
_UNITS = {"von_neumann_entropy": "nats", "effective_rank": "directions"}
_CLEARLY = 3.0
_WORTH_TAKING = 1e-6
_SMALLEST_WAY = 0.02
"""A targeted attack got clearly off the spot above this share of the way."""
_SMALLEST_REACH = 0.01
"""A pair's reach is clearly positive above this share of its span, and above three standard errors."""

Floats = NDArray[np.float64]


def exchanged(arrays: Arrays, strengths: Floats, spans: Floats, penalty: str) -> Arrays:
    """Every strength takes the solution that costs least there, of whichever strength it is.

    One call of the attack does so among its own strengths; this does among all that a series came to.

    Args:
        arrays: from `Measurements.tradeoff`, of several calls side by side.
        strengths: C in the arrays' order, `(strengths,)`.
        spans: L2(x - t), `(pairs,)`.
        penalty: on the distortion.
    """
    size = (arrays["distortion"] * spans[:, None]) ** (2 if penalty == "l2_squared" else 1)
    cost = np.nan_to_num(arrays["divergence"][:, None] + strengths[:, None] * size[:, None], nan=np.inf, posinf=np.inf)
    own = np.arange(len(strengths))
    best = np.where(cost.min(2) < cost[:, own, own] * (1 - _WORTH_TAKING), cost.argmin(2), own)
    taken = {
        key: np.take_along_axis(arrays[key], best, 1)
        for key in ("distortion", "divergence", "converged", "adversarial_distance")
    }
    few = len(arrays["adversarial"])
    pictures = {
        key: arrays[key][np.arange(few)[:, None], best[:few]] for key in ("adversarial", "adversarial_reconstruction")
    }
    objective = np.where(best == own, arrays["objective"], np.take_along_axis(cost, best[..., None], 2)[..., 0])
    return {**arrays, **taken, **pictures, "objective": objective}


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
        disagreement=arrays["disagreement"][:, order],
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
        arrays: from `Measurements.spectra`; what is not there is computed from the eigenvalues.
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
    computed = {name: arrays.get(f"{part}.{name}", x.numpy()) for name, x in of_spectrum.items()}
    return {"condition_number": arrays[f"{part}.condition"], **computed}


def local_of(
    arrays: Arrays, metric: str, radii: list[float], curves: Curves, damage: Damage, seed: int
) -> LocalPrediction:
    """How well local geometry predicts what attacks do.

    Args:
        arrays: from `Measurements.local`, at the first pairs of the curves.
        metric: name of the latent steps' metric.
        radii: budgets of the steps, those of the damage among them.
        curves: trade-off curves of all pairs.
        damage: of the untargeted attack.
        seed: seed of the bootstrap.
    """
    pairs, budgets = len(arrays["span"]), np.array(radii)
    originals = curves.originals[:pairs]
    once = np.full((pairs, 1), np.nan)
    once[np.unique(originals, return_index=True)[1]] = 1
    columns = np.searchsorted(budgets, damage.radii)
    untargeted = arrays["reconstruction.realised"][:, columns] / _damage_at(damage, originals)
    targeted = _ratio(arrays["way"], _way_of_targeted(curves, damage.radii / arrays["span"][:, None]))
    return LocalPrediction(
        radii=budgets, originals=originals, targets=curves.targets[:pairs],
        latent=_local_step(arrays, "latent", metric, budgets, once, seed),
        reconstruction=_local_step(arrays, "reconstruction", "round_trip_mean", budgets, once, seed),
        compared=damage.radii, untargeted_share=untargeted, targeted_share=targeted,
        untargeted=_medians(untargeted * once, seed), targeted=_medians(targeted, seed),
    )  # fmt: skip


def _local_step(arrays: Arrays, part: str, metric: str, radii: Floats, once: Floats, seed: int) -> LocalStep:
    eigenvalue, predicted, realised = (arrays[f"{part}.{name}"] for name in ("eigenvalue", "predicted", "realised"))
    linear = _ratio(realised, predicted)
    breaks, censored = linearity_breaks(radii, linear)
    seen = breaks * once[:, 0]
    return LocalStep(
        metric=metric, eigenvalue=eigenvalue, predicted=predicted, realised=realised,
        attained=_medians(_ratio(realised, np.sqrt(eigenvalue)[:, None] * radii) * once, seed),
        linear=_medians(linear * once, seed), breaks=breaks, censored=censored,
        breaking_budget=estimate(
            seen, unit=INPUT_UNITS, upper=np.where(censored & ~np.isnan(seen), np.inf, seen), seed=seed
        ),
    )  # fmt: skip


def linearity_breaks(radii: Floats, ratios: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Budget at which realised over predicted first leaves `LINEAR`, and where it never does, `(rows,)` each.

    Between two budgets the ratio is taken to run straight, and from 1 at no budget. A row without any ratio
    has no such budget: NaN.

    Args:
        radii: ascending, `(budgets,)`.
        ratios: `(rows, budgets)`; NaN where not known, which is passed over.
    """
    rows = [_linearity_break(radii, ratio) for ratio in ratios]
    return np.array([where for where, _ in rows]), np.array([censored for _, censored in rows])


def _linearity_break(radii: Floats, ratios: Floats) -> tuple[float, bool]:
    known = ~np.isnan(ratios)
    if not known.any():
        return np.nan, False
    x, y = np.append(0.0, radii[known]), np.append(1.0, ratios[known])
    outside = (y < LINEAR[0]) | (y > LINEAR[1])
    if not outside.any():
        return float(x[-1]), True
    first = int(outside.argmax())
    edge = LINEAR[0] if y[first] < LINEAR[0] else LINEAR[1]
    share = (edge - y[first - 1]) / (y[first] - y[first - 1])
    return float(x[first - 1] + share * (x[first] - x[first - 1])), False


def _damage_at(damage: Damage, images: NDArray[np.int64]) -> Floats:
    """Displacement by the untargeted attack at images, `(images, budgets)`; NaN where it was not measured or is 0."""
    place = {int(image): row for row, image in enumerate(damage.images)}
    nothing = np.full(len(damage.radii), np.nan)
    rows = [damage.displacement[place[int(i)]] if int(i) in place else nothing for i in images]
    found = np.stack(rows)
    return np.where(found > 0, found, np.nan)


def _way_of_targeted(curves: Curves, distortion: Floats) -> Floats:
    """1 - Y of the targeted attack, read off the first pairs' curves at distortions `(pairs, budgets)`."""
    ways = np.full(distortion.shape, np.nan)
    for row, wanted in enumerate(distortion):
        kept = np.isfinite(curves.gap[row]) & np.isfinite(curves.distortion[row])
        order = np.argsort(curves.distortion[row][kept], kind="stable")
        x, y = curves.distortion[row][kept][order], curves.gap[row][kept][order]
        if len(x):
            ways[row] = 1 - np.interp(wanted, np.append(0, x), np.append(1, y))
    return np.where(ways > _SMALLEST_WAY, ways, np.nan)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Above over below; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _medians(figures: Floats, seed: int) -> tuple[Estimate, ...]:
    return tuple(estimate(column, seed=seed) for column in figures.T)


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
