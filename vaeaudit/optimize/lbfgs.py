"""Batched limited-memory quasi-Newton minimisation in a box: one independent path of problems a row.

A row minimises f(x) + w P(|x|^2) for one weight w after another, each from the solution of the one before
and with what it has learnt of f's curvature; rows neither wait for each other nor influence each other. Each
tick evaluates every row in flight once, at that row's own trial point: a row whose trial is accepted moves
on, one whose trial is refused takes a shorter and more cautious step. Coordinates that rest on a bound and
are pushed against it are held; the step is that of `vaeaudit.optimize.curvature` on all others, projected
onto the box, which makes it a two-metric projection (Bertsekas 1982) with an exact subspace minimisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.errors import OptionError
from vaeaudit.optimize.flight import (
    BUDGET,
    DECREASE,
    GRADIENT,
    NON_FINITE,
    RUNNING,
    STUCK,
    Flight,
    Minimum,
    Renew,
    State,
    Steer,
)

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(points (rows, n), problem (rows,)) -> (values (rows,) float64, gradients (rows, n))`."""
Penalty = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""P and its derivative at |x|^2: `(squares (rows,), problem (rows,)) -> (values (rows,), slopes (rows,))`, float64."""

ARMIJO = 1e-4
REFUSALS = 10
"""Trials refused in a row after which the direction is given up."""
_DOUBTFUL = 4
"""Trials refused in a row after which the objective counts as steep in all directions that no pair tells of."""
LOOK_EVERY = 4
"""Ticks between two looks at which rows have finished, away from the CPU: the only host-device synchronisation."""
_CAUTIOUS = 0.1
"""Length of a step without any memory, as a share of the box's diagonal."""
_FLATTEST = 1e-30
_EASED, _RAISED = 0.85, 3.0
"""Factors on the damping after a step that succeeds at once, and after a refusal. Halved after every success, it is refused
at every third trial; at 0.85 a path takes an eighth fewer evaluations and comes as far."""


@dataclass(frozen=True, kw_only=True)
class BoxLBFGS:
    """Settings of the solver.

    Attributes:
        memory: correction pairs kept a row.
        max_evaluations: gradient evaluations that a row may spend on one problem.
        tolerance: a problem is solved when `patience` accepted steps one after the other each lower
            the objective by less than this fraction of it; a fraction below rounding counts as rounding.
        patience: see `tolerance`.
    """

    memory: int = 8
    max_evaluations: int = 500
    tolerance: float = 1e-6
    patience: int = 3

    def __post_init__(self) -> None:
        for name, smallest in (("memory", 1), ("max_evaluations", 1), ("patience", 1)):
            if getattr(self, name) < smallest:
                raise OptionError(f"{name} expects at least {smallest}, got {getattr(self, name)}")
        if not 0 < self.tolerance < 1:
            raise OptionError(f"tolerance expects a number between 0 and 1, got {self.tolerance}")


def squared(squares: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty |x|^2."""
    return squares, torch.ones_like(squares)


def minimize(
    objective: Objective, start: Tensor, lower: Tensor, upper: Tensor, solver: BoxLBFGS | None = None
) -> Minimum:
    """Minimise each row's objective over its own box.

    Args:
        objective: value and gradient at each row's point; `problem` tells which rows are asked for,
            since rows enter and leave the batch. Rows must not influence each other.
        start: starting points, `(rows, n)`; clipped into the box.
        lower: lower bounds, `(rows, n)`.
        upper: upper bounds, `(rows, n)`.
        solver: settings.

    Returns:
        For each row the point it came to, its value, why it stopped and what it cost.
    """
    path = follow(objective, start, lower, upper, torch.zeros_like(start[:, :1], dtype=torch.float64), solver)
    return Minimum(
        point=path.point[:, 0], value=path.value[:, 0], reason=path.reason[:, 0], evaluations=path.evaluations[:, 0]
    )


def follow(
    objective: Objective, start: Tensor, lower: Tensor, upper: Tensor, weights: Tensor,
    solver: BoxLBFGS | None = None, *, penalty: Penalty = squared, steer: Steer | None = None,
    renew: Renew | None = None,
) -> Minimum:  # fmt: skip
    """Minimise each row's objective plus a weighted penalty, for one weight after another.

    Args:
        objective: as for `minimize`, without the penalty.
        start: starting points, `(rows, n)`; clipped into the box.
        lower: lower bounds, `(rows, n)`.
        upper: upper bounds, `(rows, n)`.
        weights: of the penalty, in the order in which each row takes them, at least 0, `(rows, weights)`, float64;
            NaN ends a row's path early.
        solver: settings.
        penalty: P, a function of the squared length.
        steer: chooses each next weight by what was found at the last, instead of `weights`, of which the first column
            then tells where to begin, and the number of columns how many a path has at most.
        renew: asked whenever paths have ended which ones are to be followed once more, from other starts. What was found on
            a path is then overwritten, and evaluations add up. Rows that it starts go before those that wait.

    Returns:
        For each row and weight the point it came to, its value, why it stopped and what it cost.
    """
    solver = solver or BoxLBFGS()
    shape = weights.shape
    found = Minimum(
        point=start.new_zeros(*shape, start.shape[1]), value=torch.full_like(weights, torch.inf),
        reason=torch.full(shape, NON_FINITE, device=start.device),
        evaluations=torch.zeros(shape, dtype=torch.long, device=start.device),
    )  # fmt: skip
    flight = Flight(
        start=start, lower=lower, upper=upper, weights=weights, found=found, memory=solver.memory, steer=steer, renew=renew
    )  # fmt: skip
    state = flight.begin()
    look_every = 1 if start.device.type == "cpu" else LOOK_EVERY
    tick = 0
    while len(state.problem):
        _tick(objective, penalty, state, solver)
        tick += 1
        if tick % look_every == 0:
            state = flight.look(state)
    return found


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What one tick tried; every field has one entry a row.

    Attributes:
        point, value, gradient: where, and the objective there without the penalty.
        size, slope: the penalty there and its derivative, without the weight.
        total: the objective there with the penalty.
        moved: the step to it, after projection.
        fall: what a straight line would make of the step, below 0 downhill.
        finite: whether value and gradient are.
        accepted, refused: neither for rows that have finished; a first evaluation is never refused.
        lost: refused, and nothing is to be gained in this direction: at every length, or less than rounding.
        plain: whether the step goes along the gradient alone.
        steepest: an upper estimate of the curvature.
        vanished: whether the gradient vanishes on all coordinates that may move.
    """

    point: Tensor
    value: Tensor
    gradient: Tensor
    size: Tensor
    slope: Tensor
    total: Tensor
    moved: Tensor
    fall: Tensor
    finite: Tensor
    accepted: Tensor
    refused: Tensor
    lost: Tensor
    plain: Tensor
    steepest: Tensor
    vanished: Tensor


def _tick(objective: Objective, penalty: Penalty, state: State, solver: BoxLBFGS) -> None:
    """Evaluate one trial point a row; accept it and turn, or take a more cautious step."""
    trial = _tried(objective, penalty, state)
    _judge(state, trial, solver)
    state.curvature.remember(trial.moved, trial.gradient - state.gradient, trial.accepted & ~state.fresh)
    _caution(state, trial)
    for name in ("point", "gradient", "value", "size", "slope", "total"):
        old, new = getattr(state, name), getattr(trial, name)
        setattr(state, name, torch.where(trial.accepted.view(-1, *[1] * (old.ndim - 1)), new, old))
    state.fresh = state.fresh & ~trial.accepted


def _tried(objective: Objective, penalty: Penalty, state: State) -> _Trial:
    running = state.reason == RUNNING
    shift = 2 * state.weight * state.slope
    gradient = torch.addcmul(state.gradient, state.point, shift.to(state.point.dtype)[:, None])
    free = _free(state.point, gradient, state.lower, state.upper)
    reduced = gradient * free
    direction, plain, steepest = _direction(state, reduced, free, shift)
    point = torch.addcmul(state.point, direction, state.step.to(direction.dtype)[:, None])
    point = point.clamp_(state.lower, state.upper)
    value, new_gradient = objective(point, state.problem)
    state.evaluations += running
    moved = point - state.point
    fall = _dots(gradient, moved).double()
    size, slope = penalty(_dots(point, point).double(), state.problem)
    total = torch.addcmul(value, state.weight, size)
    finite = value.isfinite() & new_gradient.sum(1).isfinite()
    slack = torch.finfo(point.dtype).eps * state.value.abs()
    descends = (fall < 0) & (total <= state.total + ARMIJO * fall + slack)
    accepted = running & finite & (state.fresh | descends)
    refused = running & ~(accepted | state.fresh)
    return _Trial(
        point=point, value=value, gradient=new_gradient, size=size, slope=slope, total=total, moved=moved, fall=fall,
        finite=finite, accepted=accepted, refused=refused,
        lost=refused & ((state.refused >= REFUSALS) | (fall >= 0) | (-fall <= slack)), plain=plain, steepest=steepest,
        vanished=running & ~state.fresh & (reduced.abs().sum(1) == 0),
    )  # fmt: skip


def _free(point: Tensor, gradient: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """1 where a coordinate moves down the gradient, 0 where it rests on the bound that it is pushed against, `(rows, n)`."""
    # arithmetic alone: comparisons and where() of whole batches take a CPU several times as long
    furthest = torch.add(point, gradient, alpha=-torch.finfo(point.dtype).max).clamp_(lower, upper)
    return furthest.sub_(point).sign_().abs_()


def _direction(state: State, reduced: Tensor, free: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The step to try, which rows go along the gradient alone, and the upper estimate of the curvature.

    In directions that no pair tells of, the objective may be as flat as the penalty or as steep as anywhere:
    the damping between the two falls with every step that succeeds at once and rises with every refusal.
    """
    model = state.curvature.shifted(shift)
    cautious = _lengths(reduced) / (_CAUTIOUS * state.width).clamp_min(_FLATTEST)
    steepest = torch.where(model.known, model.steepest, torch.maximum(cautious, shift)).clamp_min(_FLATTEST)
    damping = torch.where(state.damping.isnan(), steepest, state.damping)
    state.damping = torch.where(state.fresh | (state.reason != RUNNING), state.damping, damping)
    theta = (shift + damping).clamp_min(1e-12 * steepest)
    doubtful = (state.refused >= _DOUBTFUL) | ~model.known
    direction = model.step(reduced, free, torch.where(doubtful, torch.maximum(theta, steepest), theta))
    plain = ~model.known | (_dots(direction, reduced) >= 0)
    along = reduced / -steepest.to(reduced.dtype)[:, None]
    return torch.where(plain[:, None], along, direction), plain, steepest


def _lengths(rows: Tensor) -> Tensor:
    """Lengths of rows, `(rows,)`, float64, of rows too whose squares overflow in their own precision."""
    length, wide = (torch.linalg.vector_norm(rows, dim=1, dtype=kind).double() for kind in (rows.dtype, torch.float64))
    return torch.where(length.isfinite(), length, wide)


def _dots(rows: Tensor, others: Tensor) -> Tensor:
    """Inner products of rows, `(rows,)`, which on a CPU round the same in every company."""
    # threads share out the sum of a row that is alone, and of no other
    several = (rows, others) if len(rows) != 1 else (rows.expand(2, -1), others.expand(2, -1))
    products: Tensor = torch.linalg.vecdot(*several)[: len(rows)]
    return products


def _judge(state: State, trial: _Trial, solver: BoxLBFGS) -> None:
    """Say which problems are solved or given up."""
    running = state.reason == RUNNING
    tolerance = max(solver.tolerance, torch.finfo(state.point.dtype).eps)
    small = state.total - trial.total <= tolerance * trial.total.abs()
    state.settled = torch.where(trial.accepted & ~state.fresh, (state.settled + 1) * small, state.settled)
    for reason, holds in (
        (BUDGET, running & (state.evaluations >= solver.max_evaluations)),
        (STUCK, trial.lost & trial.plain),
        (DECREASE, trial.accepted & (state.settled >= solver.patience)),
        (GRADIENT, trial.vanished),
        (NON_FINITE, running & state.fresh & ~trial.finite),
    ):
        state.reason = state.reason.masked_fill(holds, reason)


def _caution(state: State, trial: _Trial) -> None:
    """Set the length of the next step and the damping; a direction that is lost is forgotten, and its pairs with it.

    Lengths are found by quadratic interpolation, held between a twentieth and a half of the last one.
    """
    accepted, refused = trial.accepted, trial.refused
    lost = trial.lost & ~trial.plain
    anew = accepted | lost
    curvature = 2 * (trial.total - state.total - trial.fall)
    factor = torch.where(trial.finite & (curvature > 0), -trial.fall / curvature, 0.1).nan_to_num(0.1).clamp(0.05, 0.5)
    state.step = torch.where(refused, state.step * factor, state.step).masked_fill(anew, 1.0)
    at_once = accepted & (state.refused == 0) & ~state.fresh
    raised = torch.minimum(torch.maximum(state.damping, 1e-3 * trial.steepest) * _RAISED, trial.steepest)
    damping = torch.where(at_once, _EASED * state.damping, torch.where(refused, raised, state.damping))
    state.damping = damping.masked_fill(lost, torch.nan)
    state.refused = (state.refused + refused).masked_fill(anew, 0)
    state.curvature.forget(lost)
