"""Scores of spectra too large to be computed, each with an interval: by products with the Jacobian alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.geometry import scores
from vaeaudit.geometry.lanczos import Lanczos, Tridiagonal
from vaeaudit.geometry.leading import LeadingPairs, leading_eigenpairs
from vaeaudit.geometry.operators import (
    DECODER_METRICS,
    ROUND_TRIP_METRICS,
    MetricOperator,
    metric_operator,
    restricted_operator,
)
from vaeaudit.geometry.quadrature import Interval, SpectralMeasure, jackknifed, spectral_measure
from vaeaudit.geometry.spectra import placed


@dataclass(frozen=True, kw_only=True)
class StochasticScores:
    """Scores of a pullback metric at each point of a batch; meanings and directions as in `geometry.scores`.

    Attributes:
        trace: sum of eigenvalues.
        von_neumann_entropy: nats.
        effective_rank: its exponential.
        log_pseudo_determinant: over eigenvalues that stand clear of rounding.
        entropy_khan2022: normalised by the largest eigenvalue.
        leading: the eigenvalues that were found and taken as they are; None if none were asked for.
        measure: where the eigenvalues lie; `measure.density(edges)` counts them.
        metric: its name.
        products: with the Jacobian or its transpose that were taken.
    """

    trace: Interval
    von_neumann_entropy: Interval
    effective_rank: Interval
    log_pseudo_determinant: Interval
    entropy_khan2022: Interval
    leading: LeadingPairs | None
    measure: SpectralMeasure
    metric: str
    products: int


@dataclass(frozen=True, kw_only=True)
class ConditionNumber:
    """Condition number at each point of a batch, all `(batch,)`; lower is more robust.

    Attributes:
        value: sqrt(lambda_max / lambda_min), or a lower bound of it where it is not resolved.
        low: it is not below this.
        high: nor above this; infinite where the bottom of the spectrum is not resolved.
        resolved: whether the smallest eigenvalue was told from rounding and from its neighbours.
        products: with the Jacobian or its transpose that were taken.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    resolved: Tensor
    products: int


def stochastic_scores(
    ae: Autoencoder, points: Tensor, metric: str = "wasserstein", *,
    probes: int = 10, steps: int = 40, top: int = 10, leading_steps: int | None = None, seed: int = 0,
    memory: int | None = None,
) -> StochasticScores:  # fmt: skip
    """Scores of the whole spectrum of a metric by stochastic Lanczos quadrature.

    The leading eigenvalues are found first and taken as they are; random probes see the rest (Ubaru, Chen
    and Saad 2017). Intervals at 95 %: Student's over the probes, widened by what the last third of
    the steps still changed. In a `round_trip` with more than `operators.NORM_PROBES` latents the norms of the
    decoder's columns are estimates themselves; the intervals leave that out, which averages out over latents.

    Args:
        ae: the model.
        points: images `(batch, *event)`, or latents for a decoder's metric.
        metric: one of `geometry.METRICS`.
        probes: random vectors, at least 2.
        steps: of Lanczos for each, two products each.
        top: leading eigenvalues that are found first; 0 for none.
        leading_steps: of Lanczos for these; None for what `geometry.encoder_spectrum` would take.
        seed: of all random vectors.
        memory: bytes that may be kept between products; None for a share of what is found to be free.

    Raises:
        OptionError: unknown metric, or too few probes or steps.
    """
    if top < 0:
        raise OptionError(f"top expects 0 or more, got {top}")
    generator = torch.Generator().manual_seed(seed)
    with ae.at_rest():
        operator = metric_operator(ae, placed(ae, points), metric, memory, seed=seed)
        aside = leading_eigenpairs(operator, top, generator=generator, at_most=leading_steps) if top else None
        measure = spectral_measure(operator, probes=probes, steps=steps, generator=generator, aside=aside)
    entropy = _entropy(measure, operator.size)
    largest = torch.cat([measure.exact, measure.nodes.flatten(1)], 1).amax(1)
    return StochasticScores(
        trace=measure.interval_of(lambda x: x), von_neumann_entropy=entropy, effective_rank=entropy.mapped(torch.exp),
        log_pseudo_determinant=measure.interval_of(
            lambda x: torch.where(x > _beside(measure.noise, x), x.clamp_min(1e-300).log(), 0)
        ),
        entropy_khan2022=measure.interval_of(lambda x: scores.khan_term(x / _beside(largest, x))),
        leading=aside, measure=measure, metric=metric, products=operator.products,
    )  # fmt: skip


def _beside(figures: Tensor, x: Tensor) -> Tensor:
    """One figure a point, `(batch,)`, in the shape of `(batch, ...)`."""
    return figures.view(-1, *[1] * (x.ndim - 1))


def _entropy(measure: SpectralMeasure, size: int) -> Interval:
    """S = ln t - L / t with t = sum of x and L = sum of x ln x, two traces from the same probes."""
    fine, coarse = (
        torch.stack([trace(lambda x: x), trace(lambda x: torch.special.xlogy(x, x))], 2)
        for trace in (measure.trace_of, measure.coarse_trace_of)
    )

    def entropy(means: Tensor) -> Tensor:
        return means[..., 0].log() - means[..., 1] / means[..., 0]

    found = jackknifed(fine, entropy, drift=(entropy(fine.mean(1)) - entropy(coarse.mean(1))).abs())
    most = torch.tensor(float(size), dtype=torch.float64).log().to(found.value)
    return found.mapped(lambda x: torch.minimum(x.clamp_min(0), most))


def stochastic_condition_number(
    ae: Autoencoder, points: Tensor, metric: str = "mean", *,
    active: Tensor | None = None, steps: int = 100, seed: int = 0, memory: int | None = None,
) -> ConditionNumber:  # fmt: skip
    """Condition number of A, from the two ends of a Lanczos run, or a lower bound that says it is one.

    Ritz values lie inside the spectrum, so the ratio of the outermost two is a lower bound at any number of
    steps. It becomes the value where the smallest one's residual is a tenth of it or less, and it stands
    clear of rounding. A round trip has no more singular values than latents pass through it; the run stays in
    the space of those.

    Args:
        ae: the model.
        points: images `(batch, *event)`, or latents for a decoder's metric.
        metric: one of `geometry.METRICS`.
        active: which latent units count, boolean, `(units,)`, where `metric` is `mean` or of decoder or round trip
            (definitions D9; no sigma term enters then); None for all.
        steps: of Lanczos, two products each, four for a round trip.
        seed: of the start vector.
        memory: bytes that may be kept between products; None for a share of what is found to be free.

    Raises:
        OptionError: unknown metric, a metric that units cannot be left out of, or fewer than two active units.
    """
    generator = torch.Generator().manual_seed(seed)
    with ae.at_rest():
        points = placed(ae, points)
        units = points[0].numel() if metric in DECODER_METRICS else ae.examine(points[:1]).mean.numel()
        if active is None:
            operator = metric_operator(ae, points, metric, memory, seed=seed)
        else:
            active = _checked(active, units).to(points.device)
            operator = restricted_operator(ae, points, metric, active, memory)
            units = int(active.sum())
        space = _two_ends(operator, units if metric in ROUND_TRIP_METRICS else operator.size, steps, generator)
    values, vectors = space.decomposed()
    residual = space.beside[:, -1:] * vectors[:, -1].abs()
    noise = _noise(operator, values[:, -1], space)
    bottom, error = values[:, 0].clamp_min(0), residual[:, 0] + noise
    top, top_error = values[:, -1], residual[:, -1] + noise
    resolved = (error <= 0.1 * bottom) | ((residual[:, 0] <= noise) & (noise <= 0.5 * bottom))
    low = ((top - noise).clamp_min(0) / (bottom + noise)).sqrt()
    high = torch.where(resolved, ((top + top_error) / (bottom - error).clamp_min(1e-300)).sqrt(), torch.inf)
    value = torch.where(resolved, (top / bottom).sqrt(), low)
    return ConditionNumber(value=value, low=low, high=high, resolved=resolved, products=operator.products)


def _checked(active: Tensor, units: int) -> Tensor:
    active = active.flatten()
    if active.dtype != torch.bool or len(active) != units or int(active.sum()) < 2:
        raise OptionError(
            f"active expects a boolean for each of {units} latent units with at least two of them True, got "
            f"{tuple(active.shape)} of {active.dtype} with {int(active.sum())}"
        )
    return active


def _noise(operator: MetricOperator, largest: Tensor, space: Tridiagonal) -> Tensor:
    noise: Tensor = 4 * torch.finfo(operator.precision).eps * largest + 2 * space.noise
    return noise


def _two_ends(operator: MetricOperator, rank: int, steps: int, generator: torch.Generator) -> Tridiagonal:
    """A Lanczos run; where the rank is less than the size, in the range, and no longer than rounding lets it stay there."""
    device, deficient = operator.like.device, rank < operator.size
    by_rows = operator.rows <= operator.columns
    drawn = operator.size if not deficient else operator.columns if by_rows else operator.rows
    start = torch.randn(drawn, generator=generator, dtype=torch.float64).to(device).expand(len(operator.like), -1)
    if not deficient:
        return Lanczos(operator.gram, start).run(steps)
    start = operator.apply(start) if by_rows else operator.transpose(start)
    space = Lanczos(operator.gram, start).run(min(steps, rank))
    lost = (space.beside <= _noise(operator, space.diagonal.amax(1), space)[:, None]).any(0).nonzero()
    return space.leading(int(lost[0]) + 1) if len(lost) else space
