"""The series of the regularising constant C."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vaeaudit.attacks.goals import Goal, LatentGoal
from vaeaudit.attacks.penalised import Penalised
from vaeaudit.errors import GradientError, OptionError

AUTOMATIC = 24
OCTAVES = (-9.0, 7.0)
"""Reach of the automatic series around the strength at which going to the target is break-even."""
ANCHOR = 11.0
"""Where its last value lies instead: so far out that hardly anything is left of the distortion, and no area under the
trade-off curve is missed between that and none."""
_FEWEST_ANCHORED = 4
Strengths = Sequence[float] | Tensor | str | int | None
STRENGTH_SERIES: dict[str, Callable[[], Tensor]] = {
    "tabacof2016": lambda: torch.logspace(-20, 20, 100, base=2, dtype=torch.float64) / 100,
}
"""Named series. Paper A summed the divergence over a batch of 100 copies: its C is 100 times ours."""


def series_of(strengths: Strengths, objective: Penalised, targets: Tensor) -> Tensor:
    """The values of C to attack with, ascending, `(strengths,)`, float64.

    Args:
        strengths: numbers; or how many values the automatic series has (None: 24); or the name of a series.
        objective: of the pairs under attack.
        targets: t, `(pairs, *event)`.

    Raises:
        OptionError: unusable strengths.
        GradientError: an automatic series, and the model does not tell originals from targets.
    """
    asked = asked_for(strengths)
    return _automatic(objective, targets, asked) if isinstance(asked, int) else asked.to(targets.device)


def asked_for(strengths: Strengths) -> int | Tensor:
    """How many values the automatic series is to have, or the values themselves, ascending, float64: all but the pairs' part.

    Raises:
        OptionError: unusable strengths.
    """
    if isinstance(strengths, bool):
        raise OptionError(f"strengths expects numbers C >= 0, how many, or the name of a series, got {strengths}")
    if strengths is None or (isinstance(strengths, (int, np.integer)) and strengths > 0):
        return AUTOMATIC if strengths is None else int(strengths)
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
    return ascending


def break_even(goal: Goal, targets: Tensor, sizes: Tensor) -> Tensor:
    """The C of each pair at which staying and going all the way to the target cost the same, `(pairs,)`, float64.

    That is (F(x) - F(t)) / P(t - x). A divergence vanishes at the target; where another goal is no lower there, C is
    F(x) / P(t - x), at which the penalty weighs as much as the goal.

    Args:
        goal: F.
        targets: t, `(pairs, *event)`.
        sizes: P(t - x), `(pairs,)`.
    """
    pairs = torch.arange(len(targets), device=targets.device)
    stay = goal.of(goal.originals, pairs)
    if isinstance(goal, LatentGoal):
        return stay / sizes
    gain = stay - goal.of(targets, pairs)
    return torch.where(gain > 0, gain, stay.abs()) / sizes


def _automatic(objective: Penalised, targets: Tensor, count: int) -> Tensor:
    """A log series around the pairs' median break-even strength, ascending, `(count,)`, float64.

    Raises:
        GradientError: the encoder does not tell originals from targets.
    """
    apart = (targets - objective.originals).flatten(1)
    centre = break_even(objective.goal, targets, objective.size(apart)).nan_to_num(0, 0, 0).median()
    if not centre > 0:
        raise GradientError(
            "the encoder gives originals and targets the same posterior, so there is nothing to attack: "
            "it ignores its input, all latent units have collapsed, or the images are all the same"
        )
    anchored = count >= _FEWEST_ANCHORED
    octaves = torch.linspace(*OCTAVES, count - anchored, dtype=torch.float64, device=centre.device)
    return centre * 2.0 ** torch.cat([octaves, octaves.new_tensor([ANCHOR] if anchored else [])])


def _numbers(strengths: object) -> Tensor:
    try:
        return torch.as_tensor(strengths, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return torch.empty(0)
