"""Attacks on one model: against each other at equal budgets, and the steps that the authors released."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaeaudit import Autoencoder, geometry
from vaeaudit.attacks import latent_damage, maximum_damage, spectral
from vaeaudit.divergences import divergence_wasserstein
from vaeaudit.effects import amplification
from vaeaudit.statistics import estimate

from .settings import Measuring

Triple = tuple[float, float, float]
"""A figure and its 95 % interval."""
ENCODER, ROUND_TRIP = "encoder direction", "round trip direction"
MAXIMUM, UNGUIDED = "maximum damage", "maximum damage, random starts"
LATENT, RANDOM = "latent attack", "random direction"
METRICS = {ENCODER: "wasserstein", ROUND_TRIP: "round_trip"}
RELEASED_STEPS = (0.1, 1.06, 10.0)
RELEASED_DIRECTIONS = 5
RELEASED_METRIC = "round_trip_mean"


def compared(ae: Autoencoder, images: Tensor, size: Measuring) -> dict[str, dict[str, list[Triple]]]:
    """What every attack does to images `(images, *event)` at the L2 budgets `size.radii`.

    Returns:
        For each attack and each budget: `displacement`, L2(r(x_a) - r(x)), mean over images; `share`, of the largest that
        any of these attacks found at that image and budget, median; `latent` and `latent share`, the same of the
        2-Wasserstein distance of the posteriors, the distance that the encoder's metric is the local form of.
    """
    adversarial = _adversarial(ae, images, size)
    figures: dict[str, dict[str, list[Triple]]] = {name: {} for name in adversarial}
    displacement = {name: amplification(ae, images, x).displacement for name, x in adversarial.items()}
    latent = {name: _latent(ae, images, x) for name, x in adversarial.items()}
    for effect, share, found in (("displacement", "share", displacement), ("latent", "latent share", latent)):
        most = torch.stack(list(found.values())).amax(0)
        for name, values in found.items():
            figures[name][effect] = [_triple(column, "mean") for column in values.T]
            figures[name][share] = [_triple(column, "median") for column in (values / most).T]
    return figures


def _adversarial(ae: Autoencoder, images: Tensor, size: Measuring) -> dict[str, Tensor]:
    """Inputs x + d of every attack, `(images, budgets, *event)`."""
    radii = list(size.radii)
    found = {
        f"{title} {k}": spectral(ae, images, radii, metric, direction=k).adversarial
        for title, metric in METRICS.items()
        for k in range(1, size.directions + 1)
    }
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype).to(images.device)
    found[LATENT] = latent_damage(ae, images, radii, divergence="wasserstein", steps=size.steps).adversarial
    found[MAXIMUM] = maximum_damage(ae, images, radii, steps=size.steps).adversarial
    # starts of its own: without them it begins at the round trip's eigenvector, which is among those it is held against
    starts = torch.stack([noise, -noise])
    found[UNGUIDED] = maximum_damage(ae, images, radii, steps=size.steps, starts=starts).adversarial
    # pixels at an end of the bounds can go one way only, so that hardly anything of the budget is lost there
    inward = noise.abs() * torch.where(images < 0.5, 1.0, -1.0)
    unit = inward / _beside(inward.flatten(1).norm(dim=1), images)
    found[RANDOM] = torch.stack([(images + radius * unit).clamp(*ae.bounds) for radius in radii], 1)
    return found


def _latent(ae: Autoencoder, images: Tensor, adversarial: Tensor) -> Tensor:
    """How far the posterior moved, `(images, budgets)`, float64."""
    rows = torch.arange(len(images), device=images.device).repeat_interleave(adversarial.shape[1])
    with ae.at_rest():
        after, before = ae.posteriors(adversarial.flatten(0, 1)), ae.posteriors(images)
        return divergence_wasserstein(after, before[rows]).double().sqrt().view(adversarial.shape[:2])


def released(ae: Autoencoder, images: Tensor) -> dict[str, Any]:
    """Scores and errors after the authors' code: see `references` for what is known of it.

    Released figures may be of the spectrum of J or of J'J, of the encoder or of the round trip: all four are computed.

    Returns:
        For each convention `radius` and `entropy`: the largest singular value of J (or eigenvalue of J'J) and the entropy
        normalised by the maximum, means over images; and `errors[step][k]`, the mean squared error a pixel between x and
        the reconstruction of x + step * s_k * u_k, without bounds and of one sign.
    """
    spectra = {
        "encoder": geometry.encoder_spectrum(ae, images, "mean"),
        "round trip": geometry.round_trip_spectrum(ae, images, metric=RELEASED_METRIC),
    }
    scores = {}
    for part, spectrum in spectra.items():
        for kind, values in (("singular values", spectrum.eigenvalues.sqrt()), ("eigenvalues", spectrum.eigenvalues)):
            radius = geometry.scores.spectral_radius(values)
            scores[f"{part}, {kind}"] = {
                "radius": _triple(radius, "mean"), "median radius": _triple(radius, "median"),
                "entropy": _triple(geometry.scores.entropy_khan2022(values), "mean"),
            }  # fmt: skip
    return {"scores": scores, "errors": _released_errors(ae, images)}


def _released_errors(ae: Autoencoder, images: Tensor) -> list[list[Triple]]:
    spectrum = geometry.round_trip_spectrum(ae, images, RELEASED_DIRECTIONS, metric=RELEASED_METRIC, eigenvectors=True)
    assert spectrum.eigenvectors is not None
    along = spectrum.eigenvectors.unbind(1), spectrum.eigenvalues.sqrt().unbind(1)
    steps = [vector * _beside(length, images) for vector, length in zip(*along, strict=True)]

    def error(step: float, direction: Tensor) -> Triple:
        with ae.at_rest():
            decoded = ae.reconstructions((images + step * direction).to(images.dtype))
        return _triple((decoded - images).double().square().flatten(1).mean(1), "mean")

    return [[error(step, direction) for direction in steps] for step in RELEASED_STEPS]


def _beside(values: Tensor, images: Tensor) -> Tensor:
    """One value an image, in a shape that can be multiplied with them."""
    return values.view(-1, *[1] * (images.ndim - 1))


def _triple(values: Tensor, statistic: Any) -> Triple:
    """Over images."""
    found = estimate(values.detach().cpu().double().numpy(), statistic=statistic)
    return found.value, found.low, found.high
