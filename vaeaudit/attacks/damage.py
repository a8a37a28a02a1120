"""The untargeted attack inside a ball: the most damage to the reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vaeaudit.attacks.balls import Norm, checked, farthest, projection, room, steepest
from vaeaudit.attacks.directions import leading_directions
from vaeaudit.attacks.objective import gradient_of
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import micro_batched
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.optimize import ascend

GUIDED_UNITS = 64
_LINEAR = 0.02
"""Share of the smallest budget at which the model counts as linear."""


@dataclass(frozen=True, kw_only=True)
class MaximumDamage:
    """What an attack inside a ball found.

    Attributes:
        radii: budgets, ascending, `(budgets,)`.
        adversarial: x + d, `(images, budgets, *event)`.
        distortion: the norm of d, `(images, budgets)`.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, input units, `(images, budgets)`.
        divergence: KL(q(z|x+d) || q(z|x)), or the squared L2 distance of deterministic codes,
            `(images, budgets)`.
        converged: whether the last accepted step gained less than 0.1 %, `(images, budgets)`.
        gradient_evaluations: spent on each image, `(images,)`.
        norm: "l2" or "linf".
    """

    radii: Tensor
    adversarial: Tensor
    distortion: Tensor
    displacement: Tensor
    divergence: Tensor
    converged: Tensor
    gradient_evaluations: Tensor
    norm: Norm

    @property
    def objective(self) -> Tensor:
        """What was maximised: the displacement."""
        return self.displacement


def maximum_damage(
    ae: Autoencoder,
    images: Tensor,
    radius: float | Sequence[float],
    norm: Norm = "l2",
    *,
    steps: int = 40,
    restarts: int = 1,
    starts: Tensor | None = None,
    seed: int = 0,
) -> MaximumDamage:
    """Move the mean reconstruction as far as a budget of distortion allows (definitions row 15).

    Projected ascent on L2(r(x + d) - r(x)) over the ball and the bounds, from random directions and
    from `starts`; each budget also starts from what the smaller one found, so that damage never
    falls as the budget grows.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or several, input units.
        norm: "l2" or "linf".
        steps: gradient evaluations for each start.
        restarts: random starts, each tried in both directions.
        starts: further starting directions, `(starts, images, *event)`; None takes the round trip's leading
            eigenvector in both directions, where there are few enough latent units to afford it.
        seed: seed of the random starts.

    Raises:
        OptionError: unknown norm, or a budget that is not positive.
        GradientError: no gradient reaches the input.
    """
    if steps < 1 or restarts < 0:
        raise OptionError(f"maximum_damage expects steps >= 1 and restarts >= 0, got {steps} and {restarts}")
    images, radii = checked(ae, images, radius, norm)
    directions = _directions(images, _guides(ae, images) if starts is None else starts, restarts, seed)
    with ae.at_rest(seed):
        distortions, gains = _climb(ae, images, radii, norm, directions, steps)
    spent = torch.full(
        (len(images),), (steps + 1) * len(directions) * (len(radii) + 1), dtype=torch.long, device=images.device
    )
    return _result(ae, images, distortions, radii, norm, gains < 1e-3, spent)


def _guides(ae: Autoencoder, images: Tensor) -> Tensor | None:
    with ae.at_rest():
        units = ae.examine(images[:1]).mean.numel()
    if units > GUIDED_UNITS:
        return None
    try:
        vectors = leading_directions(ae, images, "round_trip")
    except ModelError:
        return None
    return torch.stack([vectors, -vectors])


def _directions(images: Tensor, starts: Tensor | None, restarts: int, seed: int) -> Tensor:
    """Starting directions of unit length, `(starts, images, n)`; the random ones are the same for all images."""
    n = images[0].numel()
    noise = torch.randn(max(restarts, 0 if starts is not None else 1), n, generator=torch.Generator().manual_seed(seed))
    noise = torch.cat([noise, -noise])
    directions = noise.to(images)[:, None].expand(-1, len(images), -1)
    if starts is not None:
        directions = torch.cat([starts.to(images).reshape(-1, len(images), n), directions])
    lengths: Tensor = torch.linalg.vector_norm(directions, dim=2, keepdim=True)
    return directions / lengths.clamp_min(torch.finfo(images.dtype).tiny)


def _climb(
    ae: Autoencoder, images: Tensor, radii: Tensor, norm: Norm, directions: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Best distortion of each image at each budget `(images, budgets, n)`, and its last gain.

    A first climb inside a tiny ball, where the model is as good as linear, is a power iteration
    towards the leading direction of the round trip; each ball then starts from the best of the
    given directions, of what the smaller ball found, and of that stretched.
    """
    count = len(directions)
    repeated = images.repeat(count, *[1] * (images.ndim - 1))
    low, high = room(ae, repeated)
    clean = ae.reconstructions(images).repeat(count, *[1] * (images.ndim - 1))
    given = directions.flatten(0, 1)
    found, gains = [], []
    start = farthest(given, (_LINEAR * radii[0]).expand(len(repeated)), low, high, norm)
    for r in torch.cat([_LINEAR * radii[:1], radii]):
        radius = r.expand(len(repeated))
        for candidate in (farthest(given, radius, low, high, norm), farthest(start, radius, low, high, norm)):
            start = _better(ae, repeated, clean, start, candidate)
        best = ascend(
            partial(_displacement, ae, repeated, clean), start, radius,
            project=partial(projection(norm), radius=radius, lower=low, upper=high), steepest=steepest(norm), steps=steps,
        )  # fmt: skip
        start = best.point
        top = best.value.view(count, -1).argmax(0)
        chosen = torch.arange(len(images), device=images.device)
        found.append(best.point.view(count, len(images), -1)[top, chosen])
        gains.append(best.last_gain.view(count, -1)[top, chosen])
    return torch.stack(found[1:], 1), torch.stack(gains[1:], 1)


def _better(ae: Autoencoder, images: Tensor, clean: Tensor, a: Tensor, b: Tensor) -> Tensor:
    first, second = (_measured(ae, images, clean, d) for d in (a, b))
    return torch.where((first >= second)[:, None], a, b)


def _measured(ae: Autoencoder, images: Tensor, clean: Tensor, distortions: Tensor) -> Tensor:
    moved = ae.reconstructions(images + distortions.view_as(images))
    distance: Tensor = torch.linalg.vector_norm((moved - clean).flatten(1), dim=1)
    return distance


def _displacement(ae: Autoencoder, images: Tensor, clean: Tensor, distortions: Tensor) -> tuple[Tensor, Tensor]:
    """Displacement of the reconstruction and its gradient; the gradient is 0 where nothing is displaced."""

    def measure(d: Tensor, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        inputs = d.detach().requires_grad_()
        squares = (ae.reconstruct(x + inputs.view_as(x)) - before).flatten(1).square().sum(1)
        gradient = gradient_of(squares, inputs)
        norm = squares.detach().sqrt()
        return norm, gradient / (2 * norm).clamp_min(torch.finfo(norm.dtype).tiny)[:, None]

    norm, gradient = micro_batched(measure, distortions, images, clean)
    return norm, gradient


def _result(
    ae: Autoencoder, images: Tensor, distortions: Tensor, radii: Tensor, norm: Norm, converged: Tensor, spent: Tensor
) -> MaximumDamage:
    shape = (len(images), len(radii), *images.shape[1:])
    adversarial = (images[:, None] + distortions.view(shape)).clamp(*ae.bounds)
    moved = (adversarial - images[:, None]).flatten(2).double()
    with ae.at_rest():
        clean = ae.reconstructions(images)
        after = ae.reconstructions(adversarial.flatten(0, 1)).reshape(len(images), len(radii), -1)
        divergence = _latent_divergence(ae, images, adversarial)
    displacement = (after - clean.flatten(1)[:, None]).double().norm(dim=2)
    converged = converged & displacement.isfinite()
    return MaximumDamage(
        radii=radii, adversarial=adversarial, displacement=displacement, divergence=divergence,
        distortion=moved.norm(dim=2) if norm == "l2" else moved.abs().amax(2),
        converged=converged, gradient_evaluations=spent, norm=norm,
    )  # fmt: skip


def _latent_divergence(ae: Autoencoder, images: Tensor, adversarial: Tensor) -> Tensor:
    """Delta(q(z|x+d), q(z|x)), `(images, budgets)`."""
    clean, attacked = ae.posteriors(images), ae.posteriors(adversarial.flatten(0, 1))
    rows = torch.arange(len(images), device=images.device).repeat_interleave(adversarial.shape[1])
    _, divergence = divergence_named("kl", deterministic=clean.log_variance is None)
    return divergence(attacked, clean[rows]).double().view(adversarial.shape[:2])
