"""Which images of very many are read: drawn at random, or lying evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vaeaudit.data.in_memory import check_room
from vaeaudit.data.labels import Integers
from vaeaudit.errors import DataError

_NUMBERS_A_POSITION = 16
"""That drawing one takes."""


def drawn_positions(size: int, limit: int, include: Sequence[int], seed: int) -> Integers:
    """A sorted random subset of positions that holds `include`.

    Args:
        size: how many there are.
        limit: how many to draw; all where there are no more.
        include: positions that must be among them, which may exceed the limit.
        seed: of the draw.

    Raises:
        DataError: there are no such positions as `include` names, or memory for no list of so many.
    """
    wanted = np.unique(np.asarray(include, dtype=np.int64))
    if size and len(wanted) and (wanted[0] < 0 or wanted[-1] >= size):
        raise DataError(f"pairs name images {wanted[0]} to {wanted[-1]}, but there are images 0 to {size - 1}")
    check_room(min(size, limit), _NUMBERS_A_POSITION)
    if size <= limit:
        return np.arange(size)
    # among the others, which are never listed: there may be very many
    others, count = size - len(wanted), max(limit - len(wanted), 0)
    ranks = np.random.default_rng([seed, size]).choice(others, count, replace=False)
    extra = ranks + np.searchsorted(wanted - np.arange(len(wanted)), ranks, side="right")
    return np.sort(np.concatenate([wanted, extra]))


def even_positions(size: int, count: int) -> Integers:
    """Positions that lie evenly among `size`, ascending; as many as `count`, or all."""
    return np.unique(np.linspace(0, size - 1, min(size, count)).round().astype(np.int64))
