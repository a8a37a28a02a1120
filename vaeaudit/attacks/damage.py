"""The untargeted attack on the reconstruction: the most damage inside a ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.attacks.balls import Norm, checked
from vaeaudit.attacks.climbing import at_budgets, check_effort, climb, given_starts, random_starts
from vaeaudit.attacks.directions import leading_directions
from vaeaudit.attacks.goals import DisplacementGoal, LatentGoal
from vaeaudit.attacks.measuring import figure, finished
from vaeaudit.attacks.noise import noise_of
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import ModelError, OptionError

GUIDED_UNITS = 64


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
        objective: what was raised: the displacement, or with samples its mean over sampled r(x + d),
            `(images, budgets)`.
        converged: whether the last steps gained less than 0.1 %, `(images, budgets)`.
        non_finite: whether the model, or a gradient, was NaN or infinite somewhere in the ball where the search came,
            `(images, budgets)`; larger balls hold the smaller ones.
        gradient_evaluations: spent on each image, `(images,)`.
        norm: "l2" or "linf".
        samples: posterior samples of r(x + d); 0 where it is that of the mean.
    """

    radii: Tensor
    adversarial: Tensor
    distortion: Tensor
    displacement: Tensor
    divergence: Tensor
    objective: Tensor
    converged: Tensor
    non_finite: Tensor
    gradient_evaluations: Tensor
    norm: Norm
    samples: int = 0


def maximum_damage(
    ae: Autoencoder,
    images: Tensor,
    radius: float | Sequence[float],
    norm: Norm = "l2",
    *,
    samples: int = 0,
    steps: int = 40,
    restarts: int = 1,
    starts: Tensor | None = None,
    seed: int = 0,
) -> MaximumDamage:
    """Move the reconstruction as far as a budget of distortion allows (definitions row 15).

    Ascent on L2(r(x + d) - r(x)) over the ball and the bounds, from random directions and
    from `starts`; each budget also starts from what the smaller one found, so that damage never
    falls as the budget grows.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or several, input units.
        norm: "l2" or "linf".
        samples: 0 for the mean reconstruction r(x + d); otherwise how many posterior samples z ~ q(z|x+d) are
            decoded, and what is raised is the mean of their distances to r(x), which stays that of the mean. Their
            noise is each image's own and stays the same. A deterministic code has nothing to sample.
        steps: gradient evaluations for each start.
        restarts: random starts, each tried in both directions.
        starts: further starts: directions `(starts, images, *event)`, or distortions for each budget
            `(starts, images, budgets, *event)`, see `as_starts`; None takes the round trip's leading
            eigenvector in both directions, where there are few enough latent units to afford it.
        seed: seed of the random starts and of the samples' noise.

    Raises:
        OptionError: unknown norm, or a budget that is not positive.
        DataError: images that cannot be attacked, or starts of another shape.
        GradientError: no gradient reaches the input.
    """
    check_effort("maximum_damage", steps, restarts)
    if samples < 0:
        raise OptionError(f"samples expects 0 or more, got {samples}")
    images, radii = checked(ae, images, radius, norm)
    begin = started(ae, images, radii, starts, "round_trip", restarts, seed)
    with ae.at_rest(seed):
        posteriors = ae.posteriors(images)
        sampled = samples if posteriors.log_variance is not None else 0
        noise = noise_of(images, posteriors, sampled, seed) if sampled else None
        goal = DisplacementGoal(autoencoder=ae, originals=images, clean=ae.reconstructions(images), noise=noise)
        _, kl = divergence_named("kl", deterministic=posteriors.log_variance is None)
        latent = LatentGoal(autoencoder=ae, originals=images, posteriors=posteriors, divergence=kl)
        found = climb(goal, radii, norm, begin, steps=steps)
        done = finished(ae, images, found.distortions, norm)
        objective = done.displacement if noise is None else figure(goal, done.adversarial)
        return MaximumDamage(
            radii=radii, adversarial=done.adversarial, distortion=done.distortion, displacement=done.displacement,
            divergence=figure(latent, done.adversarial), objective=objective,
            converged=found.converged & objective.isfinite(),
            non_finite=found.non_finite | ~(objective + done.displacement).isfinite(),
            gradient_evaluations=found.evaluations, norm=norm, samples=sampled,
        )  # fmt: skip


def started(
    ae: Autoencoder, images: Tensor, radii: Tensor, starts: Tensor | None, metric: str, restarts: int, seed: int
) -> Tensor:
    """Starts of an untargeted attack, `(starts, images, budgets, n)`.

    Those given, or else the metric's leading eigenvector in both directions; and random ones, at least one where
    there is no other.
    """
    given = _leading(ae, images, metric) if starts is None else given_starts(images, starts, radii)
    noise = random_starts(images, max(restarts, int(given is None)), seed)
    return at_budgets([noise] if given is None else [given, noise], len(radii))


def _leading(ae: Autoencoder, images: Tensor, metric: str) -> Tensor | None:
    with ae.at_rest():
        units = ae.examine(images[:1]).mean.numel()
    if units > GUIDED_UNITS:
        return None
    try:
        vectors = leading_directions(ae, images, metric)
    except ModelError:
        return None
    return torch.stack([vectors, -vectors])
