"""A goal that remembers where the model broke down: a search never takes NaN for better, so its figures hold none."""

from __future__ import annotations

import torch
from torch import Tensor

from vaeaudit.attacks.goals import Goal
from vaeaudit.autoencoder import Autoencoder


class WatchedGoal:
    """A goal, and for which of its problems it or its gradient has been NaN or infinite.

    Args:
        goal: what is watched.
    """

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self._met = torch.zeros(len(goal.originals), dtype=torch.long, device=goal.originals.device)

    @property
    def autoencoder(self) -> Autoencoder:
        """The model."""
        return self.goal.autoencoder

    @property
    def originals(self) -> Tensor:
        """The images x, `(problems, *event)`."""
        return self.goal.originals

    @property
    def non_finite(self) -> Tensor:
        """Whether any evaluation so far came out NaN or infinite, `(problems,)`."""
        return self._met > 0

    def at(self, points: Tensor, problem: Tensor) -> Tensor:
        """See `Goal.at`."""
        value = self.goal.at(points, problem)
        self._note(points, problem, value.isfinite())
        return value

    def with_gradient(self, points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        """See `Goal.with_gradient`."""
        value, gradient = self.goal.with_gradient(points, problem)
        self._note(points, problem, value.isfinite() & gradient.isfinite().all(1))
        return value, gradient

    def _note(self, points: Tensor, problem: Tensor, finite: Tensor) -> None:
        # a point that is NaN itself follows from a gradient that was, which has been noted, and says nothing new
        self._met.index_add_(0, problem, (~finite & points.isfinite().all(1)).long())
