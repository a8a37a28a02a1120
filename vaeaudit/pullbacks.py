"""Pullback spectra and condition numbers of encoder, decoder and round trip at images, as plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import geometry
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.geometry.budget import memory_budget
from vaeaudit.geometry.leading import CONFIRMING_STEPS
from vaeaudit.geometry.operators import NORM_PROBES
from vaeaudit.geometry.spectra import are_held

LEADING = 4
"""Eigenvalues found one by one where a spectrum is too large to be decomposed."""
ESTIMATED = ("von_neumann_entropy", "effective_rank", "entropy_khan2022", "trace", "log_pseudo_determinant")
"""Scores that are stochastic estimates there."""
_METRICS = {"encoder": "wasserstein", "decoder": "decoder", "round_trip": "round_trip"}
_OF_MEANS = {"encoder": "mean", "decoder": "decoder", "round_trip": "round_trip"}
_PRODUCTS_A_STEP = 8
"""Of a Lanczos step for each part: two with the encoder, two with the decoder, and four for the round trip."""
_COPIES = 6

Arrays = dict[str, NDArray[Any]]


def decomposed_at_once(ae: Autoencoder, images: Tensor) -> int:
    """Images whose Jacobians fit into memory together; 0 where a single one's are too large to be decomposed."""
    if not are_held(ae, images, "round_trip"):
        return 0
    means = ae.posteriors(images[:1]).mean
    held = 8 * _COPIES * means.numel() * (2 * images[0].numel() + ae.reconstructions(images[:1]).numel())
    return max(1, memory_budget(images.device) // held)


def pullback_arrays(ae: Autoencoder, images: Tensor, active: NDArray[np.bool_]) -> Arrays:
    """Eigenvalues with their errors `(images, r)`, and condition numbers on the active units `(images,)`.

    Args:
        ae: the model, at rest.
        images: `(images, *event)`, on the model's device.
        active: which latent units are active, `(units,)`.

    Returns:
        `eigenvalues`, `error`, `condition` and `resolved` of each part, named as `encoder.error`. A condition
        number beyond what the model's precision resolves is that limit, and not resolved; with fewer than
        two active units it is NaN.

    Raises:
        ModelError: the Jacobians are too large to be decomposed exactly, or not finite.
    """
    encoder = geometry.encoder_jacobians(ae, images)
    decoder = geometry.decoder_jacobian(ae, ae.posteriors(images).mean).double()
    factors = {
        "encoder": geometry.encoder_factor(encoder, "wasserstein"),
        "decoder": decoder,
        "round_trip": geometry.round_trip_factor(encoder, decoder),
    }
    alive = torch.from_numpy(np.flatnonzero(active)).to(images.device)
    on_active = geometry.Jacobians(mean=encoder.mean[:, alive], log_std=None, std=None)
    restricted = {
        "encoder": on_active.mean.double(),
        "decoder": decoder[:, :, alive],
        "round_trip": geometry.round_trip_factor(on_active, decoder[:, :, alive]),
    }
    arrays: Arrays = {}
    for part, factor in factors.items():
        spectrum = geometry.spectrum_of(factor, part, (), precision=ae.dtype)
        arrays[f"{part}.eigenvalues"] = _plain(spectrum.eigenvalues)
        arrays[f"{part}.error"] = _plain(spectrum.error)
        condition, resolved = _condition(restricted[part], len(alive), ae.dtype)
        arrays[f"{part}.condition"], arrays[f"{part}.resolved"] = condition, resolved
    return arrays


def _condition(factor: Tensor, units: int, precision: torch.dtype) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if units < 2:
        return np.full(len(factor), np.nan), np.full(len(factor), True)
    limit = geometry.scores.resolvable_condition(units, precision)
    condition = _plain(geometry.scores.condition_number(factor, units))
    return np.minimum(condition, limit), condition < limit


def products_an_image(probes: int, steps: int) -> int:
    """Most products with Jacobians that `stochastic_arrays` takes for an image whose eigenvalues have no copies."""
    return _PRODUCTS_A_STEP * (2 * steps + CONFIRMING_STEPS + probes * steps + steps) + NORM_PROBES + 2


def stochastic_arrays(
    ae: Autoencoder, image: Tensor, active: NDArray[np.bool_], *, probes: int, steps: int, seed: int
) -> Arrays:
    """What `pullback_arrays` returns, for one image whose Jacobians are too large, by products with them.

    Args:
        ae: the model, at rest.
        image: `(1, *event)`, on the model's device.
        active: which latent units are active, `(units,)`.
        probes: random vectors for the scores of the whole spectrum.
        steps: of Lanczos for each.
        seed: of all that is random; one of its own for each image, so that their errors are independent.

    Returns:
        As `pullback_arrays`, with the `LEADING` eigenvalues alone and an `error` for each; every score in
        `ESTIMATED`, named as `encoder.trace`; and half the width of their 95 % intervals: `half_width` of the
        trace's and the entropy's as shares of them, the wider one, and `half_width_log` of the log
        pseudo-determinant's, nats. A condition number that is not resolved is a lower bound.
    """
    latents = ae.posteriors(image).mean
    alive = torch.from_numpy(active).to(image.device)
    arrays: Arrays = {}
    for part, metric in _METRICS.items():
        points = latents if part == "decoder" else image
        found = geometry.stochastic_scores(
            ae, points, metric, probes=probes, steps=steps, top=LEADING, leading_steps=2 * steps, seed=seed
        )  # fmt: skip
        assert found.leading is not None
        arrays[f"{part}.eigenvalues"] = _plain(found.leading.values)
        arrays[f"{part}.error"] = _plain(found.leading.error)
        arrays |= {f"{part}.{score}": _plain(getattr(found, score).value) for score in ESTIMATED}
        shares = [_half_width(one) / np.abs(_plain(one.value)) for one in (found.trace, found.von_neumann_entropy)]
        arrays[f"{part}.half_width"] = np.maximum(*shares)
        arrays[f"{part}.half_width_log"] = _half_width(found.log_pseudo_determinant)
        condition, resolved = np.full(1, np.nan), np.full(1, True)
        if active.sum() >= 2:
            ends = geometry.stochastic_condition_number(
                ae, points, _OF_MEANS[part], active=alive, steps=steps, seed=seed
            )
            condition, resolved = _plain(ends.value), ends.resolved.cpu().numpy()
        arrays[f"{part}.condition"], arrays[f"{part}.resolved"] = condition, resolved
    return arrays


def _half_width(interval: geometry.Interval) -> NDArray[np.float64]:
    return _plain((interval.high - interval.low) / 2)


def _plain(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
