"""The targeted attacks over a series of the regularising constant C (Tabacof et al. 2016, Gondim-Ribeiro et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vaeaudit.attacks.aims import Aim, Aimed, aimed, checked_pairs
from vaeaudit.attacks.exchange import ROUNDS
from vaeaudit.attacks.following import Followed, SeriesSearch
from vaeaudit.attacks.goals import Likelihood
from vaeaudit.attacks.penalised import Penalised, Penalty
from vaeaudit.attacks.strengths import Strengths, series_of
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.errors import OptionError
from vaeaudit.optimize import BoxLBFGS

SOLVER = BoxLBFGS(memory=5, tolerance=1e-4, max_evaluations=1000)
_ELEMENTS = {"cpu": 2**16}
_ELEMENTS_ELSEWHERE = 2**20
_FEW_PAIRS, _MANY_PAIRS = 16, 1024
STATE_BYTES = 2**30
"""Memory for the optimiser's own state; with larger inputs fewer pairs are solved at once."""
_BYTES_A_VALUE = 40
_SHARED = ("strengths", "divergence_name", "penalty", "aim")


@dataclass(frozen=True, kw_only=True)
class TargetedAttack:
    """What the attack found for each pair and strength.

    Attributes:
        strengths: C, ascending, `(strengths,)`.
        adversarial: x + d, inside the bounds, `(pairs, strengths, *event)`.
        distortion: L2(d), input units, `(pairs, strengths)`.
        relative_distortion: L2(d) / L2(x - t), the X of the trade-off curve, `(pairs, strengths)`.
        divergence: Delta(q(z|x+d), q(z|t)), whatever the aim, `(pairs, strengths)`.
        gap: F, what was brought down beside the penalty: Delta, L2(r(x+d) - t)^2, or the target's negative ELBO,
            `(pairs, strengths)`.
        objective: F + C * P, `(pairs, strengths)`.
        converged: whether the last polish met its tolerance, `(pairs, strengths)`.
        disagreement: by how much the objective of one end's path lay above the other's before either was polished,
            as a fraction of the lower one, `(pairs, strengths)`; large values tell of local minima.
        gradient_evaluations: spent on each pair, `(pairs,)`.
        divergence_name: the divergence used (`kl` becomes `mean_l2` for deterministic codes).
        penalty: the penalty used.
        aim: "latent", "output" or "elbo".
    """

    strengths: Tensor
    adversarial: Tensor
    distortion: Tensor
    relative_distortion: Tensor
    divergence: Tensor
    gap: Tensor
    objective: Tensor
    converged: Tensor
    disagreement: Tensor
    gradient_evaluations: Tensor
    divergence_name: str
    penalty: Penalty
    aim: Aim


def targeted(
    ae: Autoencoder,
    originals: Tensor,
    targets: Tensor,
    strengths: Strengths = None,
    divergence: str = "kl",
    penalty: Penalty = "l2_squared",
    seed: int = 0,
    *,
    aim: Aim = "latent",
    likelihood: Likelihood = "gaussian",
    samples: int = 16,
    restarts: int = 0,
    precision: Precision | None = None,
    solver: BoxLBFGS | None = None,
    rounds: int = ROUNDS,
) -> TargetedAttack:
    """Move each original's posterior, or its reconstruction, onto its target's with the smallest distortion.

    For every pair and every strength C: min over d of F(x+d) + C * P(d), subject to low <= x + d <= high. F is
    Delta(q(z|x+d), q(z|t)) (Tabacof et al. 2016; definitions D1), or by `aim` the distance of the reconstruction
    (row 10) or the target's negative ELBO (row 11). The series is first followed roughly from
    both ends: downwards from the original (paper A's start) and upwards from the target, each strength from
    the solution of the one before. A solution found at one strength is a candidate at all others, at no cost,
    since only the factor of its penalty changes; each strength is then polished from its best candidate, until
    no candidate improves on another.

    Args:
        ae: the model.
        originals: x, `(pairs, *event)`.
        targets: t, `(pairs, *event)`.
        strengths: the series of C; or how many values the automatic series has (None: 24);
            or the name of a series, "tabacof2016".
        divergence: Delta, one of `vaeaudit.divergences.DIVERGENCES`; with another aim it is measured only.
        penalty: P, "l2_squared" (what paper A ran) or "l2".
        seed: seed of the restarts, and of the noise of `aim="elbo"`.
        aim: F: "latent" for Delta, "output" for L2(r(x+d) - t)^2 of the mean reconstruction, "elbo" for
            -E log p(t|z) + KL(q(z|x+d) || N(0, 1)).
        likelihood: of `aim="elbo"`: "gaussian", of the spread that the decoder returns or else of variance 1, or
            "bernoulli", where inputs and reconstructions are probabilities.
        samples: of `aim="elbo"`: posterior samples, whose noise is each pair's own and stays the same.
        restarts: random starts beside the two ends.
        precision: in which the rough solutions are looked for, see `Autoencoder.evaluated_in`; they are polished, and
            everything is measured, in the model's own.
        solver: settings of the optimiser; by default `SOLVER`.
        rounds: most polishes of a strength, at least 1; another one's solution may be the better start for the next.

    Raises:
        DataError: originals and targets do not match.
        OptionError: unknown divergence, penalty, aim or likelihood, one that this model has no use for, or unusable
            strengths.
        GradientError: no gradient reaches the input.
    """
    if restarts < 0:
        raise OptionError(f"restarts expects 0 or more, got {restarts}")
    if rounds < 1:
        raise OptionError(f"rounds expects 1 or more, got {rounds}")
    originals, targets = checked_pairs(ae, originals, targets)
    with ae.at_rest(seed):
        goals = aimed(ae, originals, targets, aim, divergence, likelihood=likelihood, samples=samples, seed=seed)
        objective = _penalised(goals, targets, penalty)
        series = series_of(strengths, objective, targets)
        search = SeriesSearch(
            ae=ae, series=series, restarts=restarts, seed=seed, precision=precision, solver=solver or SOLVER,
            rounds=rounds,
        )  # fmt: skip
        chunks = torch.arange(len(originals), device=originals.device).split(pairs_at_once(originals, len(series)))
        parts = []
        for rows in chunks:
            some = objective.select(rows)
            parts.append(_result(goals.select(rows), search.solve(some, targets[rows]), some, series))
        joined: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0]) if name not in _SHARED
        }
        return replace(parts[0], **joined)


def _penalised(goals: Aimed, targets: Tensor, penalty: Penalty) -> Penalised:
    spans = (goals.goal.originals - targets).flatten(1).norm(dim=1)
    return Penalised(goal=goals.goal, spans=spans, penalty=penalty)


def pairs_at_once(images: Tensor, strengths: int) -> int:
    """Pairs whose problems are solved in one batch: wide for small inputs, few where each keeps the device busy.

    Args:
        images: like the pairs' own, `(any, *event)`, where they are attacked.
        strengths: of the series.
    """
    n = images[0].numel()
    wide = _ELEMENTS.get(images.device.type, _ELEMENTS_ELSEWHERE) // n
    return max(1, min(max(wide, _FEW_PAIRS), _MANY_PAIRS, STATE_BYTES // (_BYTES_A_VALUE * n * strengths)))


def strength_series(
    ae: Autoencoder, originals: Tensor, targets: Tensor, strengths: Strengths = None, *,
    divergence: str = "kl", penalty: Penalty = "l2_squared", aim: Aim = "latent",
    likelihood: Likelihood = "gaussian", samples: int = 16, seed: int = 0,
) -> Tensor:  # fmt: skip
    """The series of C that `targeted` would use for these pairs, ascending, `(strengths,)`, float64."""
    originals, targets = checked_pairs(ae, originals, targets)
    with ae.at_rest():
        goals = aimed(ae, originals, targets, aim, divergence, likelihood=likelihood, samples=samples, seed=seed)
        return series_of(strengths, _penalised(goals, targets, penalty), targets)


def _result(goals: Aimed, found: Followed, objective: Penalised, series: Tensor) -> TargetedAttack:
    """Measure the images that were found, as they are after rounding and clipping."""
    originals, low_high = objective.originals, goals.goal.autoencoder.bounds
    shape = (*found.values.shape, *originals.shape[1:])
    adversarial = (originals[:, None] + found.points.view(shape)).clamp(*low_high)
    moved = (adversarial.double() - originals[:, None].double()).flatten(2)
    distortion = moved.norm(dim=2)
    rows = torch.arange(len(originals), device=originals.device).repeat_interleave(len(series))
    divergence = goals.latent.of(adversarial.flatten(0, 1), rows).reshape(distortion.shape)
    same = goals.goal is goals.latent
    gap = divergence if same else goals.goal.of(adversarial.flatten(0, 1), rows).reshape(distortion.shape)
    spans = objective.spans.double()[:, None]
    return TargetedAttack(
        strengths=series, adversarial=adversarial, distortion=distortion,
        relative_distortion=distortion / spans.clamp_min(torch.finfo(torch.float64).tiny),
        divergence=divergence, gap=gap, objective=gap + series * objective.size(moved),
        converged=found.converged & found.values.isfinite(), disagreement=found.disagreement,
        gradient_evaluations=found.evaluations,
        divergence_name=goals.divergence_name, penalty=objective.penalty, aim=goals.aim,
    )  # fmt: skip
