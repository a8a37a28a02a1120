"""The scores of a report: their names, and whether higher is more robust."""

from __future__ import annotations

from vaeaudit.errors import OptionError

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


def full_name(score: str) -> str:
    """The full name of a score; a bare geometry score is the encoder's.

    Raises:
        OptionError: there is no such score.
    """
    if score in DIRECTIONS:
        return score
    if score in _GEOMETRY:
        return f"{ROOMS[0]}.{score}"
    raise OptionError(f"unknown score {score!r}; choose one of {', '.join(DIRECTIONS)}")
