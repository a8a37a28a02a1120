"""Batched limited-memory quasi-Newton minimisation in a box: one independent problem a row.

Each tick evaluates every unfinished row once, at that row's own trial point; a row whose trial is
accepted moves on, one whose trial is refused shortens its step. The direction is the projected
quasi-Newton step of Bertsekas (1982): coordinates that rest on a bound and are pushed against it
are held, and the inverse BFGS matrix is built on the free ones alone, in the compact form of
Byrd, Nocedal and Schnabel (1994, eq. 3.1), whose small matrices are solved in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vaeaudit.errors import OptionError

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(points (rows, n), problem (rows,)) -> (values (rows,) float64, gradients (rows, n))`."""

ARMIJO = 1e-4
CURVATURE = 1e-8
COMPACT_EVERY = 4
"""Ticks between two looks at which rows have finished: the only host-device synchronisation."""
RUNNING, DECREASE, GRADIENT, STUCK, BUDGET, NON_FINITE = range(6)
REASONS = (
    "running",
    "the objective no longer decreases",
    "the projected gradient vanishes",
    "no step along the gradient decreases the objective further at this precision",
    "the budget of evaluations ran out: raise max_evaluations",
    "the objective is not finite at the start",
)


@dataclass(frozen=True, kw_only=True)
class BoxLBFGS:
    """Settings of the solver.

    Attributes:
        memory: correction pairs kept a row.
        max_evaluations: gradient evaluations a row may spend.
        tolerance: a row has converged when its objective fell by less than this fraction
            over `patience` accepted steps, or when its projected gradient is this fraction
            of the gradient it started with.
        patience: see `tolerance`.
    """

    memory: int = 8
    max_evaluations: int = 500
    tolerance: float = 1e-6
    patience: int = 6

    def __post_init__(self) -> None:
        for name, smallest in (("memory", 1), ("max_evaluations", 1), ("patience", 1)):
            if getattr(self, name) < smallest:
                raise OptionError(f"{name} expects at least {smallest}, got {getattr(self, name)}")
        if not 0 < self.tolerance < 1:
            raise OptionError(f"tolerance expects a number between 0 and 1, got {self.tolerance}")


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """What came of each row.

    Attributes:
        point: last accepted point, at most a rounding error above the best seen, `(rows, n)`.
        value: objective there, `(rows,)`, float64.
        reason: why the row stopped, index into `REASONS`, `(rows,)`.
        evaluations: gradient evaluations spent, `(rows,)`.
    """

    point: Tensor
    value: Tensor
    reason: Tensor
    evaluations: Tensor

    @property
    def converged(self) -> Tensor:
        """Rows that stopped for a reason other than an exhausted budget, `(rows,)`."""
        return (self.reason == DECREASE) | (self.reason == GRADIENT) | (self.reason == STUCK)


@dataclass(kw_only=True)
class _State:
    """The unfinished rows; every field has one entry a row."""

    problem: Tensor
    lower: Tensor
    upper: Tensor
    point: Tensor
    value: Tensor
    gradient: Tensor
    direction: Tensor
    step: Tensor
    s: Tensor
    y: Tensor
    age: Tensor
    newest: Tensor
    recent: Tensor
    scale: Tensor
    steepest: Tensor
    evaluations: Tensor
    reason: Tensor

    def select(self, rows: Tensor) -> _State:
        return _State(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def minimize(
    objective: Objective, start: Tensor, lower: Tensor, upper: Tensor, solver: BoxLBFGS | None = None
) -> Minimum:
    """Minimise each row's objective over its own box.

    Args:
        objective: value and gradient at each row's point; `problem` tells which rows are asked for,
            since finished rows leave the batch. Rows must not influence each other.
        start: starting points, `(rows, n)`; clipped into the box.
        lower: lower bounds, `(rows, n)`.
        upper: upper bounds, `(rows, n)`.
        solver: settings.

    Returns:
        For each row the point it came to, its value, why it stopped and what it cost.
    """
    solver = solver or BoxLBFGS()
    state = _begin(objective, start, lower, upper, solver)
    best = Minimum(
        point=state.point.clone(), value=state.value.clone(),
        reason=state.reason.clone(), evaluations=state.evaluations.clone(),
    )  # fmt: skip
    tick = 0
    while len(state.problem):
        _tick(objective, state, solver)
        tick += 1
        if tick % COMPACT_EVERY == 0:
            state = _retire(state, best)
    return best


def _begin(objective: Objective, start: Tensor, lower: Tensor, upper: Tensor, solver: BoxLBFGS) -> _State:
    rows, n = start.shape
    problem = torch.arange(rows, device=start.device)
    point = start.clamp(lower, upper)
    value, gradient = objective(point, problem)
    memory = start.new_zeros(rows, solver.memory, n)
    flat = start.new_zeros(rows, dtype=torch.float64)
    finite = value.isfinite() & gradient.isfinite().all(1)
    state = _State(
        problem=problem, lower=lower, upper=upper, point=point, value=value, gradient=gradient,
        direction=torch.zeros_like(point), step=torch.ones_like(flat),
        s=memory, y=memory.clone(), age=torch.zeros(rows, solver.memory, dtype=torch.long, device=start.device),
        newest=torch.zeros_like(problem), recent=value[:, None].repeat(1, solver.patience),
        scale=_projected(point, gradient, lower, upper), steepest=torch.ones_like(finite),
        evaluations=torch.ones_like(problem), reason=torch.where(finite, RUNNING, NON_FINITE),
    )  # fmt: skip
    state.reason = torch.where(finite & (state.scale == 0), GRADIENT, state.reason)
    _set_direction(state, torch.ones_like(finite), torch.zeros_like(finite))
    return state


def _projected(point: Tensor, gradient: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Largest entry of the gradient over coordinates that may still move, `(rows,)`."""
    return torch.where(_free(point, gradient, lower, upper), gradient, 0).abs().amax(1).double()


def _free(point: Tensor, gradient: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return ~(((point <= lower) & (gradient >= 0)) | ((point >= upper) & (gradient <= 0)))


def _tick(objective: Objective, state: _State, solver: BoxLBFGS) -> None:
    """Evaluate one trial point a row; accept it and turn, or shorten the step."""
    trial = (state.point + state.step[:, None].to(state.point.dtype) * state.direction).clamp(state.lower, state.upper)
    value, gradient = objective(trial, state.problem)
    running = state.reason == RUNNING
    state.evaluations += running
    moved = trial - state.point
    slope = (state.gradient.double() * moved.double()).sum(1)
    slack = torch.finfo(trial.dtype).eps * state.value.abs()
    finite = value.isfinite() & gradient.isfinite().all(1)
    accepted = running & finite & (slope < 0) & (value <= state.value + ARMIJO * slope + slack)
    forget = _shorten(state, running & ~accepted, value, slope, finite)
    _remember(state, accepted, moved, gradient)
    _advance(state, accepted, trial, value, gradient)
    _judge(state, accepted, solver)
    _set_direction(state, accepted | forget, forget)


def _shorten(state: _State, refused: Tensor, value: Tensor, slope: Tensor, finite: Tensor) -> Tensor:
    """Quadratic interpolation, held between a tenth and a half of the last step.

    A row whose quasi-Newton direction fails at every length falls back on steepest descent once;
    returns these rows, `(rows,)`.
    """
    curvature = 2 * (value - state.value - slope)
    factor = torch.where(finite & (curvature > 0), -slope / curvature, 0.1).nan_to_num(0.1).clamp(0.01, 0.5)
    state.step = torch.where(refused, state.step * factor, state.step)
    hopeless = refused & ((state.step < 1e-8) | (slope >= 0))
    state.reason = torch.where(hopeless & state.steepest, STUCK, state.reason)
    forget = hopeless & ~state.steepest
    state.age = torch.where(forget[:, None], 0, state.age)
    return forget


def _remember(state: _State, accepted: Tensor, moved: Tensor, gradient: Tensor) -> None:
    """Put the new pair in the place of the oldest one."""
    change = gradient - state.gradient
    product = (moved * change).sum(1)
    useful = accepted & (product > CURVATURE * moved.norm(dim=1) * change.norm(dim=1))
    slot = state.age.argmin(1)
    rows = torch.arange(len(slot), device=slot.device)
    unit = change.norm(dim=1).clamp_min(torch.finfo(change.dtype).tiny)[:, None]
    keep = ~useful
    state.s[rows, slot] = torch.where(keep[:, None], state.s[rows, slot], moved / unit)
    state.y[rows, slot] = torch.where(keep[:, None], state.y[rows, slot], change / unit)
    state.newest = state.newest + useful
    state.age[rows, slot] = torch.where(keep, state.age[rows, slot], state.newest)


def _advance(state: _State, accepted: Tensor, trial: Tensor, value: Tensor, gradient: Tensor) -> None:
    state.point = torch.where(accepted[:, None], trial, state.point)
    state.gradient = torch.where(accepted[:, None], gradient, state.gradient)
    state.value = torch.where(accepted, value, state.value)
    state.recent = torch.where(
        accepted[:, None], torch.cat([state.recent[:, 1:], state.value[:, None]], 1), state.recent
    )
    state.step = torch.where(accepted, 1.0, state.step)


def _judge(state: _State, accepted: Tensor, solver: BoxLBFGS) -> None:
    first, last = state.recent[:, 0], state.recent[:, -1]
    settled = first - last <= solver.tolerance * torch.maximum(first.abs(), last.abs())
    flat = _projected(state.point, state.gradient, state.lower, state.upper) <= solver.tolerance * state.scale
    settled &= state.newest >= solver.patience
    running = state.reason == RUNNING
    state.reason = torch.where(running & accepted & settled, DECREASE, state.reason)
    state.reason = torch.where(running & accepted & flat, GRADIENT, state.reason)
    spent = (state.reason == RUNNING) & (state.evaluations >= solver.max_evaluations)
    state.reason = torch.where(spent, BUDGET, state.reason)


def _set_direction(state: _State, turning: Tensor, forget: Tensor) -> None:
    """New directions for the rows that turn; a row without memory starts at a cautious length."""
    free = _free(state.point, state.gradient, state.lower, state.upper)
    reduced = torch.where(free, state.gradient, 0)
    direction = -torch.where(free, _inverse_hessian_times(state, free, reduced), 0)
    uphill = (direction * reduced).sum(1) >= 0
    plain = (state.newest == 0) | uphill | forget
    direction = torch.where(plain[:, None], -reduced, direction)
    state.direction = torch.where(turning[:, None], direction, state.direction)
    width = (state.upper - state.lower).clamp(max=1).norm(dim=1).double()
    length = reduced.norm(dim=1).double().clamp_min(1e-300)
    state.step = torch.where(turning & plain, torch.minimum(0.1 * width, torch.ones_like(width)) / length, state.step)
    state.steepest = torch.where(turning, plain, state.steepest)


def _inverse_hessian_times(state: _State, free: Tensor, vector: Tensor) -> Tensor:
    """Compact inverse BFGS matrix on the free coordinates, times `vector`, `(rows, n)`."""
    order = state.age.argsort(1)
    masked = state.s * free[:, None]
    sy = (masked @ state.y.mT).double()
    yy = ((state.y * free[:, None]) @ state.y.mT).double()
    # vector on the left: with one row alone, matrix times vector would round differently than in company
    sg = (vector[:, None] @ masked.mT).double()[:, 0]
    yg = (vector[:, None] @ state.y.mT).double()[:, 0]
    left, right, gamma = _compact_coefficients(order, state.age.gather(1, order) > 0, sy, yy, sg, yg)
    dtype = vector.dtype
    correction = (left[:, None].to(dtype) @ state.s + right[:, None].to(dtype) @ state.y)[:, 0]
    return gamma[:, None].to(dtype) * vector + correction


def _compact_coefficients(
    order: Tensor, used: Tensor, sy: Tensor, yy: Tensor, sg: Tensor, yg: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the stored s and y in H @ g, in storage order, and the scaling gamma of H's start."""
    across = order[:, :, None].expand_as(sy)
    down = order[:, None, :].expand_as(sy)
    sy, yy = sy.gather(1, across).gather(2, down), yy.gather(1, across).gather(2, down)
    sg, yg = sg.gather(1, order), yg.gather(1, order)
    diagonal, squares = sy.diagonal(dim1=1, dim2=2), yy.diagonal(dim1=1, dim2=2)
    used = used & (diagonal > CURVATURE * squares.clamp_min(1e-30))
    pair = used[:, :, None] & used[:, None, :]
    upper = torch.where(pair, sy.triu(), 0)
    upper = upper + torch.diag_embed(torch.where(used, 0.0, 1.0).to(upper.dtype))
    sg, yg = torch.where(used, sg, 0), torch.where(used, yg, 0)
    last = (used * torch.arange(1, used.shape[1] + 1, device=used.device)).argmax(1, keepdim=True)
    any_used = used.any(1)
    gamma = torch.where(any_used, (diagonal / squares.clamp_min(1e-30)).gather(1, last)[:, 0], 1.0)
    middle = torch.diag_embed(torch.where(used, diagonal, 0)) + gamma[:, None, None] * torch.where(pair, yy, 0)
    p = torch.linalg.solve_triangular(upper, sg[:, :, None], upper=True)
    inner = middle @ p - gamma[:, None, None] * yg[:, :, None]
    on_s = torch.linalg.solve_triangular(upper.mT, inner, upper=False)[..., 0]
    on_y = -gamma[:, None] * p[..., 0]
    zeros = torch.zeros_like(on_s)
    return zeros.scatter(1, order, on_s), zeros.scatter(1, order, on_y), gamma


def _retire(state: _State, best: Minimum) -> _State:
    """Write every row's current point out, and keep only the rows that still run."""
    best.point[state.problem] = state.point
    best.value[state.problem] = state.value
    best.reason[state.problem] = state.reason
    best.evaluations[state.problem] = state.evaluations
    running = torch.nonzero(state.reason == RUNNING)[:, 0]
    return state if len(running) > 0.8 * len(state.problem) else state.select(running)
