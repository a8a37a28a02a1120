"""Gradient-free search inside a ball: what an attack finds that never asks for a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vaeaudit.attacks.balls import NORMS, Norm, farthest, projection, room
from vaeaudit.attacks.goals import DisplacementGoal, LatentGoal
from vaeaudit.attacks.objective import checked_inputs
from vaeaudit.attacks.watched import WatchedGoal
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import DataError, OptionError

QUERIES = 200
_AT_ONCE = 8
"""Candidates an image that are tried together: a model answers one query as slowly as a few."""
_DIRECTIONS = 0.25
"""Share of the queries that go to directions, before the squares."""
_AREA = 0.3
"""Of a square, as a share of the image, to begin with."""
_HALVED_AT = (0.02, 0.1, 0.25, 0.4, 0.6, 0.8)
"""Shares of the queries after which the squares' area is halved."""


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """What a search without gradients found.

    Attributes:
        radii: budget of each image, `(images,)`.
        adversarial: x + d, `(images, *event)`.
        distortion: the norm of d, float64, `(images,)`.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, float64, `(images,)`.
        divergence: Delta(q(z|x+d), q(z|t)) where there are targets, else Delta(q(z|x+d), q(z|x)), float64, `(images,)`.
        non_finite: whether the model returned NaN or infinity where the search came, `(images,)`.
        queries: calls of the model an image.
        norm: "l2" or "linf".
    """

    radii: Tensor
    adversarial: Tensor
    distortion: Tensor
    displacement: Tensor
    divergence: Tensor
    non_finite: Tensor
    queries: int
    norm: Norm


def random_search(
    ae: Autoencoder,
    images: Tensor,
    radius: float | Tensor,
    norm: Norm = "l2",
    *,
    queries: int = QUERIES,
    targets: Tensor | None = None,
    divergence: str = "kl",
    seed: int = 0,
) -> RandomSearch:
    """Search a ball for the largest displacement, or for the posterior nearest to a target's, without gradients.

    A quarter of the queries goes to directions: random ones and stripes, and with targets the straight way there.
    The others are a random search after the Square Attack (Andriushchenko et al. 2020, algorithms 1 to 3): a
    change in a random square is kept where it helps, and the squares shrink. In the L2 ball a square takes over the
    budget of another. Events that are no images, `(channels, height, width)` or `(height, width)`, are changed in
    contiguous blocks. All images are offered the same changes, so what is found for one does not depend on which
    others there are.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or one for each image, input units.
        norm: "l2" or "linf".
        queries: calls of the model an image.
        targets: t, `(images, *event)`; None searches for displacement of the mean reconstruction.
        divergence: Delta, one of `vaeaudit.divergences.DIVERGENCES`.
        seed: of every random choice.

    Raises:
        OptionError: unknown norm or divergence, no queries, or a budget that is not positive.
        DataError: images or targets that cannot be attacked.
    """
    images = checked_inputs(ae, images, "images")
    radii = _budgets(images, radius, norm, queries)
    if targets is not None and tuple(targets.shape) != tuple(images.shape):
        raise DataError(f"targets expect the shape of the images {tuple(images.shape)}, got {tuple(targets.shape)}")
    with ae.at_rest(seed):
        aims = images if targets is None else checked_inputs(ae, targets, "targets")
        posteriors = ae.posteriors(aims)
        _, delta = divergence_named(divergence, deterministic=posteriors.log_variance is None)
        latent = LatentGoal(autoencoder=ae, originals=images, posteriors=posteriors, divergence=delta)
        moved = DisplacementGoal(autoencoder=ae, originals=images, clean=ae.reconstructions(images), noise=None)
        way = None if targets is None else (aims - images).flatten(1)
        goal, towards = (WatchedGoal(moved), 1) if targets is None else (WatchedGoal(latent), -1)
        search = _Search(goal=goal, towards=towards, radii=radii, norm=norm, queries=queries, seed=seed)
        points = search.run(way)
        rows = torch.arange(len(images), device=images.device)
        adversarial = (images + points.view_as(images)).clamp(*ae.bounds)
        change = (adversarial.double() - images.double()).flatten(1)
        displacement = moved.of(adversarial, rows)
        return RandomSearch(
            radii=radii, adversarial=adversarial, queries=queries, norm=norm,
            distortion=change.norm(dim=1) if norm == "l2" else change.abs().amax(1),
            displacement=displacement, divergence=latent.of(adversarial, rows),
            non_finite=goal.non_finite | ~displacement.isfinite(),
        )  # fmt: skip


def _budgets(images: Tensor, radius: float | Tensor, norm: Norm, queries: int) -> Tensor:
    """The budget of each image, `(images,)`."""
    if norm not in NORMS:
        raise OptionError(f"unknown norm {norm!r}; choose one of {', '.join(NORMS)}")
    if isinstance(queries, bool) or not isinstance(queries, int) or queries < 1:
        raise OptionError(f"queries expects a whole number of at least 1, got {queries!r}")
    radii = torch.as_tensor(radius, dtype=images.dtype, device=images.device)
    if (
        radii.ndim > 1
        or (radii.ndim and len(radii) != len(images))
        or not bool((radii > 0).all() & radii.isfinite().all())
    ):
        raise OptionError(f"radius expects a positive number, or one for each of {len(images)} images, got {radius!r}")
    return radii.expand(len(images))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """Candidates are the same for all images; each image keeps its own best."""

    goal: WatchedGoal
    towards: int
    radii: Tensor
    norm: Norm
    queries: int
    seed: int

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width; an event that is no image is one row."""
        event = tuple(self.goal.originals.shape[1:])
        if len(event) == 3:
            return event
        return (1, *event) if len(event) == 2 else (1, 1, self.goal.originals[0].numel())

    def run(self, way: Tensor | None) -> Tensor:
        """The best distortion of each image, `(images, n)`; none where nothing is better than that."""
        images = self.goal.originals
        generator = torch.Generator().manual_seed(self.seed)
        best = torch.zeros_like(images.flatten(1))
        value = self._values(best[:, None])[:, 0]
        spent = 0
        for candidates in self._directions(generator, way):
            best, value = self._improved(best, value, candidates)
            spent += candidates.shape[1]
        while spent < self.queries:
            count = min(_AT_ONCE, self.queries - spent)
            best, value = self._improved(best, value, self._squares(best, count, spent / self.queries, generator))
            spent += count
        return best

    def _directions(self, generator: torch.Generator, way: Tensor | None) -> Iterator[Tensor]:
        """Candidates `(images, count, n)` that do not build on others."""
        images = self.goal.originals.flatten(1)
        left = max(1, round(_DIRECTIONS * self.queries))
        if way is not None:
            length = way.norm(dim=1) if self.norm == "l2" else way.abs().amax(1)
            share = (self.radii / length.clamp_min(torch.finfo(way.dtype).tiny)).clamp_max(1)
            yield (share[:, None] * way)[:, None]
            left -= 1
        while left > 0:
            count = min(_AT_ONCE, left)
            left -= count
            dense = torch.randn(count - count // 2, images.shape[1], generator=generator)
            drawn = torch.cat([dense, self._stripes(count // 2, generator)]).to(images)
            yield self._filled(drawn.expand(len(images), -1, -1))

    def _stripes(self, count: int, generator: torch.Generator) -> Tensor:
        """One sign a column and channel, `(count, n)`."""
        channels, height, width = self.shape
        signs = _signs((count, channels, 1, width), generator)
        return signs.expand(-1, -1, height, -1).flatten(1)

    def _filled(self, candidates: Tensor) -> Tensor:
        """The whole budget used up along candidates `(images, count, n)`, inside the bounds."""
        count = candidates.shape[1]
        low, high = (side.repeat_interleave(count, 0) for side in room(self.goal.autoencoder, self.goal.originals))
        radii = self.radii.repeat_interleave(count)
        return farthest(candidates.flatten(0, 1), radii, low, high, self.norm).view_as(candidates)

    def _values(self, points: Tensor) -> Tensor:
        """How good distortions `(images, count, n)` are, `(images, count)`; never better where not finite."""
        images, count, _ = points.shape
        rows = torch.arange(images, device=points.device).repeat_interleave(count)
        values = self.towards * self.goal.at(points.flatten(0, 1), rows)
        return values.view(images, count).nan_to_num(-torch.inf, -torch.inf, -torch.inf)

    def _improved(self, best: Tensor, value: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        values = self._values(candidates)
        top, index = values.max(1)
        chosen = candidates[torch.arange(len(best), device=best.device), index]
        better = top > value
        return torch.where(better[:, None], chosen, best), torch.where(better, top, value)

    def _squares(self, best: Tensor, count: int, progress: float, generator: torch.Generator) -> Tensor:
        """Candidates that differ from the best in one square, `(images, count, n)`."""
        channels, height, width = self.shape
        area = _AREA * 0.5 ** sum(progress >= share for share in _HALVED_AT) * height * width
        tall = min(height, max(1, round(area**0.5)))
        wide = min(width, max(1, round(area / tall)))
        signs = _signs((count, channels, 1, 1), generator).to(best)
        here = self._windows(count, tall, wide, generator).to(best.device)
        if self.norm == "linf":
            now = best.view(-1, 1, channels, height, width)
            changed = torch.where(here[:, None], signs * self.radii.view(-1, 1, 1, 1, 1), now)
            return self._inside(changed.flatten(2))
        there = self._windows(count, tall, wide, generator).to(best.device)
        return self._filled(self._taken_over(best, here, there, signs, (tall, wide)).flatten(2))

    def _inside(self, candidates: Tensor) -> Tensor:
        count = candidates.shape[1]
        low, high = (side.repeat_interleave(count, 0) for side in room(self.goal.autoencoder, self.goal.originals))
        radii = self.radii.repeat_interleave(count)
        return projection(self.norm)(candidates.flatten(0, 1), radii, low, high).view_as(candidates)

    def _windows(self, count: int, tall: int, wide: int, generator: torch.Generator) -> Tensor:
        """Random windows, `(count, height, width)`."""
        _, height, width = self.shape
        top = torch.randint(height - tall + 1, (count, 1, 1), generator=generator)
        left = torch.randint(width - wide + 1, (count, 1, 1), generator=generator)
        row, column = torch.arange(height)[:, None], torch.arange(width)
        return (row >= top) & (row < top + tall) & (column >= left) & (column < left + wide)

    def _taken_over(self, best: Tensor, here: Tensor, there: Tensor, signs: Tensor, size: tuple[int, int]) -> Tensor:
        """One window gives its budget to another, which takes a bump on top of what it held (algorithm 3 there).

        Returns:
            `(images, count, channels, height, width)`.
        """
        channels, height, width = self.shape
        tiny = torch.finfo(best.dtype).tiny
        now = best.view(-1, 1, channels, height, width)
        held = now * here[:, None]
        length = held.flatten(3).norm(dim=3)[..., None, None]
        bump = signs * self._bumps(here, size, best)[:, None] + held / length.clamp_min(tiny)
        bump = bump / bump.flatten(3).norm(dim=3)[..., None, None].clamp_min(tiny)
        either = (here | there)[:, None]
        free = self.radii.square()[:, None] - (now * ~either).flatten(2).square().sum(2)
        share = (free.clamp_min(0) / channels).sqrt()[..., None, None, None]
        changed: Tensor = now * ~either + share * bump
        return changed

    def _bumps(self, windows: Tensor, size: tuple[int, int], like: Tensor) -> Tensor:
        """A pyramid of unit length in each window, `(count, height, width)`."""
        _, height, width = self.shape
        sides = [1 + torch.minimum(torch.arange(n), n - 1 - torch.arange(n)) for n in size]
        pyramid = (sides[0][:, None] * sides[1]).to(like)
        bumps = like.new_zeros(len(windows), height, width)
        bumps[windows] = (pyramid / pyramid.norm()).flatten().repeat(len(windows))
        return bumps


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    drawn: Tensor = 2 * torch.randint(2, shape, generator=generator).float() - 1
    return drawn
