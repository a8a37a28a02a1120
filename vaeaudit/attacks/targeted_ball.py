"""The targeted attacks inside a ball: as close to the target as a budget of distortion allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.attacks.aims import Aim, aimed, checked_pairs
from vaeaudit.attacks.balls import Norm, checked
from vaeaudit.attacks.climbing import at_budgets, check_effort, climb, given_starts, random_starts
from vaeaudit.attacks.goals import Likelihood
from vaeaudit.attacks.measuring import figure, finished
from vaeaudit.attacks.paths import starts_on_paths
from vaeaudit.autoencoder import Autoencoder


@dataclass(frozen=True, kw_only=True)
class TargetedInBall:
    """What an attack inside a ball found for each pair and budget.

    Attributes:
        radii: budgets, ascending, `(budgets,)`.
        adversarial: x + d, `(pairs, budgets, *event)`.
        distortion: the norm of d, `(pairs, budgets)`.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, input units, `(pairs, budgets)`.
        target_distance: L2(r(x + d) - t) of the mean reconstruction, input units, `(pairs, budgets)`.
        divergence: Delta(q(z|x+d), q(z|t)), whatever the aim, `(pairs, budgets)`.
        objective: what was lowered: Delta, L2(r(x+d) - t)^2, or the target's negative ELBO, `(pairs, budgets)`.
        converged: whether the last steps gained less than 0.1 %, `(pairs, budgets)`.
        non_finite: whether the model, or a gradient, was NaN or infinite somewhere in the ball where the search came,
            `(pairs, budgets)`; larger balls hold the smaller ones.
        gradient_evaluations: spent on each pair, `(pairs,)`.
        norm: "l2" or "linf".
        divergence_name: the divergence used (`kl` becomes `mean_l2` for deterministic codes).
        aim: "latent", "output" or "elbo".
    """

    radii: Tensor
    adversarial: Tensor
    distortion: Tensor
    displacement: Tensor
    target_distance: Tensor
    divergence: Tensor
    objective: Tensor
    converged: Tensor
    non_finite: Tensor
    gradient_evaluations: Tensor
    norm: Norm
    divergence_name: str
    aim: Aim


def targeted_ball(
    ae: Autoencoder,
    originals: Tensor,
    targets: Tensor,
    radius: float | Sequence[float],
    norm: Norm = "linf",
    aim: Aim = "latent",
    divergence: str = "kl",
    *,
    likelihood: Likelihood = "gaussian",
    samples: int = 16,
    steps: int = 40,
    restarts: int = 0,
    starts: Tensor | None = None,
    seed: int = 0,
) -> TargetedInBall:
    """Bring each original's posterior, or its reconstruction, as close to its target's as a budget allows.

    min over d of F(x+d) subject to |d| <= radius and low <= x + d <= high. With the divergence `mean_l2` that is the
    encoder attack of PhotoGuard and Mist (definitions rows 32 and 33), with `aim="output"` their direct one. The
    search starts at the original and on the way to the target, in an L2 ball also from two rough paths of the penalty
    form between them, and each budget from what the smaller one found.

    Args:
        ae: the model.
        originals: x, `(pairs, *event)`.
        targets: t, `(pairs, *event)`.
        radius: one budget or several, input units.
        norm: "linf" or "l2".
        aim: F: "latent" for Delta(q(z|x+d), q(z|t)), "output" for L2(r(x+d) - t)^2 of the mean reconstruction,
            "elbo" for the target's negative ELBO under q(z|x+d) (row 11).
        divergence: Delta, one of `vaeaudit.divergences.DIVERGENCES`; with another aim it is measured only.
        likelihood: of `aim="elbo"`, see `vaeaudit.attacks.targeted`.
        samples: of `aim="elbo"`: posterior samples, whose noise is each pair's own and stays the same.
        steps: gradient evaluations for each start and budget; in an L2 ball the paths take some more.
        restarts: random starts, each tried in both directions.
        starts: further starts: directions `(starts, pairs, *event)`, or distortions for each budget
            `(starts, pairs, budgets, *event)`, see `as_starts`.
        seed: seed of the random starts, and of the noise of `aim="elbo"`.

    Raises:
        DataError: originals and targets do not match, or starts of another shape.
        OptionError: unknown norm, aim, divergence or likelihood, one that this model has no use for, or a budget that
            is not positive.
        GradientError: no gradient reaches the input.
    """
    check_effort("targeted_ball", steps, restarts)
    originals, targets = checked_pairs(ae, originals, targets)
    originals, radii = checked(ae, originals, radius, norm)
    apart = (targets - originals).flatten(1)
    begin = [torch.stack([torch.zeros_like(apart), apart]), random_starts(originals, restarts, seed)]
    begin += [] if starts is None else [given_starts(originals, starts, radii)]
    spent: Tensor | int = 0
    with ae.at_rest(seed):
        goals = aimed(ae, originals, targets, aim, divergence, likelihood=likelihood, samples=samples, seed=seed)
        if norm == "l2":
            on_paths, spent = starts_on_paths(goals.goal, targets, radii)
            begin.append(on_paths)
        found = climb(goals.goal, radii, norm, at_budgets(begin, len(radii)), steps=steps, towards=-1)
        done = finished(ae, originals, found.distortions, norm)
        divergences = figure(goals.latent, done.adversarial)
        reached = divergences if goals.goal is goals.latent else figure(goals.goal, done.adversarial)
        gap = (done.reconstructions - targets[:, None]).flatten(2).double().norm(dim=2)
        return TargetedInBall(
            radii=radii, adversarial=done.adversarial, distortion=done.distortion, displacement=done.displacement,
            target_distance=gap, divergence=divergences, objective=reached,
            converged=found.converged & reached.isfinite(),
            non_finite=found.non_finite | ~(reached + done.displacement).isfinite(),
            gradient_evaluations=found.evaluations + spent, norm=norm,
            divergence_name=goals.divergence_name, aim=aim,
        )  # fmt: skip
