"""The scores of a report: their names, whether higher is more robust, and how far they can reach."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vaeaudit.errors import OptionError
from vaeaudit.statistics import Statistic

ROOMS = ("encoder", "decoder", "round_trip")
_HEADLINE: dict[str, bool | None] = {
    "hinge": True,
    "auddc": True,
    "linearity": None,
    "floor": None,
    "reach": None,
    "reconstruction_error": None,
    "damage": False,
    "damage_gain": False,
    "damage_latent": False,
    "worst_damage": False,
    "worst_damage_linf": False,
    "worst_gap": True,
    "worst_gap_linf": True,
    "certified_distortion": True,
}
_GEOMETRY: dict[str, bool | None] = {
    "spectral_radius": False,
    "condition_number": False,
    "von_neumann_entropy": None,
    "effective_rank": None,
    "entropy_khan2022": None,
    "trace": False,
    "log_pseudo_determinant": None,
    "active_units": None,
}
DIRECTIONS: dict[str, bool | None] = _HEADLINE | {
    f"{room}.{score}": direction for room in ROOMS for score, direction in _GEOMETRY.items()
}
"""Full name of every score: True if a higher figure is more robust, False if a lower one is, None without direction."""
_ANY, _POSITIVE = (-math.inf, math.inf), (0.0, math.inf)
_REACH: dict[str, tuple[float, float]] = {
    # the target itself is a candidate of every attack with C > 0, so none goes further than to it
    "hinge": (0.0, 1.0),
    # from 1, where nothing was done, to 0, the target's own: more would mean being pushed away from it all along
    "auddc": (0.0, 1.0),
    "linearity": (0.0, 1.0),
    "floor": _ANY,
    "reach": _ANY,
    "reconstruction_error": _POSITIVE,
    "damage": _POSITIVE,
    "damage_gain": _POSITIVE,
    "damage_latent": _POSITIVE,
    "worst_damage": _POSITIVE,
    "worst_damage_linf": _POSITIVE,
    "worst_gap": _ANY,
    "worst_gap_linf": _ANY,
    # the target itself is as close as can be to its own posterior, so no bound can ask for more
    "certified_distortion": (0.0, 1.0),
    "spectral_radius": _POSITIVE,
    "condition_number": (1.0, math.inf),
    "von_neumann_entropy": _POSITIVE,
    "effective_rank": (1.0, math.inf),
    "entropy_khan2022": _POSITIVE,
    "trace": _POSITIVE,
    "log_pseudo_determinant": _ANY,
    "active_units": _POSITIVE,
}
RANGES: dict[str, tuple[float, float]] = {score: _REACH[score.rpartition(".")[2]] for score in DIRECTIONS}
"""Full name of every score: the least and the most it can be, for any model."""

_MEANS = (
    "auddc", "reach", "reconstruction_error", "damage", "damage_gain", "damage_latent", "worst_damage",
    "worst_damage_linf",
)  # fmt: skip
PAIR_SCORES = ("hinge", "auddc", "linearity", "floor", "reach", "worst_gap", "worst_gap_linf", "certified_distortion")
"""Scores with one figure a pair; all others have one an image."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What must be known of a score before any of its figures is.

    Attributes:
        direction: True if a higher figure is more robust, False if a lower one is, None without direction.
        reach: the least and the most it can be, for any model.
        statistic: how its figures are combined.
        counted: what its n counts, "pairs" or "images".
    """

    direction: bool | None
    reach: tuple[float, float]
    statistic: Statistic
    counted: str


DECLARED: dict[str, Kind] = {}
"""Scores of plugins by their full names, of those that are active and of reports that were read."""


def declare(score: str, kind: Kind) -> None:
    """Make the score of a plugin known, so that bars on it can be judged.

    Raises:
        OptionError: it is known already, as something else.
    """
    if score in DIRECTIONS or DECLARED.setdefault(score, kind) != kind:
        known = "a score of vaeaudit's own" if score in DIRECTIONS else f"known as {DECLARED[score]}"
        raise OptionError(
            f"score {score!r} is {known} and cannot be {kind} too: two versions of a plugin have met in one process; "
            "read the report where the other one is not installed, or audit again"
        )


def direction_of(score: str) -> bool | None:
    """True if a higher figure of a score, given by its full name, is more robust, False if a lower one is."""
    return DECLARED[score].direction if score in DECLARED else DIRECTIONS[score]


def range_of(score: str) -> tuple[float, float]:
    """The least and the most that a score, given by its full name, can be."""
    return DECLARED[score].reach if score in DECLARED else RANGES[score]


def full_name(score: str) -> str:
    """The full name of a score; a bare geometry score is the encoder's.

    Raises:
        OptionError: there is no such score.
    """
    if score in DIRECTIONS or score in DECLARED:
        return score
    if score in _GEOMETRY:
        return f"{ROOMS[0]}.{score}"
    raise OptionError(f"unknown score {score!r}; choose one of {', '.join((*DIRECTIONS, *DECLARED))}")


def short_name(score: str) -> str:
    """What to call a score in one word: an encoder's geometry score goes by its bare name."""
    room, _, name = score.rpartition(".")
    return name if room == ROOMS[0] else score


def statistic_of(score: str) -> Statistic:
    """How the figures of a score are combined."""
    if score in DECLARED:
        return DECLARED[score].statistic
    name = score.rpartition(".")[2]
    return "count" if name == "active_units" else "mean" if name in _MEANS else "median"


def counted(score: str) -> str:
    """What the n of a score counts."""
    if score in DECLARED:
        return DECLARED[score].counted
    return "pairs" if score in PAIR_SCORES else "images"
