"""Looks for the best bounds: over all inputs, and in balls around each original."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaeaudit.certificates.convex import Divergence, Nearest
from vaeaudit.certificates.ellipsoids import Propagation, Spread
from vaeaudit.certificates.heads import Heads
from vaeaudit.certificates.margins import largest_variance, robust_anywhere, robust_nearby
from vaeaudit.certificates.norms import MARGIN, largest_eigenvalue
from vaeaudit.certificates.refusal import NotCertifiedError

_LEAST_SENSITIVE = 1e-3


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
        encoder: the encoder.
        decoder: the decoder; None where it is not certified.
        originals: x, `(pairs, *event)`, float64.
        everywhere: the encoder's propagation over all inputs.
        balls: those looked at so far.
    """

    encoder: Heads
    decoder: Heads | None
    originals: Tensor
    everywhere: Propagation
    balls: list[Ball] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.centre = self.encoder.at(self.originals)
        self._taken = self.encoder.network.arguments(self.originals)
        self._decoded = None if self.decoder is None else self.decoder.network.arguments(self.latents)
        self._beyond = Propagation(start=Spread(size=self.units, multiple=1.0), widest=self.everywhere.widest)

    @property
    def units(self) -> int:
        """Length of the mean."""
        return math.prod(self.encoder.mean.event)

    @property
    def latents(self) -> Tensor:
        """The means at the originals, `(pairs, *latent)`."""
        return self.centre[:, : self.units].reshape(-1, *self.encoder.mean.event)

    def decoder_constant(self, start: Spread, row: int = 0, radius: float = math.inf) -> float:
        """Lipschitz constant of the decoder over all latents or around those of a row, which move as `start` says."""
        assert self.decoder is not None
        assert self._decoded is not None
        return _around(self._beyond, self._decoded, row, radius, start=start).of(self.decoder.mean).constant

    def within(self, radius: Tensor, *, damage: bool = False) -> Ball:
        """The ball of a radius around each original, `(pairs,)`; infinite radii mean all inputs.

        Args:
            radius: `(pairs,)`.
            damage: whether to go on through the decoder, which costs as much again.

        Raises:
            NotCertifiedError: no finite bound.
        """
        if bool(radius.isinf().all()):
            rows = [self._row(0, math.inf, damage)] * len(radius)
        else:
            rows = [self._row(i, float(r), damage) for i, r in enumerate(radius)]
        constants = torch.tensor([row[1] for row in rows], dtype=torch.float64)
        ball = Ball(radius=radius, spreads=[row[0] for row in rows], damage=constants)
        self.balls.append(ball)
        return ball

    def _row(self, row: int, radius: float, damage: bool) -> tuple[Spread, float]:
        spread = _around(self.everywhere, self._taken, row, radius).of(*self.encoder.steps)
        if not damage or self.decoder is None or self._decoded is None:
            return spread, math.inf
        onward = _around(self._beyond, self._decoded, row, radius, start=_part(spread, self.units))
        try:
            return spread, onward.of(self.decoder.mean).constant
        except NotCertifiedError:
            return spread, math.inf


def _around(
    everywhere: Propagation, taken: dict[str, Tensor], row: int, radius: float, start: Spread | None = None
) -> Propagation:
    centres = None if math.isinf(radius) else {name: values[row] for name, values in taken.items()}
    return Propagation(
        start=start or everywhere.start, centres=centres, radius=radius, widest=everywhere.widest,
        matrices=everywhere.matrices,
    )  # fmt: skip


def _part(spread: Spread, units: int) -> Spread:
    """The spread of the first units."""
    if spread.matrix is None:
        return Spread(size=units, multiple=spread.scale)
    matrix = spread.matrix[:units, :units]
    return Spread(size=units, matrix=matrix)


def nearest(balls: Sequence[Ball], centre: Tensor, divergence: Divergence) -> Nearest:
    """The convex problems of some balls, one ball's pairs after another's."""
    spreads = [spread for ball in balls for spread in ball.spreads]
    if any(spread.matrix is None for spread in spreads):
        known = torch.tensor([spread.scale for spread in spreads], dtype=torch.float64)
    else:
        known = torch.stack([spread.dense() for spread in spreads])
    return Nearest(divergence=divergence.tiled(len(balls)), centre=centre.repeat(len(balls), 1), known=known)


def needed_distortion(
    around: Surroundings, divergence: Divergence, levels: Tensor, spans: Tensor, balls: int
) -> Tensor:
    """Lower bounds of the distortion that brings the divergence down to each level, `(pairs, levels)`.

    What leaves a ball is larger than its radius; what stays inside obeys the ball's own bound. The radius is narrowed
    down on the point where the two meet, for the lowest level of each pair.
    """

    def inside(some: Sequence[Ball]) -> Tensor:
        found = nearest(some, around.centre, divergence).least_distortion(levels.repeat(len(some), 1))
        return found.view(len(some), *levels.shape)

    radii = torch.stack([ball.radius for ball in around.balls])[..., None]
    best = torch.minimum(inside(around.balls), radii).amax(0)
    lowest = levels.argmin(1, keepdim=True)
    low, high = best.gather(1, lowest).squeeze(1), 1.5 * spans
    for _ in range(balls):
        radius = torch.where(low > 0, (low.clamp_min(1e-300) * high).sqrt(), high / 8)
        try:
            found = inside([around.within(radius)])[0]
        except NotCertifiedError:  # a slope without bound, such as that of exp in a ball where it overflows
            high = radius
            continue
        best = torch.maximum(best, torch.minimum(found, radius[:, None]))
        holds = found.gather(1, lowest).squeeze(1) >= radius
        low, high = torch.where(holds, radius, best.gather(1, lowest).squeeze(1)), torch.where(holds, high, radius)
    return best


def least_divergence(around: Surroundings, divergence: Divergence, budgets: Tensor) -> Tensor:
    """Lower bounds of the divergence within each budget, `(pairs, budgets)`, from all balls that hold it."""
    count = len(around.balls)
    found = nearest(around.balls, around.centre, divergence).least_divergence(budgets.repeat(count, 1))
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
    weights = _sensitivities(around)
    scaled = Spread(size=len(weights), matrix=torch.diag(weights**-2))
    anywhere = r / max(around.decoder_constant(scaled), 1e-300)
    near = _near_quotients(around, scaled, r, anywhere, balls)
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


def _sensitivities(around: Surroundings) -> Tensor:
    """How far each latent unit moves the reconstruction: weights that any positive numbers may stand in for."""
    assert around.decoder is not None
    latents, decoder = around.latents, around.decoder
    flat = latents[:16].flatten(1)
    units = flat.shape[1]
    if units > 512:
        return torch.ones(units, dtype=torch.float64)
    found = []
    for unit in torch.eye(units, dtype=torch.float64):
        moved = [decoder.at((flat + sign * unit).view(-1, *latents.shape[1:])) for sign in (1, -1)]
        found.append((moved[0] - moved[1]).norm(dim=1).square().mean().sqrt() / 2)
    weights = torch.stack(found)
    largest = float(weights.max())
    return weights.clamp_min(_LEAST_SENSITIVE * largest) if largest > 0 else torch.ones_like(weights)
