"""The scores of a report: their names, whether higher is more robust, and how far they can reach."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from vaeaudit.errors import OptionError
from vaeaudit.statistics import Statistic

ROOMS = ("encoder", "decoder", "round_trip")
_ANY, _POSITIVE, _SHARE, _FROM_ONE = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0), (1.0, math.inf)


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


_HEADLINE: dict[str, Kind] = {
    # the target itself is a candidate of every attack with C > 0, so none goes further than to it
    "hinge": Kind(direction=True, reach=_SHARE, statistic="median", counted="pairs"),
    # from 1, where nothing was done, to 0, the target's own: more would mean being pushed away from it all along
    "auddc": Kind(direction=True, reach=_SHARE, statistic="mean", counted="pairs"),
    "linearity": Kind(direction=None, reach=_SHARE, statistic="median", counted="pairs"),
    "floor": Kind(direction=None, reach=_ANY, statistic="median", counted="pairs"),
    "reach": Kind(direction=None, reach=_ANY, statistic="mean", counted="pairs"),
    "reconstruction_error": Kind(direction=None, reach=_POSITIVE, statistic="mean", counted="images"),
    "damage": Kind(direction=False, reach=_POSITIVE, statistic="mean", counted="images"),
    "damage_gain": Kind(direction=False, reach=_POSITIVE, statistic="mean", counted="images"),
    "damage_latent": Kind(direction=False, reach=_POSITIVE, statistic="mean", counted="images"),
    "worst_damage": Kind(direction=False, reach=_POSITIVE, statistic="mean", counted="images"),
    "worst_damage_linf": Kind(direction=False, reach=_POSITIVE, statistic="mean", counted="images"),
    "worst_gap": Kind(direction=True, reach=_ANY, statistic="median", counted="pairs"),
    "worst_gap_linf": Kind(direction=True, reach=_ANY, statistic="median", counted="pairs"),
    # the target itself is as close as can be to its own posterior, so no bound can ask for more
    "certified_distortion": Kind(direction=True, reach=_SHARE, statistic="median", counted="pairs"),
}
_GEOMETRY: dict[str, Kind] = {
    "spectral_radius": Kind(direction=False, reach=_POSITIVE, statistic="median", counted="images"),
    "condition_number": Kind(direction=False, reach=_FROM_ONE, statistic="median", counted="images"),
    "von_neumann_entropy": Kind(direction=None, reach=_POSITIVE, statistic="median", counted="images"),
    "effective_rank": Kind(direction=None, reach=_FROM_ONE, statistic="median", counted="images"),
    "entropy_khan2022": Kind(direction=None, reach=_POSITIVE, statistic="median", counted="images"),
    "trace": Kind(direction=False, reach=_POSITIVE, statistic="median", counted="images"),
    "log_pseudo_determinant": Kind(direction=None, reach=_ANY, statistic="median", counted="images"),
    "active_units": Kind(direction=None, reach=_POSITIVE, statistic="count", counted="images"),
}
_BARE = _HEADLINE | _GEOMETRY
_KINDS = _HEADLINE | {f"{room}.{score}": kind for room in ROOMS for score, kind in _GEOMETRY.items()}
DIRECTIONS = {score: kind.direction for score, kind in _KINDS.items()}
"""Full name of every score: True if a higher figure is more robust, False if a lower one is, None without direction."""
RANGES = {score: kind.reach for score, kind in _KINDS.items()}
"""Full name of every score: the least and the most it can be, for any model."""
PAIR_SCORES = tuple(score for score, kind in _KINDS.items() if kind.counted == "pairs")
"""Scores with one figure a pair; all others have one an image."""

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
    known = (*DIRECTIONS, *DECLARED)
    meant = difflib.get_close_matches(str(score), (*known, *_GEOMETRY), n=1)
    hint = f" (did you mean {meant[0]!r}?)" if meant else ""
    raise OptionError(f"unknown score {score!r}{hint}; choose one of {', '.join(known)}")


def short_name(score: str) -> str:
    """What to call a score in one word: an encoder's geometry score goes by its bare name."""
    room, _, name = score.rpartition(".")
    return name if room == ROOMS[0] else score


def statistic_of(score: str) -> Statistic:
    """How the figures of a score are combined, whichever room it is of; a median where it is not known."""
    kind = DECLARED.get(score) or _BARE.get(score.rpartition(".")[2])
    return "median" if kind is None else kind.statistic


def counted(score: str) -> str:
    """What the n of a score counts."""
    if score in DECLARED:
        return DECLARED[score].counted
    return "pairs" if score in PAIR_SCORES else "images"
