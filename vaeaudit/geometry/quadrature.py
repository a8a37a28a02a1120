"""Functions of a whole spectrum by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017), with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from scipy import special
from torch import Tensor

from vaeaudit.errors import OptionError
from vaeaudit.geometry.lanczos import Lanczos, Tridiagonal, without
from vaeaudit.geometry.leading import LeadingPairs, deflated
from vaeaudit.geometry.operators import MetricOperator

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate at each point of a batch, and where its true value lies with 95 % confidence, all `(batch,)`."""

    value: Tensor
    low: Tensor
    high: Tensor

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Interval:
        """Of an increasing function of the quantity."""
        return Interval(value=function(self.value), low=function(self.low), high=function(self.high))


@dataclass(frozen=True, kw_only=True)
class SpectralMeasure:
    """Where the eigenvalues of a metric lie, seen by random probes.

    A function's trace is its sum over the `exact` eigenvalues and, over the rest, what each probe says:
    the weighted sum over its nodes.

    Attributes:
        exact: eigenvalues that were found and set aside, `(batch, top)`.
        nodes: Ritz values, `(batch, probes, steps)`.
        weights: how many eigenvalues each stands for; a probe's sum to the dimension less `top`.
        coarse_nodes: the same after two thirds of the steps: what has changed since bounds what is to come.
        coarse_weights: theirs.
        noise: eigenvalues below this cannot be told from zero, `(batch,)`.
    """

    exact: Tensor
    nodes: Tensor
    weights: Tensor
    coarse_nodes: Tensor
    coarse_weights: Tensor
    noise: Tensor

    def trace_of(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Each probe's sum of a function over all eigenvalues, `(batch, probes)`."""
        return (self.weights * function(self.nodes)).sum(2) + function(self.exact).sum(1, keepdim=True)

    def coarse_trace_of(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The same from fewer steps."""
        return (self.coarse_weights * function(self.coarse_nodes)).sum(2) + function(self.exact).sum(1, keepdim=True)

    def interval_of(self, function: Callable[[Tensor], Tensor]) -> Interval:
        """Sum of a function over all eigenvalues."""
        samples = self.trace_of(function)
        drift = (samples - self.coarse_trace_of(function)).mean(1).abs()
        return _student(samples, drift)

    def density(self, edges: Tensor) -> Interval:
        """How many eigenvalues lie between consecutive edges, each field `(batch, bins)`.

        Each node stands for a smear of eigenvalues, so a bin narrower than the distance of nodes
        near it is not resolved.
        """
        bins = [
            self.interval_of(lambda x, a=low, b=high: ((x >= a) & (x < b)).double())  # type: ignore[misc]
            for low, high in pairwise(edges.tolist())
        ]
        value, low, high = (
            torch.stack([getattr(one, name) for one in bins], 1) for name in ("value", "low", "high")
        )  # fmt: skip
        return Interval(value=value, low=low.clamp_min(0), high=high)


def _student(samples: Tensor, drift: Tensor) -> Interval:
    count = samples.shape[1]
    half = float(special.stdtrit(count - 1, 0.5 + LEVEL / 2)) * samples.std(1) / count**0.5 + drift
    value = samples.mean(1)
    return Interval(value=value, low=value - half, high=value + half)


def spectral_measure(
    operator: MetricOperator, *, probes: int, steps: int, generator: torch.Generator, aside: LeadingPairs | None = None
) -> SpectralMeasure:
    """Send random probes through Lanczos.

    Args:
        operator: the metric.
        probes: how many, at least 2; the interval narrows with their square root.
        steps: of Lanczos for each, two products each.
        generator: of the probes, on the CPU.
        aside: eigenpairs to be taken as they are; without the largest, what is left varies less from
            probe to probe (the idea of Hutch++, Meyer et al. 2021).

    Raises:
        OptionError: too few probes or steps.
    """
    if probes < 2 or steps < 3:
        raise OptionError(f"a quadrature expects at least 2 probes and 3 steps, got {probes} and {steps}")
    spaces = [_probed(operator, steps, generator, aside) for _ in range(probes)]
    taken = aside.values.shape[1] if aside is not None else 0
    free = operator.size - taken
    fine = [_rule(space, free) for space in spaces]
    coarse = [_rule(space.leading(-(-2 * space.diagonal.shape[1] // 3)), free) for space in spaces]
    exact = aside.values if aside is not None else operator.like
    seen = torch.stack([space.noise for space in spaces]).amax(0)
    largest = torch.cat([exact, *(nodes for nodes, _ in fine)], 1).amax(1)
    floor = 4 * torch.finfo(operator.precision).eps * largest
    return SpectralMeasure(
        exact=exact, noise=floor + 2 * seen,
        nodes=torch.stack([nodes for nodes, _ in fine], 1), weights=torch.stack([w for _, w in fine], 1),
        coarse_nodes=torch.stack([nodes for nodes, _ in coarse], 1),
        coarse_weights=torch.stack([w for _, w in coarse], 1),
    )  # fmt: skip


def _probed(
    operator: MetricOperator, steps: int, generator: torch.Generator, aside: LeadingPairs | None
) -> Tridiagonal:
    row = torch.randn(operator.size, generator=generator, dtype=torch.float64).to(operator.like.device)
    start = row.expand(len(operator.like), -1)
    if aside is None:
        return Lanczos(operator.gram, start).run(steps)
    return Lanczos(deflated(operator.gram, aside.vectors), without(start, aside.vectors)).run(steps)


def _rule(space: Tridiagonal, free: int) -> tuple[Tensor, Tensor]:
    """Gauss quadrature's nodes and weights (Golub and Welsch 1969); directions that were not reached weigh nothing."""
    values, vectors = space.decomposed()
    return values.clamp_min(0), free * vectors[:, 0].square()


def jackknifed(samples: Tensor, function: Callable[[Tensor], Tensor], *, drift: Tensor) -> Interval:
    """Interval of a smooth function of means over probes.

    Args:
        samples: of several traces from each probe, `(batch, probes, traces)`.
        function: from their means `(..., traces)` to a value.
        drift: by which to widen the interval, `(batch,)`.
    """
    count = samples.shape[1]
    without = (samples.sum(1, keepdim=True) - samples) / (count - 1)
    whole = function(samples.mean(1))
    return _student(count * whole[:, None] - (count - 1) * function(without), drift)
