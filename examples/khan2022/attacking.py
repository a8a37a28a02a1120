"""Attacks on one model: against each other at equal budgets, and the steps that the authors released."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from examples.khan2022.settings import Measuring
from vaeaudit import Autoencoder, geometry
from vaeaudit.attacks import latent_damage, maximum_damage, spectral
from vaeaudit.statistics import estimate

Triple = tuple[float, float, float]
ENCODER, ROUND_TRIP = "encoder direction", "round trip direction"
MAXIMUM, UNGUIDED = "maximum damage", "maximum damage, random starts"
LATENT, RANDOM = "latent attack", "random direction"
METRICS = {ENCODER: "wasserstein", ROUND_TRIP: "round_trip"}
RELEASED_STEPS = (0.1, 1.06, 10.0)
RELEASED_DIRECTIONS = 5
CONVENTIONS = {"encoder": "mean", "round trip": "round_trip_mean"}
"""Released figures may be of the spectrum of J or of J'J, of the encoder or of the round trip: all four are computed."""


def compared(ae: Autoencoder, images: Tensor, size: Measuring) -> dict[str, dict[str, list[Triple]]]:
    """What every attack does to images `(images, *event)` at the L2 budgets `size.radii`.

    Returns:
        For each attack and each budget: `displacement`, L2(r(x_a) - r(x)), mean over images; `share`, of the largest that
        any of these attacks found at that image and budget, median; `latent` and `latent share`, the same of the
        2-Wasserstein distance of the posteriors, the distance that the encoder's metric is the local form of.
    """
    found = {name: _effects(ae, images, x) for name, x in _adversarial(ae, images, size).items()}
    figures: dict[str, dict[str, list[Triple]]] = {name: {} for name in found}
    for effect, share in (("displacement", "share"), ("latent", "latent share")):
        most = torch.stack([effects[effect] for effects in found.values()]).amax(0)
        for name, effects in found.items():
            figures[name][effect] = [_triple(column, "mean") for column in effects[effect].T]
            figures[name][share] = [_triple(column, "median") for column in (effects[effect] / most).T]
    return figures


def _adversarial(ae: Autoencoder, images: Tensor, size: Measuring) -> dict[str, Tensor]:
    """Inputs x + d of every attack, `(images, budgets, *event)`."""
    radii = list(size.radii)
    found = {
        f"{title} {k}": spectral(ae, images, radii, metric, direction=k).adversarial
        for title, metric in METRICS.items()
        for k in range(1, size.directions + 1)
    }
    noise = _noise(images)
    found[LATENT] = latent_damage(ae, images, radii, divergence="wasserstein", steps=size.steps).adversarial
    found[MAXIMUM] = maximum_damage(ae, images, radii, steps=size.steps).adversarial
    # starts of its own: without them it begins at the round trip's eigenvector, which is among those it is held against
    starts = torch.stack([noise, -noise])
    found[UNGUIDED] = maximum_damage(ae, images, radii, steps=size.steps, starts=starts).adversarial
    # pixels at an end of the bounds can go one way only, so that hardly anything of the budget is lost there
    inward = noise.abs() * torch.where(images < 0.5, 1.0, -1.0)
    unit = inward / inward.flatten(1).norm(dim=1).view(-1, *[1] * (images.ndim - 1))
    found[RANDOM] = torch.stack([(images + radius * unit).clamp(*ae.bounds) for radius in radii], 1)
    return found


def _noise(images: Tensor) -> Tensor:
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype).to(images.device)


def _effects(ae: Autoencoder, images: Tensor, adversarial: Tensor) -> dict[str, Tensor]:
    """How far reconstruction and posterior moved, `(images, budgets)`, float64."""
    with ae.at_rest():
        flat = adversarial.flatten(0, 1)
        moved, clean = ae.reconstructions(flat).double(), ae.reconstructions(images).double()
        after, before = ae.posteriors(flat), ae.posteriors(images)
    rows = torch.arange(len(images), device=images.device).repeat_interleave(adversarial.shape[1])
    means = (after.mean - before.mean[rows]).double().flatten(1)
    spreads = (after.std - before.std[rows]).double().flatten(1)
    return {
        "displacement": (moved - clean[rows]).flatten(1).norm(dim=1).view(adversarial.shape[:2]),
        "latent": torch.cat([means, spreads], 1).norm(dim=1).view(adversarial.shape[:2]),
    }


def released(ae: Autoencoder, images: Tensor) -> dict[str, Any]:
    """Scores and errors after the authors' code: see `references` for what is known of it.

    Returns:
        For each convention `radius` and `entropy`: the largest singular value of J (or eigenvalue of J'J) and the entropy
        normalised by the maximum, means over images; and `errors[step][k]`, the mean squared error a pixel between x and
        the reconstruction of x + step * s_k * u_k, without bounds and of one sign.
    """
    spectra = {
        "encoder": geometry.encoder_spectrum(ae, images, CONVENTIONS["encoder"]),
        "round trip": geometry.round_trip_spectrum(ae, images, metric=CONVENTIONS["round trip"]),
    }
    scores = {}
    for part, spectrum in spectra.items():
        for kind, values in (("singular values", spectrum.eigenvalues.sqrt()), ("eigenvalues", spectrum.eigenvalues)):
            scores[f"{part}, {kind}"] = {
                "radius": _triple(geometry.scores.spectral_radius(values), "mean"),
                "median radius": _triple(geometry.scores.spectral_radius(values), "median"),
                "entropy": _triple(geometry.scores.entropy_khan2022(values), "mean"),
            }
    return {"scores": scores, "errors": _released_errors(ae, images)}


def _released_errors(ae: Autoencoder, images: Tensor) -> list[list[Triple]]:
    spectrum = geometry.round_trip_spectrum(
        ae, images, RELEASED_DIRECTIONS, metric=CONVENTIONS["round trip"], eigenvectors=True
    )
    assert spectrum.eigenvectors is not None
    lengths = spectrum.eigenvalues.sqrt()
    errors = []
    for step in RELEASED_STEPS:
        row = []
        for k in range(RELEASED_DIRECTIONS):
            along = spectrum.eigenvectors[:, k] * lengths[:, k].view(-1, *[1] * (images.ndim - 1))
            with ae.at_rest():
                decoded = ae.reconstructions((images + step * along).to(images.dtype))
            row.append(_triple((decoded - images).double().square().flatten(1).mean(1), "mean"))
        errors.append(row)
    return errors


def _triple(values: Tensor, statistic: Any) -> Triple:
    """Value and 95 % interval over images."""
    found = estimate(values.detach().cpu().double().numpy(), statistic=statistic)
    return found.value, found.low, found.high
