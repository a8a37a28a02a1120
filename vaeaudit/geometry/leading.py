"""Leading eigenpairs of a metric by products alone, with an error for each.

Lanczos with full reorthogonalisation in float64, over all points of the batch at once. Products for ten
eigenvalues of one image to a residual of 1e-4, convolutional encoder of 1152 heads: 192 here, a second
start that looks for further copies included; scipy's `svds` 177 (PROPACK) and 208 (ARPACK), `eigsh` 190,
`lobpcg` 444, all with the same values. They take one image at a time, on the CPU, and say nothing of
copies. `torch.lobpcg` and `torch.svd_lowrank` take tensors, not products; linear_operator's Lanczos has
no test of convergence; curvlinops hands its operators to scipy; matfree is JAX. And the same
iteration serves the stochastic quadrature, which scipy does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaeaudit.geometry.lanczos import Lanczos, Tridiagonal, without
from vaeaudit.geometry.operators import MetricOperator

TOLERANCE = 1e-4
"""Residual to be reached, relative to each eigenvalue."""
CONFIRMING_STEPS = 8
_EVERY = 4
_ROUNDING = 4


@dataclass(frozen=True, kw_only=True)
class LeadingPairs:
    """Largest eigenvalues and eigenvectors on the smaller side.

    Attributes:
        values: descending, `(batch, top)`.
        vectors: of unit length, `(batch, top, size)`.
        error: an eigenvalue lies within this distance of each value, `(batch, top)`: the norm of the
            residual and what the products' rounding was seen to be.
        converged: whether every residual is within the tolerance, `(batch,)`.
    """

    values: Tensor
    vectors: Tensor
    error: Tensor
    converged: Tensor

    def merged(self, other: LeadingPairs, top: int) -> LeadingPairs:
        """The `top` largest of both."""
        values, order = torch.cat([self.values, other.values], 1).sort(1, descending=True)
        order = order[:, :top]
        vectors = torch.cat([self.vectors, other.vectors], 1)
        return LeadingPairs(
            values=values[:, :top], error=torch.cat([self.error, other.error], 1).gather(1, order),
            vectors=vectors.gather(1, order[..., None].expand(-1, -1, vectors.shape[2])),
            converged=self.converged & other.converged,
        )  # fmt: skip


def leading_eigenpairs(
    operator: MetricOperator,
    top: int,
    *,
    generator: torch.Generator,
    at_most: int | None = None,
    confirm: int = CONFIRMING_STEPS,
) -> LeadingPairs:
    """The `top` largest eigenvalues of A A' or A' A, whichever is smaller.

    One start vector sees one copy of a multiple eigenvalue. So a second start, kept orthogonal to
    what was found, looks for others that are as large, until none turns up.

    Args:
        operator: the metric.
        top: how many.
        generator: of the start vectors, on the CPU.
        at_most: steps of each start, two products each; None for `most_steps(top)`.
        confirm: steps of the starts that look for further copies; 0 for none.
    """
    top = min(top, operator.size)
    most = at_most or most_steps(top)
    draw = _drawer(operator, generator)
    found = _from_one_start(operator.gram, draw, top, (2 * top, most), operator.precision)
    for _ in range(top if confirm and operator.size > top and bool(found.converged.all()) else 0):
        away = deflated(operator.gram, found.vectors)
        bar = found.values[:, -1:] * (1 + TOLERANCE)
        more = _from_one_start(away, draw, 1, (confirm, most), operator.precision, bar)
        if bool((more.values <= bar).all()):
            break
        # what the deflated operator hides of the residual: its share of those of the deflated vectors
        hidden = found.error.norm(dim=1, keepdim=True)
        found = found.merged(replace(more, error=more.error + hidden), top)
    return found if operator.doubt is None else _doubted(found, operator, operator.doubt)


def _doubted(found: LeadingPairs, operator: MetricOperator, doubt: Callable[[Tensor], Tensor]) -> LeadingPairs:
    """With two standard errors of what is estimated in the operator itself, to first order."""
    vectors = [operator.lifted(one) for one in found.vectors.unbind(1)]
    return replace(found, error=found.error + 2 * torch.stack([doubt(one) for one in vectors], 1))


def most_steps(top: int) -> int:
    """Lanczos steps after which `top` eigenvalues that have not converged are reported as they are."""
    return 40 + 10 * top


def _drawer(operator: MetricOperator, generator: torch.Generator) -> Callable[[], Tensor]:
    batch = len(operator.like)

    def draw() -> Tensor:
        # one row for all points: a point's figures do not depend on its company
        row = torch.randn(operator.size, generator=generator, dtype=torch.float64)
        return row.to(operator.like.device).expand(batch, -1)

    return draw


def deflated(gram: Callable[[Tensor], Tensor], found: Tensor) -> Callable[[Tensor], Tensor]:
    """The operator on what is perpendicular to eigenvectors that were found, `(batch, count, d)`."""
    return lambda x: without(gram(without(x, found)), found)


def _from_one_start(
    gram: Callable[[Tensor], Tensor], draw: Callable[[], Tensor], top: int, steps: tuple[int, int],
    precision: torch.dtype, bar: Tensor | None = None,
) -> LeadingPairs:  # fmt: skip
    """Until every point has converged, or after the fewest steps shows nothing above the bar."""
    fewest, most = steps
    iteration = Lanczos(gram, draw(), draw)
    count = min(fewest, most)
    while True:
        space = iteration.run(count)
        pairs = _ritz(space, top, precision)
        nothing = bar is not None and bool((pairs.values[:, :1] <= bar).all())
        if nothing or bool(pairs.converged.all()) or space.basis.shape[1] < count or count >= most:
            return pairs
        count = min(most, count + _EVERY)


def _ritz(space: Tridiagonal, top: int, precision: torch.dtype) -> LeadingPairs:
    values, vectors = space.decomposed()
    values, vectors = values.flip(1)[:, :top], vectors.flip(2)[..., :top]
    residual = space.beside[:, -1:] * vectors[:, -1].abs()
    # rounding that is the same in every product shows in no residual; the sums over the space are float64
    share = _ROUNDING * torch.finfo(precision).eps + 2 * space.basis.shape[2] * torch.finfo(torch.float64).eps
    rounding = share * values[:, :1] + 2 * space.noise[:, None]
    return LeadingPairs(
        values=values.clamp_min(0), vectors=vectors.mT @ space.basis, error=residual + rounding,
        converged=(residual <= torch.maximum(TOLERANCE * values, rounding)).all(1),
    )  # fmt: skip
