"""A pullback metric at images as an attack needs it: its leading eigenpair, and lengths of given steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vaeaudit import geometry
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.geometry.leading import leading_eigenpairs
from vaeaudit.geometry.operators import MetricOperator, metric_operator
from vaeaudit.geometry.spectra import are_held

SPECTRAL_METRICS = ("wasserstein", "fisher", "mean", "round_trip", "round_trip_mean")
_CLIMBS, CLIMBS_BY_PRODUCTS = 30, 5
_AS_MANY = 10
"""Leading eigenpairs that cost as many products as one and the climbs that follow it."""


@dataclass(frozen=True, kw_only=True)
class LocalMetric:
    """G = A' A at each image.

    Attributes:
        eigenvalue: the largest, or the one asked for, `(images,)`, float64.
        vector: its eigenvector of unit length, `(images, n)`, float64.
        apply: A v for several v an image, `(images, m, n)` to `(images, m, rows)`.
        transpose: A' u, `(images, m, rows)` to `(images, m, n)`.
        climbs: most iterations of a climb that products are worth.
    """

    eigenvalue: Tensor
    vector: Tensor
    apply: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor]
    climbs: int

    def pull(self, steps: Tensor) -> Tensor:
        """G d for several d an image, `(images, m, n)`, in the precision of the steps."""
        return self.transpose(self.apply(steps)).to(steps)


def checked_metric(metric: str) -> str:
    """The name of a metric of inputs.

    Raises:
        OptionError: unknown metric.
    """
    if metric not in SPECTRAL_METRICS:
        raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(SPECTRAL_METRICS)}")
    return metric


def leading_directions(ae: Autoencoder, images: Tensor, metric: str) -> Tensor:
    """Dominant eigenvector of a metric at each image, `(images, n)`.

    Raises:
        OptionError: unknown metric.
    """
    spectrum = _leading(ae, images, checked_metric(metric))
    assert spectrum.eigenvectors is not None
    return spectrum.eigenvectors[:, 0].flatten(1).to(images)


def local_metric(ae: Autoencoder, images: Tensor, metric: str, direction: int = 1) -> LocalMetric:
    """A metric at images, from its factor where that can be held and is worth it, and from products with it otherwise.

    Args:
        ae: the model, at rest.
        images: `(images, *event)`, few enough that their Jacobians can be held together.
        metric: one of `SPECTRAL_METRICS`.
        direction: which eigenpair, by descending eigenvalues; climbs lead to the first, so others have none.

    Raises:
        OptionError: the metric has fewer.
    """
    if not are_held(ae, images, metric, max(_AS_MANY, direction)):
        return _by_products(ae, images, metric, direction)
    factor = _factor(ae, images, metric)
    _check_direction(direction, min(factor.shape[1:]), metric)
    spectrum = geometry.spectrum_of(
        factor, metric, (factor.shape[2],), precision=ae.dtype, top=direction, eigenvectors=True
    )
    assert spectrum.eigenvectors is not None
    return LocalMetric(
        eigenvalue=spectrum.eigenvalues[:, -1], vector=spectrum.eigenvectors[:, -1],
        climbs=_CLIMBS if direction == 1 else 0,
        apply=lambda v: v.double() @ factor.mT, transpose=lambda u: u.double() @ factor,
    )  # fmt: skip


def _factor(ae: Autoencoder, images: Tensor, metric: str) -> Tensor:
    """A, `(images, rows, n)`."""
    encoder = geometry.encoder_jacobians(ae, images, spread=metric not in ("mean", "round_trip_mean"))
    if metric not in geometry.ROUND_TRIP_METRICS:
        return geometry.encoder_factor(encoder, metric)
    means = ae.posteriors(images).mean
    return geometry.round_trip_factor(encoder, geometry.decoder_jacobian(ae, means, spread=metric == "round_trip"))


def _check_direction(direction: int, rank: int, metric: str) -> None:
    if direction > rank:
        raise OptionError(f"direction expects 1 to {rank}, the {metric} metric's rank here, got {direction}")


def _by_products(ae: Autoencoder, images: Tensor, metric: str, direction: int) -> LocalMetric:
    operator = metric_operator(ae, images, metric)
    _check_direction(direction, operator.size, metric)
    pairs = leading_eigenpairs(operator, direction, generator=torch.Generator().manual_seed(0))
    return LocalMetric(
        eigenvalue=pairs.values[:, -1], vector=operator.lifted(pairs.vectors[:, -1]),
        climbs=CLIMBS_BY_PRODUCTS if direction == 1 else 0,
        apply=partial(_each, operator, "apply"), transpose=partial(_each, operator, "transpose"),
    )  # fmt: skip


def _each(operator: MetricOperator, way: str, vectors: Tensor) -> Tensor:
    product = operator.apply if way == "apply" else operator.transpose
    return torch.stack([product(one) for one in vectors.double().unbind(1)], 1)


def _leading(ae: Autoencoder, images: Tensor, metric: str) -> geometry.Spectrum:
    if metric in geometry.ROUND_TRIP_METRICS:
        return geometry.round_trip_spectrum(ae, images, top=1, metric=metric, eigenvectors=True)
    return geometry.encoder_spectrum(ae, images, metric, top=1, eigenvectors=True)
