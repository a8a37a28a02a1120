"""Processes that share an audit, each played by a thread: what they tell each other, and what one of them measures."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.errors import DataError, RanksError
from vaeaudit.processes.ranks import Ranks
from vaeaudit.processes.sharing import packed, unpacked

T = TypeVar("T")
PATIENCE = 60.0


class Table:
    """What the threads share: a place for each to put its words, and counters."""

    def __init__(self, size: int) -> None:
        self.said: list[tuple[bytes, bool]] = [(b"", False)] * size
        self.counters: Counter[str] = Counter()
        self.all_here = threading.Barrier(size, timeout=PATIENCE)
        self.lock = threading.Lock()


class Seat:
    """The line of one thread."""

    def __init__(self, table: Table, rank: int) -> None:
        self.table, self.rank, self.size = table, rank, len(table.said)

    def gathered(self, said: bytes, *, failed: bool) -> list[tuple[bytes, bool]]:
        self.table.said[self.rank] = (said, failed)
        self.table.all_here.wait()
        heard = list(self.table.said)
        self.table.all_here.wait()
        return heard

    def add(self, counter: str, amount: int) -> int:
        with self.table.lock:
            self.table.counters[counter] += amount
            return self.table.counters[counter]


def together(work: Callable[[Ranks], T], size: int) -> list[T | BaseException]:
    """What each rank returns or raises, when an error is told as `process_group.together` tells it."""
    table, found = Table(size), [None] * size

    def run(rank: int) -> None:
        ranks = Ranks(Seat(table, rank))
        try:
            found[rank] = work(ranks)
            ranks.meet()
        except RanksError as error:
            found[rank] = error
        except BaseException as error:
            ranks.fail(error)
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return found


def test_one_that_is_alone_hears_itself() -> None:
    ranks = Ranks()
    assert (ranks.rank, ranks.size, ranks.first) == (0, 1, True)
    assert ranks.meet(b"here") == [b"here"]
    assert ranks.told_by_first("done") == "done"
    assert list(ranks.claimed("abc")) == ["a", "b", "c"]
    assert [ranks.finished(2), ranks.finished(3)] == [2, 5]


def test_all_hear_all_and_the_first_one_is_heard_alone() -> None:
    def work(ranks: Ranks) -> tuple[list[bytes], str, bool]:
        return ranks.meet(b"%d" % ranks.rank), ranks.told_by_first(f"by {ranks.rank}"), ranks.first

    assert together(work, 3) == [([b"0", b"1", b"2"], "by 0", rank == 0) for rank in range(3)]


@pytest.mark.parametrize("culprit", [0, 2])
def test_an_error_of_one_ends_all_of_them_at_their_next_meeting(culprit: int) -> None:
    def work(ranks: Ranks) -> None:
        ranks.meet()
        if ranks.rank == culprit:
            raise DataError("no images on this disk")
        ranks.meet(b"waiting")

    found = together(work, 3)
    assert isinstance(found.pop(culprit), DataError)
    assert [str(error) for error in found] == [
        f"the audit was ended by another process, rank {culprit}: DataError: no images on this disk"
    ] * 2


def test_nobody_leaves_well_while_another_one_fails_at_the_end() -> None:
    def work(ranks: Ranks) -> None:
        if ranks.first:
            raise KeyboardInterrupt

    first, second = together(work, 2)
    assert isinstance(first, KeyboardInterrupt)
    assert isinstance(second, RanksError)
    assert "rank 0: KeyboardInterrupt" in str(second)


def test_one_that_is_interrupted_within_a_meeting_leaves_without_another() -> None:
    class Interrupted:
        rank, size, meetings = 0, 2, 0

        def gathered(self, said: bytes, *, failed: bool) -> list[tuple[bytes, bool]]:
            self.meetings += 1
            raise KeyboardInterrupt

        def add(self, counter: str, amount: int) -> int:
            raise AssertionError("nothing is told")

    line = Interrupted()
    ranks = Ranks(line)
    with pytest.raises(KeyboardInterrupt):
        ranks.meet()
    ranks.fail(KeyboardInterrupt())
    assert line.meetings == 1


def test_who_holds_other_facts_is_refused_with_their_names() -> None:
    def work(ranks: Ranks) -> None:
        odd = ranks.rank in (1, 3)
        ranks.agree({"seed": 0, "weights": "b" if odd else "a", "data": [1.0, ranks.rank == 3]}, "load the same file")

    assert [str(error) for error in together(work, 4)] == [
        "the processes do not measure the same: they differ in data (rank 0 and 3), weights (rank 0 and 1, 3); "
        "load the same file"
    ] * 4
    assert together(lambda ranks: ranks.agree({"seed": 0, "versions": {"b": 1, "a": 2}}, ""), 3) == [None] * 3


def test_each_chunk_is_claimed_once_and_a_slow_one_leaves_them_to_the_others() -> None:
    rest_is_taken = threading.Event()

    def work(ranks: Ranks) -> list[int]:
        taken = []
        for chunk in ranks.claimed(range(9)):
            taken.append(chunk)
            if ranks.first:
                assert rest_is_taken.wait(PATIENCE)
        rest_is_taken.set()
        return taken

    slow, quick = together(work, 2)
    assert isinstance(slow, list)
    assert isinstance(quick, list)
    assert len(slow) <= 1
    assert sorted(slow + quick) == list(range(9))


def test_chunks_are_claimed_anew_after_every_meeting() -> None:
    def work(ranks: Ranks) -> list[int]:
        found = []
        for _ in range(3):
            ranks.meet()
            found += ranks.claimed([1])
        return found

    assert sorted(together(work, 2), key=len) in ([[], [1] * 3], [[1], [1] * 2])


def test_no_chunk_is_claimed_once_one_has_failed() -> None:
    failed = threading.Event()

    def work(ranks: Ranks) -> None:
        if ranks.first:
            failed.set()
            raise DataError("no")
        assert failed.wait(PATIENCE)
        while not ranks._line.add("failed", 0):
            pass
        begun.extend(ranks.claimed(range(9)))
        ranks.meet()

    begun: list[int] = []
    assert isinstance(together(work, 2)[1], RanksError)
    assert begun == []


ROWS = [f"row-{i}" for i in range(10)]


class Measure:
    """Notes which rows it measures; the first three have a picture, and all a word."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, chunk: Any) -> Arrays:
        self.made += chunk.tolist()
        return {
            "figures": np.stack([np.array([0.5, np.nan, i], np.float32) for i in chunk]),
            "n": chunk * 10,
            "on": chunk % 2 == 0,
            "words": np.array(["x" * int(i) for i in chunk]),
            "picture": np.stack([np.full((2, 2), i) for i in chunk])[: int((chunk < 3).sum())],
        }


def _measured(ranks: Ranks, measure: Any, folder: Path | None = None, *, size: int = 2, **options: Any) -> Arrays:
    rows, progress = options.get("rows", ROWS), options.get("progress", lambda finished, total: None)
    checkpoint = Checkpoint(folder, {"seed": 0}, ranks=ranks)
    return checkpoint.measured(
        "curves", rows, *[measure] * options.get("workers", 1), size=size, settings={}, progress=progress
    )


def _same(one: Arrays, other: Arrays) -> bool:
    assert one.keys() == other.keys()
    assert {name: array.dtype for name, array in one.items()} == {name: array.dtype for name, array in other.items()}
    return all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)


@pytest.mark.parametrize(("size", "workers"), [(2, 1), (100, 1), (2, 2)])
@pytest.mark.parametrize("ranks", [2, 4])
def test_rows_are_measured_by_one_and_held_by_all(ranks: int, size: int, workers: int) -> None:
    measures = [Measure() for _ in range(ranks)]
    alone = _measured(Ranks(), Measure())
    found = together(lambda own: _measured(own, measures[own.rank], size=size, workers=workers), ranks)
    assert all(isinstance(arrays, dict) and _same(arrays, alone) for arrays in found)
    assert sorted(i for measure in measures for i in measure.made) == list(range(len(ROWS)))


@pytest.mark.parametrize("shared", [True, False])
def test_what_was_kept_in_anyones_folder_is_not_measured_again(tmp_path: Path, shared: bool) -> None:
    def folder(ranks: Ranks) -> Path:
        return tmp_path / "all" if shared else tmp_path / str(ranks.rank)

    whole = _measured(Ranks(), Measure())
    _measured(Ranks(Seat(Table(1), 0)), Measure(), tmp_path / ("all" if shared else "0"), rows=ROWS[:5])
    _measured(Ranks(Seat(Table(1), 0)), Measure(), tmp_path / ("all" if shared else "1"), rows=ROWS[3:8])
    measures = [Measure(), Measure(), Measure()]
    found = together(lambda ranks: _measured(ranks, measures[ranks.rank], folder(ranks)), 3)
    assert sorted(i for measure in measures for i in measure.made) == [8, 9]
    assert all(isinstance(arrays, dict) and set(arrays) == set(whole) for arrays in found)
    for name in ("figures", "n", "on"):
        np.testing.assert_array_equal([arrays[name] for arrays in found], [found[0][name]] * 3)
    refuse = Measure()
    together(lambda ranks: _measured(ranks, refuse, folder(ranks)), 3)
    assert refuse.made == []


def test_each_keeps_what_it_has_measured_as_soon_as_it_is_finished(tmp_path: Path) -> None:
    second_is_gone = threading.Event()

    def work(ranks: Ranks) -> Arrays:
        measure = Measure()

        def watched(chunk: Any) -> Arrays:
            if ranks.first:
                assert second_is_gone.wait(PATIENCE)
            elif measure.made:
                second_is_gone.set()
                raise DataError("killed")
            return measure(chunk)

        return _measured(ranks, watched, tmp_path / str(ranks.rank))

    first, second = together(work, 2)
    assert isinstance(first, RanksError)
    assert isinstance(second, DataError)
    kept = [len(list((tmp_path / str(rank)).glob("curves-*.npz"))) for rank in (0, 1)]
    assert kept[0] >= 1
    assert kept[1] == 1
    again = [Measure(), Measure()]
    together(lambda ranks: _measured(ranks, again[ranks.rank], tmp_path / str(ranks.rank)), 2)
    assert sum(len(measure.made) for measure in again) == len(ROWS) - 2 * sum(kept)


def test_progress_counts_what_all_have_finished() -> None:
    steps: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
    together(lambda ranks: _measured(ranks, Measure(), progress=lambda *step: steps[ranks.rank].append(step)), 2)
    for seen in steps.values():
        assert seen[0] == (0, 10)
        assert seen[-1] == (10, 10)
        assert seen == sorted(seen)
    between = [finished for seen in steps.values() for finished, _ in seen[1:-1]]
    assert sorted(between) == [2, 4, 6, 8, 10]


def test_ranks_at_different_rows_are_refused() -> None:
    found = together(lambda ranks: _measured(ranks, Measure(), rows=ROWS[: 9 + ranks.rank]), 2)
    assert all(isinstance(error, RanksError) for error in found)
    assert "rank 0 is at the measurement 'curves' and rank 1 at 'curves', of other rows" in str(found[0])


def test_a_parcel_holds_rows_as_they_are() -> None:
    rows = [{"a": np.float32(i), "word": np.str_("x" * i), **({"p": np.full(2, i)} if i else {})} for i in range(3)]
    found = unpacked(packed(np.array([4, 9, 7]), rows))
    assert sorted(found) == [4, 7, 9]
    assert found[9]["a"].dtype == np.float32
    assert [str(found[i]["word"]) for i in (4, 9, 7)] == ["", "x", "xx"]
    assert "p" not in found[4]
    np.testing.assert_array_equal(found[7]["p"], [2, 2])
    assert packed(np.array([], dtype=np.int64), []) == b""
    assert unpacked(b"") == {}


def test_objects_in_a_parcel_are_not_executed() -> None:
    parcel = packed(np.array([0]), [{"a": np.array([{}], dtype=object)}])
    with pytest.raises(ValueError, match="allow_pickle=False"):
        unpacked(parcel)
