"""Looks for the best bounds: over all inputs, and in balls around each original."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaeaudit.certificates.convex import Divergence, Nearest
from vaeaudit.certificates.ellipsoids import Spread
from vaeaudit.certificates.heads import Heads
from vaeaudit.certificates.margins import largest_variance, robust_anywhere, robust_nearby
from vaeaudit.certificates.norms import MARGIN, largest_eigenvalue
from vaeaudit.certificates.prepared import Prepared, part_of
from vaeaudit.certificates.propagation import Propagation
from vaeaudit.certificates.refusal import NotCertifiedError


@dataclass(frozen=True, kw_only=True)
class Ball:
    """How the heads move within a radius of each original.

    Attributes:
        radius: `(pairs,)`; infinite for what holds everywhere.
        spreads: of mean and second head together, one a pair.
        damage: bound of L2(g(mu(x + d)) - g(mu(x))) / L2(d), `(pairs,)`; infinite where none was sought or found.
    """

    radius: Tensor
    spreads: list[Spread]
    damage: Tensor


@dataclass(kw_only=True)
class Surroundings:
    """What is known around each original, one ball after another.

    Attributes:
        model: the model, with an encoder that is certified.
        originals: x, `(pairs, *event)`, float64.
        balls: those looked at so far.
    """

    model: Prepared
    originals: Tensor
    balls: list[Ball] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.centre = self.encoder.at(self.originals)

    @property
    def encoder(self) -> Heads:
        """The encoder."""
        assert self.model.encoder is not None
        return self.model.encoder

    @property
    def units(self) -> int:
        """Length of the mean."""
        return math.prod(self.encoder.mean.event)

    @property
    def latents(self) -> Tensor:
        """The means at the originals, `(pairs, *latent)`."""
        return self.centre[:, : self.units].reshape(-1, *self.encoder.mean.event)

    @functools.cached_property
    def taken(self) -> dict[str, Tensor]:
        """What the encoder's steps take at the originals."""
        return self.encoder.network.arguments(self.originals)

    @functools.cached_property
    def decoded(self) -> dict[str, Tensor]:
        """What the decoder's steps take at the latents."""
        assert self.model.decoder is not None
        return self.model.decoder.network.arguments(self.latents)

    def decoder_constant(self, start: Spread, row: int, radius: float) -> float:
        """Lipschitz constant of the decoder around the latents of a row, which move as `start` says; or infinity."""
        assert self.model.decoder is not None
        around = _around(self.model.through_decoder, self.decoded, row, radius, start=start)
        try:
            return around.constant(self.model.decoder.mean)
        except NotCertifiedError:
            return math.inf

    def everywhere(self) -> Ball:
        """What holds for all inputs.

        Raises:
            NotCertifiedError: no finite bound.
        """
        spread, pairs = self.model.everywhere, len(self.originals)
        constant = math.inf if self.model.decoder is None else self.model.damage_everywhere
        ball = Ball(
            radius=torch.full((pairs,), torch.inf, dtype=torch.float64), spreads=[spread] * pairs,
            damage=torch.full((pairs,), constant, dtype=torch.float64),
        )  # fmt: skip
        self.balls.append(ball)
        return ball

    def within(self, radius: Tensor, *, damage: bool = False) -> Ball:
        """The ball of a radius around each original, `(pairs,)`; spreads are infinite where nothing is bounded.

        Args:
            radius: `(pairs,)`, finite.
            damage: whether to go on through the decoder, which costs as much again.
        """
        rows = [self._row(i, float(r), damage) for i, r in enumerate(radius)]
        constants = torch.tensor([row[1] for row in rows], dtype=torch.float64)
        ball = Ball(radius=radius, spreads=[row[0] for row in rows], damage=constants)
        self.balls.append(ball)
        return ball

    def _row(self, row: int, radius: float, damage: bool) -> tuple[Spread, float]:
        try:
            spread = _around(self.model.through_encoder, self.taken, row, radius).of(*self.encoder.steps)
        except NotCertifiedError as error:  # a slope without bound, such as that of exp in a ball where it overflows
            self.model.refusals["encoder, bounds in a ball"] = str(error)
            return Spread(size=self.centre.shape[1], multiple=math.inf), math.inf
        if not damage or self.model.decoder is None:
            return spread, math.inf
        return spread, self.decoder_constant(part_of(spread, self.units), row, radius)


def _around(
    everywhere: Propagation, taken: dict[str, Tensor], row: int, radius: float, start: Spread | None = None
) -> Propagation:
    return Propagation(
        start=start or everywhere.start, centres={name: values[row] for name, values in taken.items()}, radius=radius,
        widest=everywhere.widest, matrices=everywhere.matrices,
    )  # fmt: skip


def nearest(balls: Sequence[Ball], around: Surroundings, divergence: Divergence) -> tuple[Nearest, Tensor]:
    """The convex problems of some balls, one ball's pairs after another's; and which of them bound anything."""
    spreads = [spread for ball in balls for spread in ball.spreads]
    known = torch.tensor([spread.finite for spread in spreads])
    nothing = Spread(size=around.centre.shape[1], multiple=0.0)
    spreads = [spread if spread.finite else nothing for spread in spreads]
    if around.centre.shape[1] > around.model.coordinates or all(spread.matrix is None for spread in spreads):
        ellipsoids = torch.tensor([spread.scale for spread in spreads], dtype=torch.float64)
    else:
        ellipsoids = torch.stack([spread.dense() for spread in spreads])
    centre = around.centre.repeat(len(balls), 1)
    return Nearest(divergence=divergence.tiled(len(balls)), centre=centre, known=ellipsoids), known


def needed_distortion(
    around: Surroundings, divergence: Divergence, levels: Tensor, spans: Tensor, balls: int
) -> Tensor:
    """Lower bounds of the distortion that brings the divergence down to each level, `(pairs, levels)`.

    What leaves a ball is larger than its radius; what stays inside obeys the ball's own bound. The radius is narrowed
    down on the point where the two meet, for the lowest level of each pair.
    """

    def inside(some: Sequence[Ball]) -> Tensor:
        problems, known = nearest(some, around, divergence)
        found = problems.least_distortion(levels.repeat(len(some), 1))
        return torch.where(known[:, None], found, 0.0).view(len(some), *levels.shape)

    radii = torch.stack([ball.radius for ball in around.balls])[..., None]
    best = torch.minimum(inside(around.balls), radii).amax(0)
    if not levels.shape[1]:
        return best
    lowest = levels.argmin(1, keepdim=True)
    low, high = best.gather(1, lowest).squeeze(1), 1.5 * spans
    for _ in range(balls):
        radius = torch.where(low > 0, (low.clamp_min(1e-300) * high).sqrt(), high / 8)
        found = inside([around.within(radius)])[0]
        best = torch.maximum(best, torch.minimum(found, radius[:, None]))
        holds = found.gather(1, lowest).squeeze(1) >= radius
        low, high = torch.where(holds, radius, best.gather(1, lowest).squeeze(1)), torch.where(holds, high, radius)
    return best


def least_divergence(around: Surroundings, divergence: Divergence, budgets: Tensor) -> Tensor:
    """Lower bounds of the divergence within each budget, `(pairs, budgets)`, from all balls that hold it."""
    count = len(around.balls)
    problems, known = nearest(around.balls, around, divergence)
    found = torch.where(known[:, None], problems.least_divergence(budgets.repeat(count, 1)), 0.0)
    radii = torch.stack([ball.radius for ball in around.balls])[..., None]
    return torch.where(budgets <= radii, found.view(count, *budgets.shape), 0.0).amax(0)


def most_damage(around: Surroundings, budgets: Tensor) -> Tensor:
    """Upper bounds of the mean reconstruction's displacement within each budget, `(pairs, budgets)`."""
    best = torch.full_like(budgets, torch.inf)
    for ball in around.balls:
        holds = budgets <= ball.radius[:, None]
        best = torch.where(holds, torch.minimum(best, ball.damage[:, None] * budgets * (1 + MARGIN)), best)
    return best


def robust_radius(around: Surroundings, r: float, sampled: bool, balls: int) -> Tensor:
    """Lower bounds of the r-robustness margin, `(pairs,)`, see `vaeaudit.certificates.margins`."""
    weights = around.model.sensitivities
    anywhere = r / max(around.model.weighted_constant, 1e-300)
    near = _near_quotients(around, around.model.weighted, r, anywhere, balls)
    best = torch.zeros(len(around.centre), dtype=torch.float64)
    for ball in around.balls:
        best = torch.maximum(best, _robust_in(ball, around, weights, anywhere, near, sampled))
    return best


def _near_quotients(around: Surroundings, scaled: Spread, r: float, anywhere: float, balls: int) -> Tensor:
    """The largest q such that L2(w (z - mu(x))) <= q moves the decoder by r at most, `(pairs,)`, by halving."""
    found = []
    for row in range(len(around.centre)):
        low, high = anywhere, anywhere * 64
        for _ in range(balls):
            radius = math.sqrt(low * high)
            reached = around.decoder_constant(scaled, row, radius) * radius
            low, high = (radius, high) if reached <= r else (max(low, radius * r / reached), radius)
        found.append(low * (1 - MARGIN))
    return torch.tensor(found, dtype=torch.float64)


def _robust_in(
    ball: Ball, around: Surroundings, weights: Tensor, anywhere: float, near: Tensor, sampled: bool
) -> Tensor:
    units, scale = around.units, around.encoder.scale
    gain = torch.tensor([_weighted(spread, weights) for spread in ball.spreads], dtype=torch.float64)
    reach = torch.stack([spread.of_units() for spread in ball.spreads])[:, units:]
    second = around.centre[:, units:]

    def attacked(distortion: Tensor) -> Tensor:
        if scale is None:
            return torch.zeros(len(distortion), units, dtype=torch.float64)
        return weights.square() * largest_variance(second, reach, distortion, scale) * (1 + MARGIN)

    clean = attacked(torch.zeros(len(gain), dtype=torch.float64)) if sampled else torch.zeros(len(gain), units).double()
    return torch.maximum(
        robust_anywhere(anywhere, gain, lambda d: attacked(d) + clean, ball.radius),
        robust_nearby(near, gain, attacked, clean if sampled else None, ball.radius),
    )


def _weighted(spread: Spread, weights: Tensor) -> float:
    """Bound of L2(w D(mean)) per unit of distortion."""
    if spread.matrix is None:
        return spread.constant * float(weights.max())
    matrix = spread.matrix[: len(weights), : len(weights)]
    return math.sqrt(largest_eigenvalue(weights[:, None] * matrix * weights))
