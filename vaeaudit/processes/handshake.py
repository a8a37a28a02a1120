"""A word that the processes of one attempt agree on, over a store that remembers those of earlier attempts.

torchrun's agents keep one store through all restarts. Who looks there for where the others are may find where they
were before they died; keys below a fresh word hold nothing old.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Protocol

from vaeaudit.errors import RanksError

_PATIENCE = 600.0
_PAUSE = 0.005


class Store(Protocol):
    """What is used of a `torch.distributed.Store`."""

    def set(self, key: str, value: str) -> None:
        """Write a key."""

    def get(self, key: str) -> bytes:
        """Read a key that is there."""

    def check(self, keys: list[str]) -> bool:
        """Whether keys are there."""


def agreed_word(store: Store, rank: int, size: int, *, patience: float = _PATIENCE) -> str:
    """A random word, chosen by rank 0, that all return who call this at the same time.

    Each of the others says a word of its own and believes only an answer that repeats it, which nobody gave before.

    Args:
        store: that all of them see; what is left there from earlier calls does no harm.
        rank: of this process.
        size: how many there are.
        patience: seconds to wait for the others.

    Raises:
        RanksError: some of them have not come.
    """
    word, deadline = secrets.token_hex(8), time.monotonic() + patience
    return _given(store, word, size, deadline) if rank == 0 else _received(store, word, rank, deadline)


def _given(store: Store, word: str, size: int, deadline: float) -> str:
    """Answer each call until all have taken the word."""
    waiting = list(range(1, size))
    answered: dict[int, str] = {}
    while waiting:
        for rank in waiting:
            called = _read(store, f"call/{rank}")
            if called and called != answered.get(rank):
                store.set(f"answer/{rank}", f"{called} {word}")
                answered[rank] = called
        waiting = [rank for rank in waiting if _read(store, f"taken/{rank}") != word]
        _pause(deadline, waiting)
    return word


def _received(store: Store, own: str, rank: int, deadline: float) -> str:
    store.set(f"call/{rank}", own)
    while True:
        called, _, word = _read(store, f"answer/{rank}").partition(" ")
        if called == own:
            store.set(f"taken/{rank}", word)
            return word
        _pause(deadline, [0])


def _read(store: Store, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""


def _pause(deadline: float, waiting: Sequence[int]) -> None:
    if waiting and time.monotonic() > deadline:
        raise RanksError(
            f"ranks {', '.join(map(str, waiting))} have not come to share the audit; see what they say, and whether all "
            "processes reach the same calls of vaeaudit.together"
        )
    time.sleep(_PAUSE)
