"""Processes agree on a word, whatever earlier ones have left in the store."""

from __future__ import annotations

import threading

import pytest
from torch import distributed

from vaeaudit.errors import RanksError
from vaeaudit.processes.handshake import agreed_word


def _all_at_once(store: distributed.HashStore, size: int) -> list[str]:
    words = [""] * size

    def come(rank: int) -> None:
        words[rank] = agreed_word(store, rank, size, patience=60)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return words


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_have_the_same_word_and_each_time_another_one(size: int) -> None:
    store = distributed.HashStore()
    found = [_all_at_once(store, size) for _ in range(3)]
    assert all(len(set(words)) == 1 for words in found)
    assert len({words[0] for words in found}) == 3


def test_words_of_those_who_died_before_are_not_believed() -> None:
    """One that was killed after its call, and a first process that was killed after its answer."""
    store = distributed.HashStore()
    for rank in (1, 2):
        store.set(f"call/{rank}", "killed")
        store.set(f"answer/{rank}", "killed old")
        store.set(f"taken/{rank}", "old")
    (word,) = set(_all_at_once(store, 3))
    assert word != "old"


@pytest.mark.parametrize(("rank", "missing"), [(0, "ranks 1, 2"), (2, "ranks 0")])
def test_who_does_not_come_is_named(rank: int, missing: str) -> None:
    with pytest.raises(RanksError, match=f"{missing} have not come to share the audit"):
        agreed_word(distributed.HashStore(), rank, 3, patience=0.02)
