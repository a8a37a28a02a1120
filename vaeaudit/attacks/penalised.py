"""A goal plus C times the size of the distortion: what the attacks over a series of C minimise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from vaeaudit.attacks.goals import Goal
from vaeaudit.errors import OptionError

Penalty = Literal["l2_squared", "l2"]
PENALTIES: tuple[Penalty, ...] = ("l2_squared", "l2")
_SMOOTHING = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Penalised:
    """F(x+d) and P(d), of which the attack minimises F + C * P, one problem a row (definitions D1).

    Attributes:
        goal: F, such as Delta(q(z|x+d), q(z|t)).
        spans: L2(x - t), `(pairs,)`; the scale on which the unsquared norm is smoothed at zero.
        penalty: P, the squared or the plain L2 norm.
    """

    goal: Goal
    spans: Tensor
    penalty: Penalty

    def __post_init__(self) -> None:
        if self.penalty not in PENALTIES:
            raise OptionError(f"unknown penalty {self.penalty!r}; choose one of {', '.join(PENALTIES)}")

    @property
    def originals(self) -> Tensor:
        """x, `(pairs, *event)`."""
        return self.goal.originals

    def select(self, pairs: Tensor) -> Penalised:
        """The objective of some of the pairs."""
        return replace(self, goal=self.goal.select(pairs), spans=self.spans[pairs])

    def size(self, points: Tensor) -> Tensor:
        """P of distortions `(..., n)`, exact, float64."""
        length: Tensor = torch.linalg.vector_norm(points, dim=-1, dtype=torch.float64)
        return length.square() if self.penalty == "l2_squared" else length

    def smooth_penalty(self, squares: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """P of distortions of squared length `(rows,)`, smooth at zero, and its derivative with respect to it, float64."""
        if self.penalty == "l2_squared":
            return squares, torch.ones_like(squares)
        rounding = _SMOOTHING * self.spans[pairs].double()
        norm = (squares + rounding.square()).sqrt()
        return norm - rounding, 0.5 / norm.clamp_min(torch.finfo(norm.dtype).tiny)
