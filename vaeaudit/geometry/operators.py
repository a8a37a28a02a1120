"""Pullback metrics as operators: G = A' A with A and A' known by their products alone (definitions D6, rows 21 to 23)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.geometry.jacobians import decoder_heads, encoder_heads
from vaeaudit.geometry.products import JacobianProducts

ENCODER_METRICS = ("wasserstein", "mean", "fisher")
DECODER_METRICS = ("decoder", "decoder_mean")
ROUND_TRIP_METRICS = ("round_trip", "round_trip_mean")
METRICS = (*ENCODER_METRICS, *DECODER_METRICS, *ROUND_TRIP_METRICS)
NORM_PROBES = 64
"""Random outputs that the norms of a decoder Jacobian's columns are estimated from, where it has more columns."""


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
        doubt: standard error of v' G v for unit vectors v, `(batch, columns)` to `(batch,)`, where G itself is
            an estimate; None where it is not.
    """

    rows: int
    columns: int
    apply: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor]
    like: Tensor
    precision: torch.dtype
    parts: tuple[JacobianProducts, ...] = field(default=(), repr=False)
    doubt: Callable[[Tensor], Tensor] | None = None

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


def check_metric(metric: str, known: Sequence[str], *, deterministic: bool = False) -> None:
    """Refuse a metric that there is not.

    Args:
        metric: its name.
        known: those that can be asked for.
        deterministic: whether the encoder returns no variances, which `fisher` needs.

    Raises:
        OptionError: it is none of them, or `fisher` of a deterministic code.
    """
    if metric not in known:
        raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(known)}")
    if metric == "fisher" and deterministic:
        raise OptionError("the fisher metric needs posterior variances, and this encoder is deterministic; use 'mean'")


def metric_operator(
    ae: Autoencoder, points: Tensor, metric: str, memory: int | None = None, *, seed: int = 0
) -> MetricOperator:
    """A metric at points `(batch, *event)`: images, or latents for a decoder's metric; used while the model is at rest.

    Args:
        ae: the model.
        points: where.
        metric: one of `METRICS`.
        memory: bytes that may be kept between products; None for a share of what is found to be free.
        seed: of the norms in the sigma term of `round_trip`, where they are estimated.

    Raises:
        OptionError: unknown metric, or `fisher` for a deterministic code.
    """
    check_metric(metric, METRICS)
    if metric in DECODER_METRICS:
        heads = decoder_heads(ae, spread=metric == "decoder")
        return _scaled(JacobianProducts(heads, points, memory), None, points, ae.figures_dtype)
    if metric == "round_trip_mean":
        return _round_trip(ae, points, memory, spread=False)
    if metric == "round_trip":
        return _stochastic_round_trip(ae, points, memory, seed)
    return _encoder(ae, points, metric, memory)


def _encoder(ae: Autoencoder, images: Tensor, metric: str, memory: int | None) -> MetricOperator:
    with torch.no_grad():
        posterior = ae.encode(images[:1])
    deterministic = posterior.log_variance is None
    check_metric(metric, ENCODER_METRICS, deterministic=deterministic)
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


def restricted_operator(
    ae: Autoencoder, points: Tensor, metric: str, active: Tensor, memory: int | None = None
) -> MetricOperator:
    """A metric without its sigma term, of the active latent units alone (definitions D9).

    Args:
        ae: the model.
        points: where, as for `metric_operator`.
        metric: `mean` keeps their rows of J_mu, a decoder's metric their columns of J_g, and `round_trip` and
            `round_trip_mean` what passes through them.
        active: which units count, boolean, `(units,)`.
        memory: see `metric_operator`.

    Raises:
        OptionError: another metric.
    """
    if metric in ROUND_TRIP_METRICS:
        return _round_trip(ae, points, memory, spread=metric == "round_trip", active=active)
    if metric not in ("mean", *DECODER_METRICS):
        raise OptionError(f"units can be left out of mean, decoder and round trip metrics, not of {metric!r}")
    whole = metric_operator(ae, points, metric, memory)

    def scattered(vectors: Tensor) -> Tensor:
        wide = vectors.new_zeros(len(vectors), len(active))
        wide[:, active] = vectors
        return wide

    if metric == "mean":
        return replace(
            whole, rows=int(active.sum()), apply=lambda v: whole.apply(v)[:, active],
            transpose=lambda u: whole.transpose(scattered(u)),
        )  # fmt: skip
    return replace(
        whole, columns=int(active.sum()), apply=lambda v: whole.apply(scattered(v)),
        transpose=lambda u: whole.transpose(u)[:, active],
    )  # fmt: skip


def _round_trip(
    ae: Autoencoder, images: Tensor, memory: int | None, *, spread: bool, active: Tensor | None = None
) -> MetricOperator:
    """J_g J_mu, through the active units only."""
    encoder = JacobianProducts(encoder_heads(ae, spread=False), images, memory)
    decoder = _decoder_at(ae, images, encoder.outputs, memory, spread=spread)
    passed = 1.0 if active is None else active.to(encoder.outputs)
    return MetricOperator(
        rows=decoder.rows, columns=encoder.columns, precision=ae.figures_dtype, parts=(encoder, decoder),
        apply=lambda v: decoder.push(passed * encoder.push(v)).double(),
        transpose=lambda u: encoder.pull(passed * decoder.pull(u)).double(),
        like=images.new_empty(len(images), 0, dtype=torch.float64),
    )  # fmt: skip


def _decoder_at(
    ae: Autoencoder, images: Tensor, means: Tensor, memory: int | None, *, spread: bool
) -> JacobianProducts:
    with torch.no_grad():
        shape = ae.encode(images[:1]).mean.shape[1:]
    return JacobianProducts(decoder_heads(ae, spread=spread), means.unflatten(1, shape), memory)


def _stochastic_round_trip(ae: Autoencoder, images: Tensor, memory: int | None, seed: int) -> MetricOperator:
    """J_g J_mu above diag(|J_g e_i|) J_sigma: only the diagonal of J_g' J_g enters the sigma term (row 23)."""
    with torch.no_grad():
        deterministic = ae.encode(images[:1]).log_variance is None
    if deterministic:
        return _round_trip(ae, images, memory, spread=True)
    encoder = JacobianProducts(encoder_heads(ae), images, memory)
    means, log_std = encoder.outputs.chunk(2, 1)
    decoder = _decoder_at(ae, images, means, memory, spread=True)
    generator = torch.Generator().manual_seed(seed)
    squares, known = _column_squares(decoder, generator)
    scale = squares.sqrt() * log_std.double().exp()

    def apply(vectors: Tensor) -> Tensor:
        mean, log_spread = encoder.push(vectors).chunk(2, 1)
        return torch.cat([decoder.push(mean).double(), scale * log_spread.double()], 1)

    def transpose(vectors: Tensor) -> Tensor:
        carried, spread = vectors.split([decoder.rows, means.shape[1]], 1)
        return encoder.pull(torch.cat([decoder.pull(carried).double(), scale * spread], 1)).double()

    def doubt(vectors: Tensor) -> Tensor:
        shares = (scale * encoder.push(vectors).chunk(2, 1)[1].double()).square()
        error: Tensor = math.sqrt(2 / NORM_PROBES) * torch.linalg.vector_norm(shares, dim=1)
        return error

    return MetricOperator(
        rows=decoder.rows + means.shape[1], columns=encoder.columns, precision=ae.figures_dtype,
        parts=(encoder, decoder), apply=apply, transpose=transpose, doubt=None if known else doubt,
        like=images.new_empty(len(images), 0, dtype=torch.float64),
    )  # fmt: skip


def _column_squares(decoder: JacobianProducts, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Squared norms of the Jacobian's columns, `(batch, columns)`, float64, and whether they are exact.

    The mean of (J' u)^2 over random signs u is the diagonal of J' J (Bekas, Kokiopoulou and Saad 2007), each
    entry with a relative standard error of at most sqrt(2 / probes).
    """
    like = decoder.outputs
    if decoder.columns <= NORM_PROBES:
        units = torch.eye(decoder.columns, dtype=like.dtype, device=like.device)
        norms = [decoder.push(unit.expand(len(like), -1)).double().square().sum(1) for unit in units]
        return torch.stack(norms, 1), True
    total = like.new_zeros(len(like), decoder.columns, dtype=torch.float64)
    for _ in range(NORM_PROBES):
        signs = 2.0 * torch.randint(2, (decoder.rows,), generator=generator) - 1
        total += decoder.pull(signs.to(like).expand(len(like), -1)).double().square()
    squares: Tensor = total / NORM_PROBES
    return squares, False
