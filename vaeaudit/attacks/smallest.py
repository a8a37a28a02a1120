"""The smallest distortion that brings an original as near to its target as is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from vaeaudit.attacks.aims import Aimed, aimed, checked_pairs
from vaeaudit.attacks.limits import Limited
from vaeaudit.attacks.shortening import ShortestSearch
from vaeaudit.attacks.targeted import SOLVER, pairs_at_once
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError, brief
from vaeaudit.optimize import BoxLBFGS

SmallestAim = Literal["latent", "output"]
Reach = float | Sequence[float] | Tensor
_SHARED = ("divergence_name", "aim")


@dataclass(frozen=True, kw_only=True)
class SmallestDistortion:
    """What the attack found for each pair; figures are `(pairs,)`, float64.

    Attributes:
        at_most: w, what F may be, in F's units.
        adversarial: x + d, inside the bounds, `(pairs, *event)`; x where w is not reached.
        distortion: L2(d), input units; lower means less robust. 0 where F(x) is at most w to begin with, infinite where w
            is not reached.
        relative_distortion: L2(d) / L2(x - t).
        divergence: Delta(q(z|x+d), q(z|t)), whatever the aim.
        objective: F of the adversarial image: at most w where that is reached.
        reached: whether a distortion with F at most w was found.
        converged: whether the last refinement shortened d by less than 0.1 %; False where w is not reached.
        gradient_evaluations: spent on each pair.
        divergence_name: the divergence used (`kl` becomes `mean_l2` for deterministic codes).
        aim: "latent" or "output".
    """

    at_most: Tensor
    adversarial: Tensor
    distortion: Tensor
    relative_distortion: Tensor
    divergence: Tensor
    objective: Tensor
    reached: Tensor
    converged: Tensor
    gradient_evaluations: Tensor
    divergence_name: str
    aim: SmallestAim


def smallest_distortion(
    ae: Autoencoder,
    originals: Tensor,
    targets: Tensor,
    at_most: Reach | None = None,
    divergence: str = "kl",
    *,
    share: Reach | None = None,
    aim: SmallestAim = "latent",
    restarts: int = 0,
    seed: int = 0,
    solver: BoxLBFGS | None = None,
) -> SmallestDistortion:
    """Bring each original's posterior, or its reconstruction, so near to its target's with the least L2 distortion.

    min over d of L2(d) subject to F(x+d) <= w and low <= x + d <= high. F is Delta(q(z|x+d), q(z|t)), or by `aim` the squared
    distance of the reconstruction, as in `vaeaudit.attacks.targeted`, of which this is one point of the curve, met exactly.
    From the original and from the target, C is searched for at which a minimum of F + C * L2(d)^2 has F = w, and the same for
    F^2 in the place of F, whose curve has fewer jumps. The shortest result is refined, and ends on the limit.

    Args:
        ae: the model.
        originals: x, `(pairs, *event)`.
        targets: t, `(pairs, *event)`.
        at_most: w in F's units, positive: one for all pairs or `(pairs,)`. `mean_l2` is a squared distance.
        divergence: Delta, one of `vaeaudit.divergences.DIVERGENCES`; with another aim it is measured only.
        share: w as a share of F(x) instead, between 0 and 1; half the latent distance is a quarter of `mean_l2`.
        aim: F: "latent" for Delta, "output" for L2(r(x+d) - t)^2 of the mean reconstruction.
        restarts: random starts beside the two ends, each tried in both directions.
        seed: of these.
        solver: settings of the optimiser in the last search; by default that of `vaeaudit.attacks.targeted`.

    Raises:
        DataError: originals and targets do not match.
        OptionError: not one of `at_most` and `share`, or one that is not positive; unknown divergence or aim; negative
            restarts.
        GradientError: no gradient reaches the input.
    """
    if restarts < 0:
        raise OptionError(f"restarts expects 0 or more, got {restarts}")
    if aim not in ("latent", "output"):
        raise OptionError(f"unknown aim {aim!r}; smallest_distortion knows latent, output")
    originals, targets = checked_pairs(ae, originals, targets)
    with ae.at_rest(seed):
        goals = aimed(ae, originals, targets, aim, divergence, likelihood="gaussian", samples=1, seed=seed)
        limited = Limited(goal=goals.goal, limits=_limits(goals, at_most, share))
        search = ShortestSearch(restarts=restarts, seed=seed, solver=solver or SOLVER)
        chunks = torch.arange(len(originals), device=originals.device).split(pairs_at_once(originals, search.points))
        parts = [_attacked(goals.select(rows), limited.select(rows), targets[rows], search, aim) for rows in chunks]
    joined = {
        field.name: torch.cat([getattr(part, field.name) for part in parts])
        for field in fields(SmallestDistortion)
        if field.name not in _SHARED
    }
    return SmallestDistortion(**joined, divergence_name=goals.divergence_name, aim=aim)


def _limits(goals: Aimed, at_most: Reach | None, share: Reach | None) -> Tensor:
    """The most F may be for each pair, `(pairs,)`, float64.

    Raises:
        OptionError: not exactly one is given, or not one positive number for all pairs or for each.
    """
    if (at_most is None) == (share is None):
        raise OptionError(
            "smallest_distortion expects either at_most, in the units of the divergence, or share, not both"
        )
    originals = goals.goal.originals
    if at_most is not None:
        return _positive(at_most, "at_most", originals)
    shares = _positive(share, "share", originals)
    if not bool((shares < 1).all()):
        raise OptionError(f"share expects numbers between 0 and 1, got {brief(share)}")
    return shares * goals.goal.of(originals, torch.arange(len(originals), device=originals.device))


def _positive(values: Reach | None, name: str, originals: Tensor) -> Tensor:
    try:
        given = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        given = torch.empty(0)
    fits = given.ndim == 0 or given.shape == (len(originals),)
    if isinstance(values, bool) or not fits or not bool((given.isfinite() & (given > 0)).all()):
        raise OptionError(
            f"{name} expects a positive number for all pairs, or one for each, ({len(originals)},), got {brief(values)}"
        )
    return given.to(originals.device).expand(len(originals)).contiguous()


def _attacked(
    goals: Aimed, limited: Limited, targets: Tensor, search: ShortestSearch, aim: SmallestAim
) -> SmallestDistortion:
    """Attack some of the pairs and measure what was found, as it is after rounding and clipping."""
    originals, bounds = goals.goal.originals, goals.goal.autoencoder.bounds
    found = search.solve(limited, targets)
    moved = torch.where(found.reached[:, None], found.points, 0)
    adversarial = (originals + moved.view_as(originals)).clamp(*bounds)
    rows = torch.arange(len(originals), device=originals.device)
    divergence = goals.latent.of(adversarial, rows)
    objective = divergence if goals.goal is goals.latent else goals.goal.of(adversarial, rows)
    reached = found.reached & (objective <= limited.limits)
    length = (adversarial.double() - originals.double()).flatten(1).norm(dim=1)
    distortion = torch.where(reached, length, torch.inf)
    spans = (targets.double() - originals.double()).flatten(1).norm(dim=1)
    return SmallestDistortion(
        at_most=limited.limits, adversarial=adversarial, distortion=distortion,
        relative_distortion=distortion / spans.clamp_min(torch.finfo(torch.float64).tiny),
        divergence=divergence, objective=objective, reached=reached, converged=reached & found.converged,
        gradient_evaluations=found.evaluations, divergence_name=goals.divergence_name, aim=aim,
    )  # fmt: skip
