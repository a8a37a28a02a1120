"""Scores of spectra too large to be computed, each with an interval: by products with the Jacobian alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.geometry.lanczos import Lanczos
from vaeaudit.geometry.leading import leading_eigenpairs
from vaeaudit.geometry.operators import MetricOperator, metric_operator
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
        measure: where the eigenvalues lie; `measure.density(edges)` counts them.
        metric: its name.
        products: with the Jacobian or its transpose that were taken.
    """

    trace: Interval
    von_neumann_entropy: Interval
    effective_rank: Interval
    log_pseudo_determinant: Interval
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
    probes: int = 10, steps: int = 40, top: int = 10, seed: int = 0, memory: int | None = None,
) -> StochasticScores:  # fmt: skip
    """Scores of the whole spectrum of a metric by stochastic Lanczos quadrature.

    The leading eigenvalues are found first and taken as they are; random probes see the rest (Ubaru, Chen
    and Saad 2017). Intervals at 95 %: Student's over the probes, widened by what the last third of
    the steps still changed.

    Args:
        ae: the model.
        points: images `(batch, *event)`, or latents for a decoder's metric.
        metric: one of `geometry.METRICS`.
        probes: random vectors, at least 2.
        steps: of Lanczos for each, two products each.
        top: leading eigenvalues that are found first; 0 for none.
        seed: of all random vectors.
        memory: bytes that may be kept between products; None for a share of what is found to be free.

    Raises:
        OptionError: unknown metric, or too few probes or steps.
    """
    if top < 0:
        raise OptionError(f"top expects 0 or more, got {top}")
    generator = torch.Generator().manual_seed(seed)
    with ae.at_rest():
        operator = metric_operator(ae, placed(ae, points), metric, memory)
        aside = leading_eigenpairs(operator, top, generator=generator) if top else None
        measure = spectral_measure(operator, probes=probes, steps=steps, generator=generator, aside=aside)
    entropy = _entropy(measure, operator.size)
    floor = measure.noise[:, None, None]
    return StochasticScores(
        trace=measure.interval_of(lambda x: x), von_neumann_entropy=entropy, effective_rank=entropy.mapped(torch.exp),
        log_pseudo_determinant=measure.interval_of(
            lambda x: torch.where(x > floor.view(-1, *[1] * (x.ndim - 1)), x.clamp_min(1e-300).log(), 0)
        ),
        measure=measure, metric=metric, products=operator.products,
    )  # fmt: skip


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
    clear of rounding.

    Args:
        ae: the model.
        points: images `(batch, *event)`, or latents for a decoder's metric.
        metric: one of `geometry.METRICS`.
        active: which rows of A count, `(rows,)`: the active latent units for `mean` (definitions D9); None for all.
        steps: of Lanczos, two products each.
        seed: of the start vector.
        memory: bytes that may be kept between products; None for a share of what is found to be free.

    Raises:
        OptionError: unknown metric, or fewer than two active rows.
    """
    generator = torch.Generator().manual_seed(seed)
    with ae.at_rest():
        operator = _restricted(metric_operator(ae, placed(ae, points), metric, memory), active)
        start = torch.randn(operator.size, generator=generator, dtype=torch.float64).to(operator.like.device)
        space = Lanczos(operator.gram, start.expand(len(operator.like), -1)).run(steps)
    values, vectors = space.decomposed()
    residual = space.beside[:, -1:] * vectors[:, -1].abs()
    noise = 4 * torch.finfo(operator.precision).eps * values[:, -1] + 2 * space.noise
    bottom, error = values[:, 0].clamp_min(0), residual[:, 0] + noise
    top, top_error = values[:, -1], residual[:, -1] + noise
    resolved = (error <= 0.1 * bottom) | ((residual[:, 0] <= noise) & (noise <= 0.5 * bottom))
    low = ((top - noise).clamp_min(0) / (bottom + noise)).sqrt()
    high = torch.where(resolved, ((top + top_error) / (bottom - error).clamp_min(1e-300)).sqrt(), torch.inf)
    value = torch.where(resolved, (top / bottom).sqrt(), low)
    return ConditionNumber(value=value, low=low, high=high, resolved=resolved, products=operator.products)


def _restricted(operator: MetricOperator, active: Tensor | None) -> MetricOperator:
    if active is None:
        return operator
    active = active.to(operator.like.device).flatten()
    if active.dtype != torch.bool or len(active) != operator.rows or int(active.sum()) < 2:
        raise OptionError(
            f"active expects a boolean for each of {operator.rows} rows with at least two of them True, got "
            f"{tuple(active.shape)} of {active.dtype} with {int(active.sum())}"
        )

    def transpose(vectors: Tensor) -> Tensor:
        whole = vectors.new_zeros(len(vectors), operator.rows)
        whole[:, active] = vectors
        return operator.transpose(whole)

    return MetricOperator(
        rows=int(active.sum()), columns=operator.columns, apply=lambda v: operator.apply(v)[:, active],
        transpose=transpose, like=operator.like, precision=operator.precision, parts=operator.parts,
    )  # fmt: skip
