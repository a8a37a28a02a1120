"""The targeted latent attack of Tabacof et al. (2016), over a series of the regularising constant C."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaeaudit.attacks.objective import LatentObjective, Penalty, checked_inputs
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import DataError, GradientError, OptionError
from vaeaudit.optimize import BoxLBFGS, Minimum, follow

SOLVER = BoxLBFGS(memory=5, tolerance=1e-4, max_evaluations=1000)
_ELEMENTS = {"cpu": 2**16}
_ELEMENTS_ELSEWHERE = 2**20
_FEW_PAIRS, _MANY_PAIRS = 8, 1024
STATE_BYTES = 2**30
"""Memory for the optimiser's own state; with larger inputs fewer pairs are solved at once."""
AUTOMATIC = 24
OCTAVES = (-9.0, 7.0)
"""Reach of the automatic series around the strength at which going to the target is break-even."""
Strengths = Sequence[float] | Tensor | str | int | None
STRENGTH_SERIES: dict[str, Callable[[], Tensor]] = {
    "tabacof2016": lambda: torch.logspace(-20, 20, 100, base=2, dtype=torch.float64) / 100,
}
"""Named series. Paper A summed the divergence over a batch of 100 copies: its C is 100 times ours."""
EXAMINED = 8
_BYTES_A_VALUE = 40
_BY_PAIR = (
    "adversarial", "distortion", "relative_distortion", "divergence", "objective", "converged", "disagreement",
    "gradient_evaluations",
)  # fmt: skip
_ROUGH: dict[Penalty, float] = {"l2_squared": 1e-2, "l2": 1e-4}
"""Tolerance of the paths. An unsquared norm bends where it is least, and rough paths end far from its minima."""
_FOLLOWED = 4
"""Most strengths that are followed one after the other."""
_ROUNDS = 3
_IMPROVEMENT = 1e-4


@dataclass(frozen=True, kw_only=True)
class TargetedAttack:
    """What the attack found for each pair and strength.

    Attributes:
        strengths: C, ascending, `(strengths,)`.
        adversarial: x + d, inside the bounds, `(pairs, strengths, *event)`.
        distortion: L2(d), input units, `(pairs, strengths)`.
        relative_distortion: L2(d) / L2(x - t), the X of the trade-off curve, `(pairs, strengths)`.
        divergence: Delta(q(z|x+d), q(z|t)), `(pairs, strengths)`.
        objective: Delta + C * P, `(pairs, strengths)`.
        converged: whether the last polish met its tolerance, `(pairs, strengths)`.
        disagreement: by how much the objective of one end's path lay above the other's before either was polished,
            as a fraction of the lower one, `(pairs, strengths)`; large values tell of local minima.
        gradient_evaluations: spent on each pair, `(pairs,)`.
        divergence_name: the divergence used (`kl` becomes `mean_l2` for deterministic codes).
        penalty: the penalty used.
    """

    strengths: Tensor
    adversarial: Tensor
    distortion: Tensor
    relative_distortion: Tensor
    divergence: Tensor
    objective: Tensor
    converged: Tensor
    disagreement: Tensor
    gradient_evaluations: Tensor
    divergence_name: str
    penalty: Penalty


def targeted(
    ae: Autoencoder,
    originals: Tensor,
    targets: Tensor,
    strengths: Strengths = None,
    divergence: str = "kl",
    penalty: Penalty = "l2_squared",
    seed: int = 0,
    *,
    restarts: int = 0,
    precision: Precision | None = None,
    solver: BoxLBFGS | None = None,
) -> TargetedAttack:
    """Move each original's posterior onto its target's with the smallest distortion.

    For every pair and every strength C: min over d of Delta(q(z|x+d), q(z|t)) + C * P(d), subject to
    low <= x + d <= high (Tabacof et al. 2016; definitions D1). The series is first followed roughly from
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
        divergence: Delta, one of `vaeaudit.divergences.DIVERGENCES`.
        penalty: P, "l2_squared" (what paper A ran) or "l2".
        seed: seed of the restarts.
        restarts: random starts beside the two ends.
        precision: in which the rough solutions are looked for, see `Autoencoder.evaluated_in`; they are polished, and
            everything is measured, in the model's own.
        solver: settings of the optimiser; by default `SOLVER`.

    Raises:
        DataError: originals and targets do not match.
        OptionError: unknown divergence or penalty, or unusable strengths.
        GradientError: no gradient reaches the input.
    """
    if restarts < 0:
        raise OptionError(f"restarts expects 0 or more, got {restarts}")
    originals, targets = _checked(ae, originals, targets)
    with ae.at_rest(seed):
        objective, name = _prepare(ae, originals, targets, divergence, penalty)
        series = _series(strengths, objective, targets)
        search = _Search(
            ae=ae, series=series, restarts=restarts, seed=seed, precision=precision, solver=solver or SOLVER
        )
        chunks = torch.arange(len(originals), device=originals.device).split(pairs_at_once(originals, len(series)))
        parts = []
        for rows in chunks:
            some = _rows(objective, rows)
            parts.append(_result(originals[rows], search.solve(some, targets[rows]), some, series, name))
        joined: dict[str, Any] = {key: torch.cat([getattr(part, key) for part in parts]) for key in _BY_PAIR}
        return replace(parts[0], **joined)


def _prepare(
    ae: Autoencoder, originals: Tensor, targets: Tensor, divergence: str, penalty: Penalty
) -> tuple[LatentObjective, str]:
    """The objective of all pairs, and the name of the divergence it uses."""
    ae.examine(targets[:EXAMINED])
    posterior = ae.posteriors(targets)
    name, delta = divergence_named(divergence, deterministic=posterior.log_variance is None)
    spans = (originals - targets).flatten(1).norm(dim=1)
    objective = LatentObjective(
        autoencoder=ae, originals=originals, targets=posterior, spans=spans, divergence=delta, penalty=penalty
    )
    return objective, name


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
    divergence: str = "kl", penalty: Penalty = "l2_squared",
) -> Tensor:  # fmt: skip
    """The series of C that `targeted` would use for these pairs, ascending, `(strengths,)`, float64."""
    originals, targets = _checked(ae, originals, targets)
    with ae.at_rest():
        return _series(strengths, _prepare(ae, originals, targets, divergence, penalty)[0], targets)


def _automatic(objective: LatentObjective, targets: Tensor, count: int) -> Tensor:
    """A log series around the pairs' median break-even strength, ascending, `(count,)`, float64.

    At C = Delta(q(z|x), q(z|t)) / P(t - x) staying and going all the way to the target cost the same.

    Raises:
        GradientError: the encoder does not tell originals from targets.
    """
    pairs = torch.arange(len(targets), device=targets.device)
    apart = (targets - objective.originals).flatten(1)
    stay = objective.divergences_of(objective.originals, pairs)
    centre = (stay / objective.size(apart)).nan_to_num(0, 0, 0).median()
    if not centre > 0:
        raise GradientError(
            "the encoder gives originals and targets the same posterior, so there is nothing to attack: "
            "it ignores its input, or all latent units have collapsed"
        )
    octaves = torch.linspace(*OCTAVES, count, dtype=torch.float64, device=centre.device)
    return centre * 2.0**octaves


def _series(strengths: Strengths, objective: LatentObjective, targets: Tensor) -> Tensor:
    if isinstance(strengths, bool):
        raise OptionError(f"strengths expects numbers C >= 0, how many, or the name of a series, got {strengths}")
    if strengths is None or (isinstance(strengths, (int, np.integer)) and strengths > 0):
        return _automatic(objective, targets, AUTOMATIC if strengths is None else int(strengths))
    if isinstance(strengths, str):
        if strengths not in STRENGTH_SERIES:
            raise OptionError(
                f"unknown strengths {strengths!r}; choose one of {', '.join(STRENGTH_SERIES)}, or pass numbers"
            )
        series = STRENGTH_SERIES[strengths]()
    else:
        series = _numbers(strengths)
    if series.ndim != 1 or len(series) == 0 or not bool((series.isfinite() & (series >= 0)).all()):
        raise OptionError(f"strengths expects a list of finite numbers C >= 0, got {strengths!r}")
    ascending: Tensor = series.unique()
    return ascending.to(targets.device)


def _numbers(strengths: object) -> Tensor:
    try:
        return torch.as_tensor(strengths, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return torch.empty(0)


def _checked(ae: Autoencoder, originals: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if tuple(originals.shape) != tuple(targets.shape):
        raise DataError(
            f"originals and targets expect one shape (pairs, *event), got {tuple(originals.shape)} and {tuple(targets.shape)}"
        )
    return checked_inputs(ae, originals, "originals"), checked_inputs(ae, targets, "targets")


def _rows(objective: LatentObjective, rows: Tensor) -> LatentObjective:
    return replace(
        objective, originals=objective.originals[rows], targets=objective.targets[rows], spans=objective.spans[rows]
    )


@dataclass(kw_only=True)
class _Found:
    """Distortions `(pairs, strengths, n)`; all else `(pairs, strengths)`, and evaluations `(pairs,)`."""

    points: Tensor
    values: Tensor
    converged: Tensor
    disagreement: Tensor
    evaluations: Tensor


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The search for the best distortion of a few pairs at all strengths of a series."""

    ae: Autoencoder
    series: Tensor
    restarts: int
    seed: int
    precision: Precision | None
    solver: BoxLBFGS

    def solve(self, objective: LatentObjective, targets: Tensor) -> _Found:
        """Follow the series from all starts, then polish the best point at each strength."""
        ends, evaluations = self._follow(objective, self._starts(objective, targets))
        values = torch.stack([self._cost_along(objective, end) for end in ends])
        candidates = torch.cat([*ends.unbind(), *self._corners(objective, targets)], 1)
        points, best = self._best(objective, candidates)
        found = _Found(
            points=points, values=best, converged=torch.zeros_like(best, dtype=torch.bool),
            disagreement=_disagreement(values[:2]), evaluations=evaluations,
        )  # fmt: skip
        todo = torch.ones_like(found.converged)
        for _ in range(_ROUNDS):
            self._polish(objective, found, todo)
            better, lowest = self._best(objective, found.points)
            todo = lowest < found.values * (1 - _IMPROVEMENT)
            found.points = torch.where(todo[..., None], better, found.points)
            found.values = torch.where(todo, lowest, found.values)
            if not bool(todo.any()):
                break
        found.converged &= ~todo
        return found

    def _corners(self, objective: LatentObjective, targets: Tensor) -> tuple[Tensor, Tensor]:
        """No distortion, and all the way to the target, each `(pairs, 1, n)`."""
        apart = (targets - objective.originals).flatten(1)[:, None]
        return torch.zeros_like(apart), apart

    def _starts(self, objective: LatentObjective, targets: Tensor) -> Tensor:
        """The original, the target, and random points as far away, `(starts, pairs, n)`."""
        stay, apart = (corner[:, 0] for corner in self._corners(objective, targets))
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.restarts, apart.shape[1], generator=generator, dtype=torch.float64).to(apart)
        noise = noise / noise.norm(dim=1, keepdim=True).clamp_min(1e-12)
        low, high = self._box(objective)
        wander = (noise[:, None] * apart.norm(dim=1, keepdim=True)).clamp(low, high)
        return torch.cat([stay[None], apart[None], wander])

    def _box(self, objective: LatentObjective) -> tuple[Tensor, Tensor]:
        flat = objective.originals.flatten(1)
        low, high = self.ae.bounds
        return (low - flat).clamp(max=0), (high - flat).clamp(min=0)

    def _follow(self, objective: LatentObjective, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Rough solutions along the series from every start, `(starts, pairs, strengths, n)`, and evaluations a pair.

        From the original and from random points the series is followed downwards, from the target upwards. It is
        cut into short segments, each of which starts anew: long paths end in fewer different minima, and leave
        the device waiting for the last of them. How it is cut depends on the series alone.
        """
        count, pairs, n = starts.shape
        order = self._order(upwards=torch.arange(count, device=starts.device) == 1)
        segments, length = order.shape[1:]
        order = order[:, None].expand(-1, pairs, -1, -1).reshape(-1, length)
        visited = order >= 0
        strengths = torch.where(visited, self.series[order], torch.nan)
        rows = torch.arange(pairs, device=starts.device)[None, :, None].expand(count, -1, segments).flatten()
        begin = starts[:, :, None].expand(-1, -1, segments, -1).reshape(-1, n)
        tolerance = max(self.solver.tolerance, _ROUGH[objective.penalty])
        rough = replace(self.solver, tolerance=tolerance, patience=min(self.solver.patience, 2))
        with self.ae.evaluated_in(self.precision):
            minimum = self._minimize(objective, begin, rows, strengths, rough)
        points = torch.empty(count * pairs, len(self.series), n, dtype=starts.dtype, device=starts.device)
        path = torch.arange(count * pairs, device=starts.device).repeat_interleave(segments)
        points[path[:, None].expand_as(order)[visited], order[visited]] = minimum.point[visited]
        spent = torch.zeros_like(rows[:pairs]).index_add(0, rows, minimum.evaluations.sum(1))
        return points.view(count, pairs, len(self.series), n), spent

    def _order(self, upwards: Tensor) -> Tensor:
        """Indices into the series as each start's segments visit them, `(starts, segments, longest)`; -1 past an end."""
        count, device = len(self.series), self.series.device
        segments = -(-count // _FOLLOWED)
        length = -(-count // segments)
        first = torch.arange(0, segments * length, length, device=device)[:, None]
        sizes, steps = (count - first).clamp(0, length), torch.arange(length, device=device)
        order = torch.where(upwards[:, None, None], first + steps, first + sizes - 1 - steps)
        return torch.where(steps < sizes, order, -1)

    def _polish(self, objective: LatentObjective, found: _Found, todo: Tensor) -> None:
        """Improve the points in question in place; none gets worse."""
        pair, strength = torch.nonzero(todo, as_tuple=True)
        start, strengths = found.points[pair, strength], self.series[strength]
        minimum = self._minimize(objective, start, pair, strengths[:, None], self.solver)
        point, value = minimum.point[:, 0], minimum.value[:, 0]
        if objective.penalty == "l2":  # the optimiser saw it rounded off at zero
            inputs = objective.originals[pair] + point.view_as(objective.originals[pair])
            value = objective.divergences_of(inputs, pair) + strengths * objective.size(point)
        better = value <= found.values[pair, strength]
        found.points[pair, strength] = torch.where(better[:, None], point, start)
        found.values[pair, strength] = torch.where(better, value, found.values[pair, strength])
        found.converged[pair, strength] = minimum.converged[:, 0]
        found.evaluations.index_add_(0, pair, minimum.evaluations[:, 0])

    def _minimize(
        self, objective: LatentObjective, start: Tensor, pairs: Tensor, strengths: Tensor, solver: BoxLBFGS
    ) -> Minimum:
        low, high = self._box(objective)
        return follow(
            lambda points, problem: objective.divergence_with_gradient(points, pairs[problem]),
            start, low[pairs], high[pairs], strengths, solver,
            penalty=lambda squares, problem: objective.smooth_penalty(squares, pairs[problem]),
        )  # fmt: skip

    def _cost_along(self, objective: LatentObjective, points: Tensor) -> Tensor:
        """The objective of points `(pairs, strengths, n)`, each at its own strength."""
        return self._divergences(objective, points) + self.series * objective.size(points)

    def _best(self, objective: LatentObjective, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """For each strength the candidate of least objective, `(pairs, strengths, n)`, and its value."""
        delta = self._divergences(objective, candidates)
        cost = delta[:, None] + self.series[None, :, None] * objective.size(candidates)[:, None]
        value, index = cost.nan_to_num(math.inf, math.inf).min(2)
        return candidates.gather(1, index[..., None].expand(-1, -1, candidates.shape[2])), value

    def _divergences(self, objective: LatentObjective, points: Tensor) -> Tensor:
        pairs, count, _ = points.shape
        rows = torch.arange(pairs, device=points.device).repeat_interleave(count)
        inputs = objective.originals[rows] + points.reshape(pairs * count, *objective.originals.shape[1:])
        return objective.divergences_of(inputs, rows).view(pairs, count)


def _disagreement(values: Tensor) -> Tensor:
    """By how much the worse of two objectives exceeds the better, as a fraction of it, `(pairs, strengths)`."""
    better, worse = values.amin(0), values.amax(0)
    return ((worse - better) / better.clamp_min(torch.finfo(better.dtype).tiny)).nan_to_num(0, math.inf)


def _result(originals: Tensor, found: _Found, objective: LatentObjective, series: Tensor, name: str) -> TargetedAttack:
    """Measure the images that were found, as they are after rounding and clipping."""
    low, high = objective.autoencoder.bounds
    shape = (*found.values.shape, *originals.shape[1:])
    adversarial = (originals[:, None] + found.points.view(shape)).clamp(low, high)
    moved = (adversarial.double() - originals[:, None].double()).flatten(2)
    distortion = moved.norm(dim=2)
    rows = torch.arange(len(originals), device=originals.device).repeat_interleave(len(series))
    divergence = objective.divergences_of(adversarial.flatten(0, 1), rows).reshape(distortion.shape)
    spans = objective.spans.double()[:, None]
    return TargetedAttack(
        strengths=series, adversarial=adversarial, distortion=distortion,
        relative_distortion=distortion / spans.clamp_min(torch.finfo(torch.float64).tiny),
        divergence=divergence, objective=divergence + series * objective.size(moved),
        converged=found.converged & found.values.isfinite(), disagreement=found.disagreement,
        gradient_evaluations=found.evaluations,
        divergence_name=name, penalty=objective.penalty,
    )  # fmt: skip
