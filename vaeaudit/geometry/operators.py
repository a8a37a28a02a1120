"""Pullback metrics as operators: G = A' A with A and A' known by their products alone (definitions D6, rows 21 to 23)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.geometry.jacobians import decoder_heads, encoder_heads
from vaeaudit.geometry.products import JacobianProducts

ENCODER_METRICS = ("wasserstein", "mean", "fisher")
DECODER_METRICS = ("decoder", "decoder_mean")
ROUND_TRIP_METRICS = ("round_trip", "round_trip_mean")
METRICS = (*ENCODER_METRICS, *DECODER_METRICS, *ROUND_TRIP_METRICS)


@dataclass(frozen=True, kw_only=True)
class MetricOperator:
    """The factor A of a metric at each point of a batch.

    Attributes:
        rows: of A.
        columns: of A, the dimension of the space that the metric measures.
        apply: A v, `(batch, columns)` to `(batch, rows)`, float64 in and out.
        transpose: A' u, `(batch, rows)` to `(batch, columns)`, float64 in and out.
        like: an empty float64 tensor `(batch, 0)` on the device.
        precision: that the products are computed in.
        parts: whose products are counted.
    """

    rows: int
    columns: int
    apply: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor]
    like: Tensor
    precision: torch.dtype
    parts: tuple[JacobianProducts, ...] = field(default=(), repr=False)

    @property
    def size(self) -> int:
        """Dimension of the smaller side."""
        return min(self.rows, self.columns)

    @property
    def products(self) -> int:
        """Products with a Jacobian or its transpose so far, each for the whole batch."""
        return sum(part.count for part in self.parts)

    def gram(self, vectors: Tensor) -> Tensor:
        """A A' or A' A, whichever is smaller, times `(batch, size)`."""
        if self.rows <= self.columns:
            return self.apply(self.transpose(vectors))
        return self.transpose(self.apply(vectors))

    def lifted(self, vectors: Tensor) -> Tensor:
        """Unit eigenvectors of A' A, `(batch, columns)`, from those of the smaller side."""
        if self.rows > self.columns:
            return vectors
        lifted = self.transpose(vectors)
        unit: Tensor = lifted / lifted.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        return unit


def metric_operator(ae: Autoencoder, points: Tensor, metric: str, memory: int | None = None) -> MetricOperator:
    """A metric at points `(batch, *event)`: images, or latents for a decoder's metric; used while the model is at rest.

    Raises:
        OptionError: unknown metric, or `fisher` for a deterministic code.
        ModelError: `round_trip` of a model with so many latents that its sigma term cannot be had by products.
    """
    if metric in DECODER_METRICS:
        heads = decoder_heads(ae, spread=metric == "decoder")
        return _scaled(JacobianProducts(heads, points, memory), None, points, ae.figures_dtype)
    if metric == "round_trip_mean":
        return _round_trip(ae, points, memory)
    if metric == "round_trip":
        return _stochastic_round_trip(ae, points, memory)
    if metric not in ENCODER_METRICS:
        raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    return _encoder(ae, points, metric, memory)


def _encoder(ae: Autoencoder, images: Tensor, metric: str, memory: int | None) -> MetricOperator:
    with torch.no_grad():
        posterior = ae.encode(images[:1])
    deterministic = posterior.log_variance is None
    if deterministic and metric == "fisher":
        raise OptionError("the fisher metric needs posterior variances, and this encoder is deterministic; use 'mean'")
    if deterministic or metric == "mean":
        return _scaled(
            JacobianProducts(encoder_heads(ae, spread=False), images, memory), None, images, ae.figures_dtype
        )
    products = JacobianProducts(encoder_heads(ae), images, memory)
    std = products.outputs.double().chunk(2, 1)[1].exp()
    weights = (torch.ones_like(std), std) if metric == "wasserstein" else (1 / std, torch.full_like(std, math.sqrt(2)))
    return _scaled(products, torch.cat(weights, 1), images, ae.figures_dtype)


def _scaled(
    products: JacobianProducts, weights: Tensor | None, points: Tensor, precision: torch.dtype
) -> MetricOperator:
    """diag(weights) J."""
    scale = 1.0 if weights is None else weights
    return MetricOperator(
        rows=products.rows, columns=products.columns, precision=precision, parts=(products,),
        apply=lambda v: scale * products.push(v).double(), transpose=lambda u: products.pull(scale * u).double(),
        like=points.new_empty(len(points), 0, dtype=torch.float64),
    )  # fmt: skip


def _round_trip(ae: Autoencoder, images: Tensor, memory: int | None) -> MetricOperator:
    encoder = JacobianProducts(encoder_heads(ae, spread=False), images, memory)
    with torch.no_grad():
        shape = ae.encode(images[:1]).mean.shape[1:]
    latents = encoder.outputs.unflatten(1, shape)
    decoder = JacobianProducts(decoder_heads(ae, spread=False), latents, memory)
    return MetricOperator(
        rows=decoder.rows, columns=encoder.columns, precision=ae.figures_dtype, parts=(encoder, decoder),
        apply=lambda v: decoder.push(encoder.push(v)).double(),
        transpose=lambda u: encoder.pull(decoder.pull(u)).double(),
        like=images.new_empty(len(images), 0, dtype=torch.float64),
    )  # fmt: skip


def _stochastic_round_trip(ae: Autoencoder, images: Tensor, memory: int | None) -> MetricOperator:
    with torch.no_grad():
        posterior, (_, spread) = ae.encode(images[:1]), ae.decode_with_spread(ae.encode(images[:1]).mean)
    if posterior.log_variance is not None or spread is not None:
        raise ModelError(
            f"the round trip's sigma term needs the norm of every column of the decoder's Jacobian, one product for each "
            f"of {posterior.mean[0].numel()} latents; at this size use metric='round_trip_mean', its mean term"
        )
    return _round_trip(ae, images, memory)
