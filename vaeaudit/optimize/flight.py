"""Which problems a batch holds: rows that have solved theirs go on, leave, or make place for those that wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vaeaudit.optimize.curvature import Curvature

Steer = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From what was solved, `(problem (rows,), weights (rows,), points (rows, n), objectives f (rows,))`, to the next weights
`(rows,)`; NaN ends a path."""
Renew = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From paths that have ended, `(problem (rows,), points (rows, n), objectives f (rows,), converged (rows,))`, to those that
are to be followed once more, and where they start: `(problem (others,), points (others, n))`."""

IN_FLIGHT = {"cpu": 256}
IN_FLIGHT_ELSEWHERE = 2**14
STATE_BYTES = 2**30
"""Memory for the rows in flight; the others wait for a place."""
VACANT, RUNNING, DECREASE, GRADIENT, STUCK, BUDGET, NON_FINITE = range(-1, 6)
REASONS = (
    "running",
    "the objective no longer decreases",
    "the projected gradient vanishes",
    "no step along the gradient decreases the objective further at this precision",
    "the budget of evaluations ran out: raise max_evaluations",
    "the objective is not finite at the start",
)


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
        return _converged(self.reason)


@dataclass(kw_only=True)
class State:
    """The rows in flight; every field has one entry a row.

    Attributes:
        problem, stage: which path, and at which of its weights.
        weight: of the penalty.
        lower, upper, width: the box, and the length of its diagonal.
        point, value, gradient: the last accepted point, and f there.
        size, slope: the penalty there and its derivative, without the weight.
        total: the objective there; infinite before the first evaluation.
        fresh: whether nothing has been evaluated yet.
        curvature: what is remembered.
        step: length of the next step, 1 for the model's own.
        damping: curvature in directions that no pair tells of, beside the penalty's; NaN where nothing is known of it.
        refused: trials refused in a row.
        settled: accepted steps in a row that hardly lowered the objective.
        evaluations: at this weight.
        reason: index into `REASONS`; `VACANT` for a place that nobody has.
    """

    problem: Tensor
    stage: Tensor
    weight: Tensor
    lower: Tensor
    upper: Tensor
    width: Tensor
    point: Tensor
    value: Tensor
    gradient: Tensor
    size: Tensor
    slope: Tensor
    total: Tensor
    fresh: Tensor
    curvature: Curvature
    step: Tensor
    damping: Tensor
    refused: Tensor
    settled: Tensor
    evaluations: Tensor
    reason: Tensor

    def select(self, rows: Tensor) -> State:
        """These rows alone."""
        return State(**{
            f.name: getattr(self, f.name).select(rows) if f.name == "curvature" else getattr(self, f.name)[rows]
            for f in fields(self)
        })  # fmt: skip

    def put(self, places: Tensor, rows: State) -> None:
        """Let other rows, which remember nothing yet, take these places."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(rows, field.name)
            if field.name == "curvature":
                mine.age[places] = 0
                mine.newest[places] = 0
            else:
                mine[places] = theirs

    def joined(self, rows: State) -> State:
        """With other rows behind."""
        parts = {field.name: (getattr(self, field.name), getattr(rows, field.name)) for field in fields(self)}
        curvature, others = parts.pop("curvature")
        return State(curvature=curvature.joined(others), **{name: torch.cat(both) for name, both in parts.items()})


@dataclass(kw_only=True)
class Flight:
    """The problems of `vaeaudit.optimize.follow`: those in flight, those that wait, and what has come of the others.

    Attributes:
        start, lower, upper, weights: of `follow`, one row a problem.
        found: what has come of them, written as they are solved.
        memory: correction pairs a row.
        steer, renew: of `follow`.
    """

    start: Tensor
    lower: Tensor
    upper: Tensor
    weights: Tensor
    found: Minimum
    memory: int
    steer: Steer | None
    renew: Renew | None

    def __post_init__(self) -> None:
        self._waiting = torch.arange(len(self.start), device=self.start.device)
        if self.renew is not None:
            self.start = self.start.clone()
        most = IN_FLIGHT.get(self.start.device.type, IN_FLIGHT_ELSEWHERE)
        row = (3 * self.memory + 16) * self.start.shape[1] * self.start.element_size()
        self._places = max(1, min(most, STATE_BYTES // max(row, 1)))

    def begin(self) -> State:
        """The first rows."""
        return self._enter(self._places, self.memory)

    def look(self, state: State) -> State:
        """Write solved problems out, let their rows go on or leave, and fill the places that fall free."""
        solved = torch.nonzero(state.reason > RUNNING)[:, 0]
        if not len(solved):
            return state
        self._write(state, solved)
        stage = state.stage[solved] + 1
        ahead = self._ahead(state, solved, stage)
        goes_on = ~ahead.isnan() & (state.reason[solved] != NON_FINITE)
        free = solved[~goes_on]
        if self.renew is not None and len(free):
            self._wait_again(self.renew, state, free)
        _advance(state, solved[goes_on], stage[goes_on], ahead[goes_on])
        state.reason[free] = VACANT
        vacant = torch.nonzero(state.reason == VACANT)[:, 0]
        taken = min(len(vacant), len(self._waiting))
        if taken:
            state.put(vacant[:taken], self._enter(taken, memory=0))
        running = torch.nonzero(state.reason == RUNNING)[:, 0]
        if len(running) < 0.8 * len(state.problem) or not len(running):
            state = state.select(running)
        more = min(self._places - len(state.problem), len(self._waiting))
        return state.joined(self._enter(more, self.memory)) if more > 0 else state

    def _wait_again(self, renew: Renew, state: State, ended: Tensor) -> None:
        """Paths to be followed once more go before those that wait: others may wait for what comes of them."""
        problem = state.problem[ended]
        again, start = renew(problem, state.point[ended], state.value[ended], _converged(state.reason[ended]))
        self.start[again] = start
        self._waiting = torch.cat([again, self._waiting])

    def _enter(self, count: int, memory: int) -> State:
        """The first of those that wait, with room for so many pairs; those that take over a place have its room."""
        rows, self._waiting = self._waiting[:count], self._waiting[count:]
        zeros = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        lower, upper = self.lower[rows], self.upper[rows]
        point = self.start[rows].clamp(lower, upper)
        return State(
            problem=rows, stage=torch.zeros_like(rows), weight=self.weights[rows, 0], lower=lower, upper=upper,
            width=torch.linalg.vector_norm((upper - lower).clamp(max=1), dim=1).double(), point=point,
            value=zeros + torch.inf, gradient=torch.zeros_like(point), size=zeros, slope=zeros, total=zeros + torch.inf,
            fresh=torch.ones_like(rows, dtype=torch.bool), curvature=Curvature.none(point, memory), step=zeros,
            damping=zeros + torch.nan, refused=torch.zeros_like(rows), settled=torch.zeros_like(rows),
            evaluations=torch.zeros_like(rows), reason=torch.full_like(rows, RUNNING),
        )  # fmt: skip

    def _ahead(self, state: State, solved: Tensor, stage: Tensor) -> Tensor:
        """The weight at which each solved row goes on, NaN where it does not."""
        last = self.weights.shape[1] - 1
        ahead = self.weights[state.problem[solved], stage.clamp_max(last)]
        if self.steer is not None:
            ahead = self.steer(state.problem[solved], state.weight[solved], state.point[solved], state.value[solved])
        return torch.where(stage <= last, ahead, torch.nan)

    def _write(self, state: State, solved: Tensor) -> None:
        at = state.problem[solved], state.stage[solved]
        self.found.point[at] = state.point[solved]
        self.found.value[at] = torch.where(state.reason[solved] == NON_FINITE, torch.inf, state.total[solved])
        self.found.reason[at] = state.reason[solved]
        self.found.evaluations[at] += state.evaluations[solved]


def _advance(state: State, rows: Tensor, stage: Tensor, weight: Tensor) -> None:
    """Let rows go on to their next weight, with all that they remember."""
    state.stage[rows] = stage
    state.weight[rows] = weight
    state.total[rows] = state.value[rows] + weight * state.size[rows]
    state.step[rows] = 1.0
    for counter in (state.refused, state.settled, state.evaluations):
        counter[rows] = 0
    state.reason[rows] = RUNNING


def _converged(reason: Tensor) -> Tensor:
    return (reason == DECREASE) | (reason == GRADIENT) | (reason == STUCK)
