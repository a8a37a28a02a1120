"""The search behind the attacks inside a ball: every image at every budget, from several starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor

from vaeaudit.attacks.balls import Norm, farthest, lengthened, projection, room, steepest
from vaeaudit.attacks.goals import Goal
from vaeaudit.attacks.twins import WithoutTwins
from vaeaudit.attacks.watched import WatchedGoal
from vaeaudit.errors import DataError, OptionError
from vaeaudit.optimize import BoxLBFGS, ascend, minimize

_LINEAR = 0.02
"""Share of the smallest budget at which the model counts as linear."""
CONVERGED = 1e-3
"""A climb has converged when it last gained less than this fraction of what it reached."""
STATE_BYTES = 2**30
"""Memory for the climbs' own state; with larger images fewer climb at once."""
_COPIES = 40
_MEMORY, _TOLERANCE = 5, 1e-5


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """The best that was found.

    Attributes:
        distortions: d, `(images, budgets, n)`.
        converged: whether the search had settled, `(images, budgets)`.
        evaluations: of gradients, spent on each image, `(images,)`.
        non_finite: whether the goal or its gradient was NaN or infinite somewhere in the ball, `(images, budgets)`; such
            points count as no better than any other unless the goal is infinitely good there.
    """

    distortions: Tensor
    converged: Tensor
    evaluations: Tensor
    non_finite: Tensor


def check_effort(name: str, steps: int, restarts: int) -> None:
    """Refuse what is no effort.

    Raises:
        OptionError: fewer than one step, or than no restarts.
    """
    if steps < 1 or restarts < 0:
        raise OptionError(f"{name} expects steps >= 1 and restarts >= 0, got {steps} and {restarts}")


def random_starts(images: Tensor, restarts: int, seed: int) -> Tensor:
    """Directions of unit length and their opposites, the same for all images, `(2 * restarts, images, n)`."""
    n = images[0].numel()
    noise = torch.randn(restarts, n, generator=torch.Generator().manual_seed(seed))
    noise = noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True)
    return torch.cat([noise, -noise]).to(images)[:, None].expand(-1, len(images), -1)


def given_starts(images: Tensor, starts: Tensor, radii: Tensor) -> Tensor:
    """Starts that a caller hands over, `(starts, images, n)` or `(starts, images, budgets, n)`.

    Raises:
        DataError: they have another shape.
    """
    event = tuple(images.shape[1:])
    shape = tuple(starts.shape[1:])
    plain, by_budget = (len(images), *event), (len(images), len(radii), *event)
    if shape not in (plain, by_budget):
        raise DataError(
            f"starts expect the shape (starts, images, *event) {('any', *plain)} or (starts, images, budgets, *event) "
            f"{('any', *by_budget)}, got {tuple(starts.shape)}"
        )
    return starts.detach().to(images).flatten(-len(event)) if event else starts.detach().to(images)[..., None]


def at_budgets(starts: Sequence[Tensor], budgets: int) -> Tensor:
    """Starts of both shapes as one, `(starts, images, budgets, n)`."""
    return torch.cat([some if some.ndim == 4 else some[:, :, None].expand(-1, -1, budgets, -1) for some in starts])


def climb(goal: Goal, radii: Tensor, norm: Norm, starts: Tensor, *, steps: int, towards: int = 1) -> Climbed:
    """Bring a goal as high, or as low, as each budget allows.

    Each ball starts from the best of the given starts, of what the smaller ball found, and of both stretched to
    its rim, so that no larger budget ends worse than a smaller one. Where the goal is to be raised, a first climb
    inside a tiny ball, in which the model is as good as linear, is a power iteration towards the leading direction
    of the goal's local metric.

    Args:
        goal: of each image.
        radii: budgets, ascending, `(budgets,)`.
        norm: "l2" or "linf".
        starts: distortions or mere directions, `(starts, images, budgets, n)`.
        steps: gradient evaluations for each start and budget, beside the first.
        towards: 1 to raise the goal, -1 to lower it.

    Returns:
        The best of all starts.
    """
    images = goal.originals
    a_row = starts.shape[0] * starts.shape[3] * images.element_size() * _COPIES
    chunks = torch.arange(len(images), device=images.device).split(max(1, STATE_BYTES // a_row))
    parts = [
        _Climb(goal=WatchedGoal(goal.select(rows)), radii=radii, norm=norm, steps=steps, towards=towards).run(
            starts[:, rows]
        )
        for rows in chunks
    ]
    return Climbed(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Climbed)})


@dataclass(frozen=True, kw_only=True, eq=False)
class _End:
    """Where a search ended; every field has one entry a row."""

    point: Tensor
    value: Tensor
    settled: Tensor
    evaluations: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Climb:
    """A row is one start of one image; the images of the first start come first."""

    goal: WatchedGoal
    radii: Tensor
    norm: Norm
    steps: int
    towards: int

    def run(self, starts: Tensor) -> Climbed:
        count, images = starts.shape[:2]
        problem = torch.arange(images, device=starts.device).repeat(count)
        low, high = (side.repeat(count, 1) for side in room(self.goal.autoencoder, self.goal.originals))
        spent = torch.zeros(images, dtype=torch.long, device=starts.device)
        here, found, settled, broken = None, [], [], []
        rounds = [*enumerate(self.radii)]
        if self.towards > 0:
            rounds = [(0, _LINEAR * self.radii[0]), *rounds]
        for budget, reach in rounds:
            radius = reach.expand(len(problem))
            start = self._best_start(starts[:, :, budget].flatten(0, 1), here, problem, radius, low, high)
            end = self._search(start, problem, radius, low, high)
            spent = spent.index_add(0, problem, end.evaluations)
            here = end.point
            top = end.value.view(count, images).nan_to_num(torch.inf).argmin(0) * images + problem[:images]
            found.append(end.point[top])
            settled.append(end.settled[top])
            broken.append(self.goal.non_finite)
        budgets = len(self.radii)
        return Climbed(
            distortions=torch.stack(found[-budgets:], 1),
            converged=torch.stack(settled[-budgets:], 1),
            evaluations=spent,
            non_finite=torch.stack(broken[-budgets:], 1),
        )

    def _search(self, start: Tensor, problem: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> _End:
        """Where every row's search inside its ball ends; the value is that of minimisation.

        A cube inside the bounds is a box, in which a goal that is nearly quadratic where it is low, as
        divergences are near the target, is lowered best with what is learnt of its curvature. Raising a goal
        leads to the rim, where projected steps do as well and get caught less.
        """
        if self.norm == "linf" and self.towards < 0:
            lower, upper = torch.maximum(low, -radius[:, None]), torch.minimum(high, radius[:, None])
            solver = BoxLBFGS(memory=_MEMORY, tolerance=_TOLERANCE, max_evaluations=self.steps + 1)
            lowest = minimize(
                lambda points, row: self.goal.with_gradient(points, problem[row]), start, lower, upper, solver
            )
            return _End(
                point=lowest.point, value=lowest.value, settled=lowest.converged, evaluations=lowest.evaluations
            )
        rising = partial(self._rising, problem=problem)
        alone = self.towards < 0 and len(self.radii) == 1
        twins = WithoutTwins(self._rising, problem, radius) if alone else None
        highest = ascend(
            twins or rising, start, radius,
            project=partial(projection(self.norm), radius=radius, lower=low, upper=high),
            steepest=steepest(self.norm), steps=self.steps,
        )  # fmt: skip
        return _End(
            point=highest.point, value=-highest.value, settled=highest.last_gain < CONVERGED,
            evaluations=torch.full_like(problem, self.steps + 1) if twins is None else twins.evaluations,
        )  # fmt: skip

    def _rising(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = self.goal.with_gradient(points, problem)
        return (value, gradient) if self.towards > 0 else (-value, -gradient)

    def _best_start(
        self, given: Tensor, here: Tensor | None, problem: Tensor, radius: Tensor, low: Tensor, high: Tensor
    ) -> Tensor:
        """The most promising point of the ball on the way of either, `(rows, n)`."""
        ways = [given] if here is None else [given, here]
        candidates = [projection(self.norm)(way, radius, low, high) for way in ways]
        candidates += [lengthened(way, radius, low, high, self.norm) for way in ways]
        if self.norm == "linf":
            candidates += [farthest(way, radius, low, high, self.norm) for way in ways]
        values = torch.stack([self.towards * self.goal.at(points, problem) for points in candidates])
        best = values.nan_to_num(-torch.inf).argmax(0)
        return torch.stack(candidates)[best, torch.arange(len(given), device=given.device)]
