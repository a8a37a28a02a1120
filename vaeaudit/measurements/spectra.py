"""Pullback spectra at images, and their scores."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import health
from vaeaudit.checkpoint import Arrays
from vaeaudit.errors import ModelError
from vaeaudit.geometry import scores
from vaeaudit.measurements.activity import active_units_of
from vaeaudit.measurements.bench import IMAGES_AT_ONCE, Bench, Floats, Rows, afforded
from vaeaudit.pullbacks import decomposed_at_once, products_an_image, pullback_arrays, stochastic_arrays
from vaeaudit.report.geometry import PER_IMAGE, GeometryScores
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate, estimate

ROWS_A_UNIT = 3
_FEWEST_ACTIVE = 2
_UNITS = {"von_neumann_entropy": "nats", "effective_rank": "directions"}


def spectra(
    bench: Bench, activity: Arrays, deterministic: bool
) -> tuple[dict[str, GeometryScores], list[health.Finding]]:
    """Scores of encoder, decoder and round trip, by part; none where they are too much for the preset.

    Args:
        bench: what is measured.
        activity: from `activity`.
        deterministic: whether the encoder returns no variances.
    """
    try:
        arrays = _measured(bench, activity["variance"] > scores.ACTIVE_VARIANCE)
    except ModelError as error:
        return {}, [health.finding_no_spectrum(str(error))]
    metrics = {"encoder": "mean" if deterministic else "wasserstein", "decoder": "decoder", "round_trip": "round_trip"}
    found = {
        part: geometry_of(arrays, part, metric, activity, min(len(bench.data), bench.spec.varied))
        for part, metric in metrics.items()
    }
    return found, _findings(arrays, found)


def _findings(arrays: Arrays, found: dict[str, GeometryScores]) -> list[health.Finding]:
    lost = {part: float((~arrays[f"{part}.resolved"]).mean()) for part in found}
    findings = [health.finding_condition_unresolved(part, share) for part, share in lost.items() if share > 0]
    if "encoder.half_width" in arrays:
        findings.append(_estimated(arrays, list(found)))
    active = int(found["encoder"].active_units.value)
    return [*findings, health.finding_few_active_units(active)] if active < _FEWEST_ACTIVE else findings


def _measured(bench: Bench, active: NDArray[np.bool_]) -> Arrays:
    """Eigenvalues, condition numbers and scores of encoder, decoder and round trip at each image.

    From decomposed Jacobians where they can be held and the preset affords them; otherwise from products
    with them, and the scores are stochastic estimates (`pullbacks.stochastic_arrays`).

    Raises:
        ModelError: either way is too much for the preset.
    """
    units, spec = len(active), bench.spec
    exact = are_decomposed(bench, units)
    cost = ROWS_A_UNIT * units if exact else products_an_image(spec.probes, spec.probe_steps)
    counts = [
        afforded(spec.grown(pairs), spec.grown(pairs).spectra, cost, units) for pairs in (bench.first, len(bench.pairs))
    ]
    rows = bench.originals_first(*counts)
    settings: dict[str, object] = {"active": np.flatnonzero(active).tolist()}
    if not exact:
        settings |= {"probes": spec.probes, "probe_steps": spec.probe_steps}
    arrays = bench.kept(
        "spectra", "pullback spectra", bench.image_keys(rows),
        partial(_decomposing if exact else _by_products, bench, rows=rows, active=active),
        min(IMAGES_AT_ONCE, decomposed_at_once(bench.ae, bench.images)) if exact else 1, settings,
    )  # fmt: skip
    return {**arrays, "images": bench.data.index[rows]}


def are_decomposed(bench: Bench, units: int) -> bool:
    """Whether Jacobians are decomposed: they can be, and are affordable or cheaper than products.

    The pairs that were planned first decide, so that an extension goes on in the same way.
    """
    spec, rows = bench.spec.grown(bench.first), ROWS_A_UNIT * units
    cheaper = rows <= products_an_image(spec.probes, spec.probe_steps)
    affordable = spec.jacobian_rows >= SMALLEST_SAMPLE * rows
    return (cheaper or affordable) and decomposed_at_once(bench.ae, bench.images) > 0


def _decomposing(bench: Bench, chunk: Rows, rows: Rows, active: NDArray[np.bool_]) -> Arrays:
    return pullback_arrays(bench.ae, bench.images[rows[chunk]], active)


def _by_products(bench: Bench, chunk: Rows, rows: Rows, active: NDArray[np.bool_]) -> Arrays:
    """At a single image, with random vectors of its own."""
    (row,) = rows[chunk]
    image = int(bench.data.fingerprint_of(int(row))[:16], 16)
    seed = np.random.SeedSequence([bench.seed, image]).generate_state(1, np.uint64)
    return stochastic_arrays(
        bench.ae, bench.images[row : row + 1], active,
        probes=bench.spec.probes, steps=bench.spec.probe_steps, seed=int(seed[0] >> np.uint64(1)),
    )  # fmt: skip


def geometry_of(arrays: Arrays, part: str, metric: str, activity: Arrays, images: int) -> GeometryScores:
    """Scores of one of encoder, decoder and round trip.

    Args:
        arrays: from `_measured`.
        part: whose.
        metric: name of its metric.
        activity: from `activity`.
        images: how many images the activity was measured on.
    """
    per_image, resolved = figures_of(arrays, part), arrays[f"{part}.resolved"]
    active = active_units_of(activity, images)

    def median(score: str, upper: Floats | None = None) -> Estimate:
        direction = DIRECTIONS[f"{part}.{score}"]
        return estimate(per_image[score], unit=_UNITS.get(score, ""), higher_is_better=direction, upper=upper)

    estimates = {score: median(score) for score in PER_IMAGE}
    condition = median("condition_number", np.where(resolved, per_image["condition_number"], np.inf))
    estimates["condition_number"] = condition if active.value >= _FEWEST_ACTIVE else condition.distrusted()
    return GeometryScores(
        metric=metric, **estimates, active_units=active, eigenvalues=arrays[f"{part}.eigenvalues"],
        images=arrays["images"], per_image=per_image, resolved=resolved, variances=activity["variance"],
        variance_errors=activity["error"], active_variance=scores.ACTIVE_VARIANCE,
    )  # fmt: skip


def figures_of(arrays: Arrays, part: str) -> dict[str, Floats]:
    """Every score of a pullback spectrum at each image, `(images,)`.

    Args:
        arrays: from `_measured`; what is not there is computed from the eigenvalues.
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


def _estimated(arrays: Arrays, parts: list[str]) -> health.Finding:
    shares, nats = (
        max(float(np.median(arrays[f"{part}.{name}"])) for part in parts) for name in ("half_width", "half_width_log")
    )
    errors = [float((arrays[f"{part}.error"] / arrays[f"{part}.eigenvalues"])[:, 0].max()) for part in parts]
    return health.finding_spectrum_estimated(len(arrays["images"]), max(errors), shares, nats)
