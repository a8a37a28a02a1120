"""Pullback spectra and condition numbers of encoder, decoder and round trip at images, as plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import geometry
from vaeaudit.autoencoder import Autoencoder


def pullback_arrays(ae: Autoencoder, images: Tensor, active: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
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
    arrays: dict[str, NDArray[Any]] = {}
    for part, factor in factors.items():
        spectrum = geometry.spectrum_of(factor, part, (), precision=ae.dtype)
        arrays[f"{part}.eigenvalues"] = spectrum.eigenvalues.double().cpu().numpy()
        arrays[f"{part}.error"] = spectrum.error.double().cpu().numpy()
        condition, resolved = _condition(restricted[part], len(alive), ae.dtype)
        arrays[f"{part}.condition"], arrays[f"{part}.resolved"] = condition, resolved
    return arrays


def _condition(factor: Tensor, units: int, precision: torch.dtype) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if units < 2:
        return np.full(len(factor), np.nan), np.full(len(factor), True)
    limit = geometry.scores.resolvable_condition(units, precision)
    condition = geometry.scores.condition_number(factor, units).detach().double().cpu().numpy()
    return np.minimum(condition, limit), condition < limit
