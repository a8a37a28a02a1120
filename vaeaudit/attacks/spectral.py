"""The attack that local geometry suggests: the step that a pullback metric says is the longest (Khan and Storkey 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from vaeaudit.attacks.balls import Norm, checked, farthest, lengthened, room
from vaeaudit.attacks.directions import CLIMBS_BY_PRODUCTS, LocalMetric, checked_metric, local_metric
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import OptionError
from vaeaudit.geometry import ROUND_TRIP_METRICS
from vaeaudit.geometry.leading import CONFIRMING_STEPS, most_steps

_DIVERGENCES = {"wasserstein": "wasserstein", "mean": "mean_l2", "fisher": "kl"}
_GAIN = 1e-4
_MOST_POINTS = 32
_MOST_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class SpectralAttack:
    """What steps along a direction of a metric, the dominant one or another eigenvector, did.

    Attributes:
        radii: budgets, ascending, `(budgets,)`.
        adversarial: x + d, `(images, budgets, *event)`.
        opposite: x + d of the sign that was not kept, `(images, budgets, *event)`.
        distortion: the norm of d, `(images, budgets)`.
        eigenvalue: that of the direction, `(images,)`; the largest times the L2 budget squared bounds `predicted` squared.
        predicted: the length sqrt(d' G(x) d) that the metric at x gives d, `(images, budgets)`.
        realised: the distance that the metric is the local form of, `(images, budgets)`: 2-Wasserstein of the
            posteriors for `wasserstein`, L2 of their means for `mean`, sqrt(2 KL(q(z|x+d) || q(z|x))) for
            `fisher`, L2 of the mean reconstructions for the round trips.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, input units, `(images, budgets)`.
        metric: name of the metric.
        norm: "l2" or "linf".
    """

    radii: Tensor
    adversarial: Tensor
    opposite: Tensor
    distortion: Tensor
    eigenvalue: Tensor
    predicted: Tensor
    realised: Tensor
    displacement: Tensor
    metric: str
    norm: Norm


def spectral(
    ae: Autoencoder, images: Tensor, radius: float | Sequence[float], metric: str = "wasserstein", norm: Norm = "l2",
    *, steps: int = 1, direction: int = 1,
) -> SpectralAttack:  # fmt: skip
    """Move along the dominant eigenvector of a pullback metric (definitions row 24 and Part II, 3.2).

    The step maximises d' G(x) d over the ball inside the bounds: +-radius * v_1 in an L2 ball that the bounds
    leave free. Otherwise there is no closed form, and from both signs of v_1 a generalised power iteration
    climbs: d becomes the farthest point of the ball inside the bounds along G d, which never shortens
    sqrt(d' G d) (Journee et al. 2010). The budget is used up wherever the bounds allow it. Of the two signs the
    one that does more is kept, by the distance that the metric stands for (`SpectralAttack.realised`).

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or several, input units.
        metric: one of `SPECTRAL_METRICS`. A stochastic `round_trip` also counts what the change of the posterior's
            spread does to sampled reconstructions, which `realised` does not; `round_trip_mean` does not count it.
        norm: "l2" or "linf".
        steps: times that the metric is taken anew along the way, each for an equal share of the budget. The
            best of all smaller numbers is kept, so more are never worse; s steps cost s (s - 1) spectra a budget.
        direction: k for the eigenvector of the k-th largest eigenvalue (definitions Part II, 3.2). With k > 1 the
            step is clip(s * v_k) of either sign for the largest s that the budget allows: what climbs, and looks
            anew along the way, would end at v_1. So it takes one step.

    Raises:
        OptionError: unknown metric or norm, a budget that is not positive, no steps, or a direction that the
            metric does not have.
        DataError: images that cannot be attacked.
        GradientError: no gradient reaches the input.
    """
    if steps < 1:
        raise OptionError(f"spectral expects steps >= 1, got {steps}")
    if direction < 1 or (direction > 1 and steps > 1):
        raise OptionError(
            f"spectral expects direction >= 1, and one step where it is not 1; got {direction} and {steps}"
        )
    images, radii = checked(ae, images, radius, norm)
    search = _Search(ae=ae, metric=checked_metric(metric), norm=norm, radii=radii, steps=steps, direction=direction)
    with ae.at_rest():
        size = search.images_at_once(images)
        parts = [search.attack(images[start : start + size]) for start in range(0, len(images), size)]
    return _joined(parts)


def spectral_products(budgets: int) -> int:
    """Most products with an encoder's Jacobian that an image takes where it is not held; a round trip's take twice as many."""
    steps = most_steps(1) + CONFIRMING_STEPS
    # of both signs: a product and its transpose, and a product, an iteration; and once more to begin and to end
    climbs = 2 * budgets * 3 * (CLIMBS_BY_PRODUCTS + 1)
    return 2 * steps + climbs + budgets


@dataclass(frozen=True, kw_only=True)
class _Search:
    """What is looked for at some images; distortions of both signs are `(images, 2, budgets, n)`."""

    ae: Autoencoder
    metric: str
    norm: Norm
    radii: Tensor
    steps: int
    direction: int

    def images_at_once(self, images: Tensor) -> int:
        """So many that their Jacobians can be held together."""
        units = self.ae.examine(images[:1]).mean.numel()
        points = 1 if self.steps == 1 else 2 * len(self.radii)
        # a Jacobian of mean and spread in float64, with its copies
        held = 64 * units * images[0].numel()
        return max(1, min(_MOST_POINTS, _MOST_BYTES // held) // points)

    def attack(self, images: Tensor) -> SpectralAttack:
        local = local_metric(self.ae, images, self.metric, self.direction)
        best = self._straight(local, images, self.radii)
        value = self._realised(images, best)
        for count in range(2, self.steps + 1):
            path = self._path(local, images, count)
            reached = self._realised(images, path)
            best = torch.where((reached > value)[..., None], path, best)
            value = torch.maximum(reached, value)
        return self._result(local, images, best, value)

    def _straight(self, local: LocalMetric, images: Tensor, radii: Tensor) -> Tensor:
        """The longest step that the metric knows of at each budget, from v_1 and then on from the smaller budget's.

        With d of the smaller budget, the farthest point along G d is no shorter than d (Cauchy and Schwarz), so
        that the predicted length never falls as the budget grows.
        """
        low, high = (side[:, None].expand(-1, 2, -1) for side in room(self.ae, images))
        direction = torch.stack([local.vector, -local.vector], 1).to(images)
        found = []
        for radius in radii:
            reach = radius.expand(direction.shape[:2])
            start = _farthest(direction, reach, low, high, self.norm)
            found.append(_climb(local, start, reach, low, high, self.norm))
            direction = direction if self.direction > 1 else local.pull(found[-1])
        return torch.stack(found, 2)

    def _path(self, local: LocalMetric, images: Tensor, count: int) -> Tensor:
        """Both signs of v_1, followed for `count` equal shares of each budget along the metrics met on the way."""
        d = self._straight(local, images, self.radii / count)
        shape = d.shape
        rows = images[:, None, None].expand(*shape[:3], *images.shape[1:]).flatten(0, 2)
        part = (self.radii / count).expand(shape[:3]).flatten()
        d = d.flatten(0, 2)
        for _ in range(count - 1):
            d = self._onward(rows, d, part)
        whole = self.radii.expand(shape[:3]).flatten()
        low, high = room(self.ae, rows)
        return lengthened(d, whole, low, high, self.norm).view(shape)

    def _onward(self, images: Tensor, d: Tensor, part: Tensor) -> Tensor:
        """One more share of the budget along the metric at x + d, in the better of both directions; rows are single."""
        points = (images + d.view_as(images)).clamp(*self.ae.bounds)
        local = local_metric(self.ae, points, self.metric)
        low, high = (side[:, None].expand(-1, 2, -1) for side in room(self.ae, points))
        reach = part[:, None].expand(-1, 2)
        start = _farthest(torch.stack([local.vector, -local.vector], 1).to(d), reach, low, high, self.norm)
        onward = d[:, None] + _climb(local, start, reach, low, high, self.norm)
        values = self._realised(images, onward)
        return onward[torch.arange(len(d), device=d.device), values.argmax(1)]

    def _realised(self, images: Tensor, distortions: Tensor) -> Tensor:
        """The distance that the metric is the local form of, for distortions `(images, ..., n)`."""
        moved = _moved(self.ae, images, distortions)
        rows = torch.arange(len(images), device=images.device).repeat_interleave(len(moved) // len(images))
        return _distance(self.ae, images, moved, rows, self.metric).view(distortions.shape[:-1])

    def _result(self, local: LocalMetric, images: Tensor, found: Tensor, value: Tensor) -> SpectralAttack:
        order = value.argsort(dim=1, descending=True, stable=True)
        d, other = found.gather(1, order[..., None].expand_as(found)).unbind(1)
        event = (*d.shape[:2], *images.shape[1:])
        adversarial, opposite = (_moved(self.ae, images, side).view(event) for side in (d, other))
        change = (adversarial - images[:, None]).flatten(2).double()
        return SpectralAttack(
            radii=self.radii, adversarial=adversarial, opposite=opposite,
            distortion=change.norm(dim=2) if self.norm == "l2" else change.abs().amax(2),
            eigenvalue=local.eigenvalue, predicted=local.apply(change).norm(dim=2),
            realised=value.amax(1), displacement=self._displacement(images, d), metric=self.metric, norm=self.norm,
        )  # fmt: skip

    def _displacement(self, images: Tensor, d: Tensor) -> Tensor:
        moved = _moved(self.ae, images, d)
        rows = torch.arange(len(images), device=images.device).repeat_interleave(d.shape[1])
        return _distance(self.ae, images, moved, rows, "round_trip_mean").view(d.shape[:2])


def _climb(local: LocalMetric, start: Tensor, radius: Tensor, low: Tensor, high: Tensor, norm: Norm) -> Tensor:
    """Generalised power iteration of steps `(images, m, n)`; a row that gains no more stays where it is."""
    step, length = start, local.apply(start).norm(dim=2)
    climbing = torch.ones_like(length, dtype=torch.bool)
    for _ in range(local.climbs):
        trial = step.clone()
        pulled = local.pull(step)[climbing]
        trial[climbing] = farthest(pulled, radius[climbing], low[climbing], high[climbing], norm)
        reached = local.apply(trial).norm(dim=2)
        climbing = reached > length * (1 + _GAIN)
        step, length = torch.where(climbing[..., None], trial, step), torch.where(climbing, reached, length)
        if not bool(climbing.any()):
            break
    return step


def _farthest(directions: Tensor, radius: Tensor, low: Tensor, high: Tensor, norm: Norm) -> Tensor:
    """`farthest` for several directions an image, `(images, m, n)`."""
    flat = [values.flatten(0, 1) for values in (directions, radius, low, high)]
    return farthest(flat[0], flat[1], flat[2], flat[3], norm).view_as(directions)


def _moved(ae: Autoencoder, images: Tensor, distortions: Tensor) -> Tensor:
    """The inputs x + d inside the bounds for distortions `(images, ..., n)`, all in one batch."""
    several = distortions.flatten(1, -2).view(len(images), -1, *images.shape[1:])
    return (images[:, None] + several).clamp(*ae.bounds).flatten(0, 1)


def _distance(ae: Autoencoder, images: Tensor, moved: Tensor, rows: Tensor, metric: str) -> Tensor:
    """What a metric is the local form of, between moved images and the `rows` of the clean ones, float64."""
    if metric in ROUND_TRIP_METRICS:
        change = (ae.reconstructions(moved) - ae.reconstructions(images)[rows]).flatten(1)
        distance: Tensor = change.double().norm(dim=1)
        return distance
    before, after = ae.posteriors(images), ae.posteriors(moved)
    name = _DIVERGENCES[metric]
    _, divergence = divergence_named(name, deterministic=before.log_variance is None)
    squared = divergence(after, before[rows]).double()
    return (2 * squared if name == "kl" else squared).clamp_min(0).sqrt()


def _joined(parts: list[SpectralAttack]) -> SpectralAttack:
    """The attacks on consecutive images as one."""
    shared = ("radii", "metric", "norm")
    names = [field.name for field in fields(SpectralAttack) if field.name not in shared]
    joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)
