"""What an audit can be asked for: the rest is refused before anything is loaded, since a large model's first call takes minutes."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaeaudit.attacks.penalised import PENALTIES
from vaeaudit.attacks.strengths import Strengths, asked_for
from vaeaudit.autoencoder import checked_precision
from vaeaudit.divergences import CHANNEL_NORMALISED, divergence_named
from vaeaudit.errors import OptionError, brief
from vaeaudit.tradeoff import FEWEST_STRENGTHS

_MOST = {"pairs": 10**6, "most_pairs": 10**6, "strengths": 10**4}
"""Thousands of hours for the smallest model."""


def check_extent(*, seed: Any, pairs: Any, most_pairs: Any, strengths: Any, work: Any) -> None:
    """Refuse numbers that no audit takes.

    Raises:
        OptionError: it names the option, what it expects and what came.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise OptionError(f"seed expects an integer from 0 to 2**63 - 1, got {brief(seed)}")
    if most_pairs is not None and not _is_whole(most_pairs):
        raise OptionError(f"most_pairs expects a whole number or None, got {brief(most_pairs)}")
    if work is not None and (isinstance(work, bool) or not isinstance(work, (int, float)) or not work > 0):
        raise OptionError(f"work expects a positive number of multiply-adds, such as 1e15, or None, got {brief(work)}")
    for name, value in {"pairs": pairs, "most_pairs": most_pairs, "strengths": strengths}.items():
        count = value if _is_whole(value) else len(value) if hasattr(value, "__len__") else 0
        if count > _MOST[name]:
            raise OptionError(f"{name} asks for {brief(count)}, and an audit takes at most {_MOST[name]:,}")


def check_attack(*, divergence: Any, penalty: Any, precision: Any) -> None:
    """Refuse names that no attack knows.

    Raises:
        OptionError: it says which ones there are.
    """
    if divergence != CHANNEL_NORMALISED:  # which is given its deviations later
        divergence_named(divergence, deterministic=False)
    if penalty not in PENALTIES:
        raise OptionError(f"unknown penalty {penalty!r}; choose one of {', '.join(PENALTIES)}")
    checked_precision(precision)


def values_asked(strengths: Strengths) -> int:
    """How many values the series of C has to begin with.

    Raises:
        OptionError: unusable strengths, or too few different ones for a curve.
    """
    asked = asked_for(strengths)
    count = asked if isinstance(asked, int) else len(asked)
    if count < FEWEST_STRENGTHS:
        raise OptionError(
            f"strengths expects at least {FEWEST_STRENGTHS} different values of C for a curve, got {count}"
        )
    return count


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
