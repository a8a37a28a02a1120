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
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vaeaudit.errors import OptionError
from vaeaudit.optimize.curvature import Curvature

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(points (rows, n), problem (rows,)) -> (values (rows,) float64, gradients (rows, n))`."""
Penalty = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""P and its derivative at |x|^2: `(squares (rows,), problem (rows,)) -> (values (rows,), slopes (rows,))`, float64."""
Steer = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From what was solved, `(problem (rows,), weights (rows,), points (rows, n), objectives f (rows,))`, to the next weights
`(rows,)`; NaN ends a path."""

ARMIJO = 1e-4
REFUSALS = 10
"""Trials refused in a row after which the direction is given up."""
_DOUBTFUL = 4
"""Trials refused in a row after which the objective counts as steep in all directions that no pair tells of."""
LOOK_EVERY = 4
"""Ticks between two looks at which rows have finished, away from the CPU: the only host-device synchronisation."""
IN_FLIGHT = {"cpu": 256}
IN_FLIGHT_ELSEWHERE = 2**14
STATE_BYTES = 2**30
"""Memory for the rows in flight; the others wait for a place."""
RUNNING, DECREASE, GRADIENT, STUCK, BUDGET, NON_FINITE = range(6)
REASONS = (
    "running",
    "the objective no longer decreases",
    "the projected gradient vanishes",
    "no step along the gradient decreases the objective further at this precision",
    "the budget of evaluations ran out: raise max_evaluations",
    "the objective is not finite at the start",
)
_CAUTIOUS = 0.1
"""Length of a step without any memory, as a share of the box's diagonal."""
_FLATTEST = 1e-30


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


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """What came of each problem; `...` is `rows`, or `rows, weights` along a path.

    Attributes:
        point: last accepted point, at most a rounding error above the best seen, `(..., n)`.
        value: objective there, `(...)`, float64.
        reason: why it stopped, index into `REASONS`, `(...)`.
        evaluations: gradient evaluations spent, `(...)`.
    """

    point: Tensor
    value: Tensor
    reason: Tensor
    evaluations: Tensor

    @property
    def converged(self) -> Tensor:
        """Problems that stopped for a reason other than an exhausted budget, `(...)`."""
        return (self.reason == DECREASE) | (self.reason == GRADIENT) | (self.reason == STUCK)


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
    flight = _Flight(
        start=start, lower=lower, upper=upper, weights=weights, found=found, memory=solver.memory,
        places=_places(start, solver.memory), steer=steer,
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


def _places(start: Tensor, memory: int) -> int:
    most = IN_FLIGHT.get(start.device.type, IN_FLIGHT_ELSEWHERE)
    row = (3 * memory + 16) * start.shape[1] * start.element_size()
    return max(1, min(most, STATE_BYTES // max(row, 1)))


@dataclass(kw_only=True)
class _State:
    """The rows in flight; every field has one entry a row."""

    problem: Tensor
    stage: Tensor
    weight: Tensor
    lower: Tensor
    upper: Tensor
    width: Tensor
    point: Tensor
    value: Tensor
    gradient: Tensor
    fresh: Tensor
    curvature: Curvature
    step: Tensor
    damping: Tensor
    refused: Tensor
    settled: Tensor
    evaluations: Tensor
    total: Tensor
    reason: Tensor

    def select(self, rows: Tensor) -> _State:
        return _State(**{
            f.name: getattr(self, f.name).select(rows) if f.name == "curvature" else getattr(self, f.name)[rows]
            for f in fields(self)
        })  # fmt: skip

    def put(self, places: Tensor, rows: _State) -> None:
        """Let other rows take these places."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(rows, field.name)
            if field.name == "curvature":
                mine.age[places] = 0
                mine.newest[places] = 0
            else:
                mine[places] = theirs


@dataclass(kw_only=True)
class _Flight:
    """Which rows are in flight: those that finish make place for those that wait."""

    start: Tensor
    lower: Tensor
    upper: Tensor
    weights: Tensor
    found: Minimum
    memory: int
    places: int
    steer: Steer | None
    entered: int = 0

    def begin(self) -> _State:
        rows = self._next(self.places)
        return self._rows(rows, Curvature.none(self.start[rows], self.memory))

    def _next(self, count: int) -> Tensor:
        first, self.entered = self.entered, min(self.entered + count, len(self.start))
        return torch.arange(first, self.entered, device=self.start.device)

    def _rows(self, rows: Tensor, curvature: Curvature) -> _State:
        zeros = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        lower, upper = self.lower[rows], self.upper[rows]
        point = self.start[rows].clamp(lower, upper)
        return _State(
            problem=rows, stage=torch.zeros_like(rows), weight=self.weights[rows, 0], lower=lower, upper=upper,
            width=torch.linalg.vector_norm((upper - lower).clamp(max=1), dim=1).double(), point=point,
            value=zeros + torch.inf, gradient=torch.zeros_like(point), fresh=torch.ones_like(rows, dtype=torch.bool),
            curvature=curvature, step=zeros, damping=zeros + torch.nan, refused=torch.zeros_like(rows),
            settled=torch.zeros_like(rows), evaluations=torch.zeros_like(rows), total=zeros + torch.inf,
            reason=torch.full_like(rows, RUNNING),
        )  # fmt: skip

    def look(self, state: _State) -> _State:
        """Write solved problems out, let their rows go on or leave, and fill the places that fall free."""
        solved = torch.nonzero(state.reason != RUNNING)[:, 0]
        if not len(solved):
            return state
        self._write(state, solved)
        stage = state.stage[solved] + 1
        ahead = self._ahead(state, solved, stage)
        goes_on = ~ahead.isnan() & (state.reason[solved] != NON_FINITE)
        self._advance(state, solved[goes_on], stage[goes_on], ahead[goes_on])
        free = solved[~goes_on]
        rows = self._next(len(free))
        if len(rows):
            state.put(free[: len(rows)], self._rows(rows, state.curvature))
        running = torch.nonzero(state.reason == RUNNING)[:, 0]
        return state.select(running) if len(running) < 0.8 * len(state.problem) or not len(running) else state

    def _ahead(self, state: _State, solved: Tensor, stage: Tensor) -> Tensor:
        """The weight at which each solved row goes on, NaN where it does not."""
        last = self.weights.shape[1] - 1
        ahead = self.weights[state.problem[solved], stage.clamp_max(last)]
        if self.steer is not None:
            ahead = self.steer(state.problem[solved], state.weight[solved], state.point[solved], state.value[solved])
        return torch.where(stage <= last, ahead, torch.nan)

    def _write(self, state: _State, solved: Tensor) -> None:
        at = state.problem[solved], state.stage[solved]
        self.found.point[at] = state.point[solved]
        self.found.value[at] = torch.where(state.reason[solved] == NON_FINITE, torch.inf, state.total[solved])
        self.found.reason[at] = state.reason[solved]
        self.found.evaluations[at] = state.evaluations[solved]

    def _advance(self, state: _State, rows: Tensor, stage: Tensor, weight: Tensor) -> None:
        state.stage[rows] = stage
        state.weight[rows] = weight
        state.step[rows] = 1.0
        for counter in (state.refused, state.settled, state.evaluations):
            counter[rows] = 0
        state.reason[rows] = RUNNING


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What one tick tried; every field has one entry a row.

    Attributes:
        point, value, gradient: where, and the objective there without the penalty.
        moved: the step to it, after projection.
        total: the objective there with the penalty.
        fall: what a straight line would make of the step, below 0 downhill.
        slack: how much the objective may rise by rounding.
        finite: whether value and gradient are.
        accepted, refused: neither for rows that have finished; a first evaluation is never refused.
        plain: whether the step goes along the gradient alone.
        steepest: an upper estimate of the curvature.
        vanished: whether the gradient vanishes on all coordinates that may move.
    """

    point: Tensor
    value: Tensor
    gradient: Tensor
    moved: Tensor
    total: Tensor
    fall: Tensor
    slack: Tensor
    finite: Tensor
    accepted: Tensor
    refused: Tensor
    plain: Tensor
    steepest: Tensor
    vanished: Tensor


def _tick(objective: Objective, penalty: Penalty, state: _State, solver: BoxLBFGS) -> None:
    """Evaluate one trial point a row; accept it and turn, or take a more cautious step."""
    trial = _tried(objective, penalty, state)
    _judge(state, trial, solver)
    state.curvature.remember(trial.moved, trial.gradient - state.gradient, trial.accepted & ~state.fresh)
    _caution(state, trial)
    keep = trial.accepted[:, None]
    state.point = torch.where(keep, trial.point, state.point)
    state.gradient = torch.where(keep, trial.gradient, state.gradient)
    state.value = torch.where(trial.accepted, trial.value, state.value)
    state.total = torch.where(trial.accepted, trial.total, state.total)
    state.fresh = state.fresh & ~trial.accepted


def _tried(objective: Objective, penalty: Penalty, state: _State) -> _Trial:
    running = state.reason == RUNNING
    size, slope = penalty(_squares(state.point), state.problem)
    state.total = torch.where(state.fresh, torch.inf, state.value + state.weight * size)
    shift = 2 * state.weight * slope
    gradient = torch.addcmul(state.gradient, state.point, shift.to(state.point.dtype)[:, None])
    free = _free(state.point, gradient, state.lower, state.upper)
    reduced = gradient * free
    direction, plain, steepest = _direction(state, reduced, free, shift)
    point = torch.addcmul(state.point, direction, state.step.to(direction.dtype)[:, None])
    point = torch.minimum(torch.maximum(point, state.lower), state.upper)
    value, new_gradient = objective(point, state.problem)
    state.evaluations += running
    moved = point - state.point
    fall = torch.linalg.vecdot(gradient, moved).double()
    total = value + state.weight * penalty(_squares(point), state.problem)[0]
    finite = value.isfinite() & new_gradient.sum(1).isfinite()
    slack = torch.finfo(point.dtype).eps * state.value.abs()
    descends = (fall < 0) & (total <= state.total + ARMIJO * fall + slack)
    accepted = running & finite & (state.fresh | descends)
    return _Trial(
        point=point, value=value, gradient=new_gradient, moved=moved, total=total, fall=fall, slack=slack,
        finite=finite, accepted=accepted, refused=running & ~accepted & ~state.fresh, plain=plain, steepest=steepest,
        vanished=running & ~state.fresh & (reduced == 0).all(1),
    )  # fmt: skip


def _squares(points: Tensor) -> Tensor:
    squares: Tensor = torch.linalg.vecdot(points, points).double()
    return squares


def _free(point: Tensor, gradient: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """1 where a coordinate may move, 0 where it is pushed against the bound it rests on, `(rows, n)`."""
    held = ((point <= lower) & (gradient >= 0)) | ((point >= upper) & (gradient <= 0))
    return (~held).to(point.dtype)


def _direction(state: _State, reduced: Tensor, free: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The step to try, which rows go along the gradient alone, and the upper estimate of the curvature.

    In directions that no pair tells of, the objective may be as flat as the penalty or as steep as anywhere:
    the damping between the two falls with every step that succeeds at once and rises with every refusal.
    """
    model = state.curvature.shifted(shift)
    cautious = torch.linalg.vector_norm(reduced, dim=1).double() / (_CAUTIOUS * state.width).clamp_min(_FLATTEST)
    steepest = torch.where(model.known, model.steepest, torch.maximum(cautious, shift)).clamp_min(_FLATTEST)
    damping = torch.where(state.damping.isnan(), steepest, state.damping)
    state.damping = torch.where(state.fresh | (state.reason != RUNNING), state.damping, damping)
    theta = (shift + damping).clamp_min(1e-12 * steepest)
    doubtful = (state.refused >= _DOUBTFUL) | ~model.known
    direction = model.step(reduced, free, torch.where(doubtful, torch.maximum(theta, steepest), theta))
    plain = ~model.known | (torch.linalg.vecdot(direction, reduced) >= 0)
    along = reduced / -steepest.to(reduced.dtype)[:, None]
    return torch.where(plain[:, None], along, direction), plain, steepest


def _judge(state: _State, trial: _Trial, solver: BoxLBFGS) -> None:
    """Say which problems are solved or given up."""
    running = state.reason == RUNNING
    tolerance = max(solver.tolerance, torch.finfo(state.point.dtype).eps)
    small = state.total - trial.total <= tolerance * trial.total.abs()
    state.settled = torch.where(trial.accepted & ~state.fresh, torch.where(small, state.settled + 1, 0), state.settled)
    spent = running & (state.evaluations >= solver.max_evaluations)
    for reason, holds in (
        (BUDGET, spent),
        (STUCK, trial.refused & trial.plain & _is_lost(state, trial)),
        (DECREASE, trial.accepted & (state.settled >= solver.patience)),
        (GRADIENT, trial.vanished),
        (NON_FINITE, running & state.fresh & ~trial.finite),
    ):
        state.reason = torch.where(holds, reason, state.reason)


def _is_lost(state: _State, trial: _Trial) -> Tensor:
    """Directions along which nothing is to be gained: refused at every length, or by less than rounding."""
    return (state.refused >= REFUSALS) | (trial.fall >= 0) | (-trial.fall <= trial.slack)


def _caution(state: _State, trial: _Trial) -> None:
    """Set the length of the next step and the damping; a direction that is lost is forgotten, and its pairs with it.

    Lengths are found by quadratic interpolation, held between a twentieth and a half of the last one.
    """
    accepted, refused = trial.accepted, trial.refused
    lost = refused & ~trial.plain & _is_lost(state, trial)
    curvature = 2 * (trial.total - state.total - trial.fall)
    factor = torch.where(trial.finite & (curvature > 0), -trial.fall / curvature, 0.1).nan_to_num(0.1).clamp(0.05, 0.5)
    at_once = accepted & (state.refused == 0) & ~state.fresh
    raised = torch.minimum(torch.maximum(state.damping, 1e-3 * trial.steepest) * 3, trial.steepest)
    damping = torch.where(at_once, 0.5 * state.damping, torch.where(refused, raised, state.damping))
    state.curvature.forget(lost)
    state.damping = torch.where(lost, torch.nan, damping)
    state.step = torch.where(accepted | lost, 1.0, torch.where(refused, state.step * factor, state.step))
    state.refused = torch.where(accepted | lost, 0, state.refused + refused)
