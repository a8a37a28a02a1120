"""Steps along leading eigenvectors, and how well they predict what attacks do."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import attacks
from vaeaudit.checkpoint import Arrays
from vaeaudit.errors import ModelError
from vaeaudit.measurements.bench import BUDGETS, IMAGES_AT_ONCE, INPUT_UNITS, Bench, Floats, Rows, afforded, plain
from vaeaudit.measurements.spectra import ROWS_A_UNIT, are_decomposed
from vaeaudit.reconstruction import target_distances
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage
from vaeaudit.report.local import LINEAR, LocalPrediction, LocalStep
from vaeaudit.statistics import Estimate, estimate

LOCAL_BUDGETS = (0.0005, 0.001, 0.002, 0.005, *BUDGETS, 0.1)
"""As `BUDGETS`, for the steps along eigenvectors: from where any model is linear to beyond where one is."""
_METRICS_PRODUCTS = 3
"""Products of the steps of both metrics, in those of an encoder's; a round trip takes twice as many."""
_ROUNDINGS = 64
"""A displacement stands clear of rounding above so many units in the last place of what is displaced."""
_SMALLEST_WAY = 0.02
"""A targeted attack got clearly off the spot above this share of the way."""


def local_prediction(bench: Bench, curves: Curves, damage: Damage, deterministic: bool) -> LocalPrediction | None:
    """None where the spectra are too large to be computed, which a finding of theirs says.

    Args:
        bench: what is measured.
        curves: trade-off curves of all pairs.
        damage: of the untargeted attack.
        deterministic: whether the encoder returns no variances.
    """
    radii = bench.radii(LOCAL_BUDGETS)
    try:
        arrays = _measured(bench, radii, bench.radii(BUDGETS))
    except ModelError:
        return None
    return local_of(arrays, "mean" if deterministic else "wasserstein", radii, curves, damage)


def _measured(bench: Bench, radii: list[float], compared: list[float]) -> Arrays:
    """Steps along leading eigenvectors at the pairs' originals, and how far they lead to the targets.

    Args:
        bench: what is measured.
        radii: L2 budgets of the steps.
        compared: those of them at which the way to the target is measured.

    Raises:
        ModelError: the leading eigenvectors are too many for the preset.
    """
    grown = bench.spec.grown(len(bench.pairs))
    units = bench.ae.posteriors(bench.images[:1]).mean.numel()
    products = _METRICS_PRODUCTS * attacks.spectral_products(len(radii))
    cost = min(ROWS_A_UNIT * units, products) if are_decomposed(bench, units) else products
    count = afforded(grown, min(len(bench.pairs), grown.damaged), cost, units)
    return bench.kept(
        "local", "steps along eigenvectors", bench.pair_keys(count),
        partial(_local, bench, radii=radii, compared=compared), IMAGES_AT_ONCE,
        {"radii": radii, "compared": compared, "samples": bench.spec.samples},
    )  # fmt: skip


def _local(bench: Bench, chunk: Rows, radii: list[float], compared: list[float]) -> Arrays:
    originals, targets = bench.pair_images(chunk)
    latent, displaced = (
        attacks.spectral(bench.ae, originals, radii, metric) for metric in ("wasserstein", "round_trip_mean")
    )
    clean = bench.ae.posteriors(originals).mean, bench.ae.reconstructions(originals)
    arrays = {"span": plain((originals - targets).flatten(1).double().norm(dim=1))}
    for part, step, outputs in zip(("latent", "reconstruction"), (latent, displaced), clean, strict=True):
        rounding = _ROUNDINGS * torch.finfo(bench.ae.dtype).eps * outputs.flatten(1).double().norm(dim=1)
        clear = step.predicted > rounding[:, None]
        arrays[f"{part}.eigenvalue"] = plain(step.eigenvalue)
        arrays[f"{part}.predicted"] = plain(torch.where(clear, step.predicted, torch.nan))
        arrays[f"{part}.realised"] = plain(torch.where(clear, step.realised, torch.nan))
    columns = [radii.index(radius) for radius in compared]
    return {**arrays, "way": _way(bench, chunk, latent, columns)}


def _way(bench: Bench, chunk: Rows, step: attacks.SpectralAttack, columns: list[int]) -> NDArray[np.float64]:
    """1 - Y of both directions of a step, the better one, `(pairs, compared)`."""
    originals, targets = bench.pair_images(chunk)
    both = torch.cat([step.adversarial[:, columns], step.opposite[:, columns]], 1)
    distances = target_distances(
        bench.ae, originals, targets, both, samples=bench.spec.samples, keys=bench.noise_keys(chunk)
    )
    reach = (distances.original - distances.target)[:, None]
    way = (distances.original[:, None] - distances.adversarial) / reach
    return plain(way.view(len(chunk), 2, len(columns)).amax(1))


def local_of(arrays: Arrays, metric: str, radii: list[float], curves: Curves, damage: Damage) -> LocalPrediction:
    """How well local geometry predicts what attacks do.

    Args:
        arrays: from `_measured`, at the first pairs of the curves.
        metric: name of the latent steps' metric.
        radii: budgets of the steps, those of the damage among them.
        curves: trade-off curves of all pairs.
        damage: of the untargeted attack.
    """
    pairs, budgets = len(arrays["span"]), np.array(radii)
    originals = curves.originals[:pairs]
    once = np.full((pairs, 1), np.nan)
    once[np.unique(originals, return_index=True)[1]] = 1
    columns = np.searchsorted(budgets, damage.radii)
    untargeted = _ratio(arrays["reconstruction.realised"][:, columns], damage.displacement_of(originals))
    targeted = _ratio(arrays["way"], _way_of_targeted(curves, damage.radii / arrays["span"][:, None]))
    return LocalPrediction(
        radii=budgets, originals=originals, targets=curves.targets[:pairs],
        latent=_local_step(arrays, "latent", metric, budgets, once),
        reconstruction=_local_step(arrays, "reconstruction", "round_trip_mean", budgets, once),
        compared=damage.radii, untargeted_share=untargeted, targeted_share=targeted,
        untargeted=_medians(untargeted * once), targeted=_medians(targeted),
    )  # fmt: skip


def _local_step(arrays: Arrays, part: str, metric: str, radii: Floats, once: Floats) -> LocalStep:
    eigenvalue, predicted, realised = (arrays[f"{part}.{name}"] for name in ("eigenvalue", "predicted", "realised"))
    linear = _ratio(realised, predicted)
    breaks, censored = linearity_breaks(radii, linear)
    seen = breaks * once[:, 0]
    return LocalStep(
        metric=metric, eigenvalue=eigenvalue, predicted=predicted, realised=realised,
        attained=_medians(_ratio(realised, np.sqrt(eigenvalue)[:, None] * radii) * once),
        linear=_medians(linear * once), breaks=breaks, censored=censored,
        breaking_budget=estimate(
            seen, unit=INPUT_UNITS, upper=np.where(censored & ~np.isnan(seen), np.inf, seen)
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


def _medians(figures: Floats) -> tuple[Estimate, ...]:
    return tuple(estimate(column) for column in figures.T)
