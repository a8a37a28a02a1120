"""The untargeted attack on the posterior: the largest divergence from the clean one inside a ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vaeaudit.attacks.balls import Norm, checked
from vaeaudit.attacks.climbing import check_effort, climb
from vaeaudit.attacks.damage import started
from vaeaudit.attacks.goals import LatentGoal
from vaeaudit.attacks.measuring import figure, finished
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.divergences import divergence_named

_LOCAL = {"mean_l2": "mean", "channel_normalised_l2": "mean", "wasserstein": "wasserstein"}
"""Metrics that divergences are the squared distances of nearby, but for the scales of channels; all others are Fisher's."""


@dataclass(frozen=True, kw_only=True)
class LatentDamage:
    """What an attack on the posteriors inside a ball found.

    Attributes:
        radii: budgets, ascending, `(budgets,)`.
        adversarial: x + d, `(images, budgets, *event)`.
        distortion: the norm of d, `(images, budgets)`.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, input units, `(images, budgets)`.
        divergence: D(q(z|x+d), q(z|x)), `(images, budgets)`.
        converged: whether the last steps gained less than 0.1 %, `(images, budgets)`.
        non_finite: whether the model, or a gradient, was NaN or infinite somewhere in the ball where the search came,
            `(images, budgets)`; larger balls hold the smaller ones.
        gradient_evaluations: spent on each image, `(images,)`.
        norm: "l2" or "linf".
        divergence_name: the divergence used (`kl` becomes `mean_l2` for deterministic codes).
    """

    radii: Tensor
    adversarial: Tensor
    distortion: Tensor
    displacement: Tensor
    divergence: Tensor
    converged: Tensor
    non_finite: Tensor
    gradient_evaluations: Tensor
    norm: Norm
    divergence_name: str

    @property
    def objective(self) -> Tensor:
        """What was raised: the divergence."""
        return self.divergence


def latent_damage(
    ae: Autoencoder,
    images: Tensor,
    radius: float | Sequence[float],
    norm: Norm = "l2",
    divergence: str = "symmetric_kl",
    *,
    steps: int = 40,
    restarts: int = 1,
    starts: Tensor | None = None,
    seed: int = 0,
) -> LatentDamage:
    """Move the posterior as far from the clean one as a budget of distortion allows (definitions row 14).

    Every divergence is flat at d = 0, so the search starts away from it: from the leading eigenvector of the
    metric that the divergence is the local form of, in both directions, from random directions, and from what
    a smaller budget found.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or several, input units.
        norm: "l2" or "linf".
        divergence: D, one of `vaeaudit.divergences.DIVERGENCES`, taken of (adversarial, clean): Kuzina et al. (2022)
            call `kl` kl_reverse and `kl_reverse` kl_forward.
        steps: gradient evaluations for each start.
        restarts: random starts, each tried in both directions.
        starts: further starts instead of the eigenvector, as for `maximum_damage`.
        seed: seed of the random starts.

    Raises:
        OptionError: unknown norm or divergence, or a budget that is not positive.
        DataError: images that cannot be attacked, or starts of another shape.
        GradientError: no gradient reaches the input.
    """
    check_effort("latent_damage", steps, restarts)
    images, radii = checked(ae, images, radius, norm)
    with ae.at_rest(seed):
        posteriors = ae.posteriors(images)
        name, measure = divergence_named(divergence, deterministic=posteriors.log_variance is None)
    metric = "mean" if posteriors.log_variance is None else _LOCAL.get(name.partition(":")[0], "fisher")
    begin = started(ae, images, radii, starts, metric, restarts, seed)
    with ae.at_rest(seed):
        goal = LatentGoal(autoencoder=ae, originals=images, posteriors=posteriors, divergence=measure)
        found = climb(goal, radii, norm, begin, steps=steps)
        done = finished(ae, images, found.distortions, norm)
        reached = figure(goal, done.adversarial)
        return LatentDamage(
            radii=radii, adversarial=done.adversarial, distortion=done.distortion, displacement=done.displacement,
            divergence=reached, converged=found.converged & reached.isfinite(),
            non_finite=found.non_finite | ~(reached + done.displacement).isfinite(),
            gradient_evaluations=found.evaluations, norm=norm, divergence_name=name,
        )  # fmt: skip
