"""Work spread over threads: every chunk once, errors handed over, nothing left running."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from vaeaudit.parallel import spread

VARIABLE: ContextVar[int] = ContextVar("variable", default=0)


def _ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("vaeaudit-")]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("chunks", [0, 1, 3, 40])
def test_every_chunk_is_worked_off_once(workers: int, chunks: int) -> None:
    found = list(spread(range(chunks), [lambda chunk: 10 * chunk] * workers))
    assert sorted(found) == [(chunk, 10 * chunk) for chunk in range(chunks)]
    assert not _ours()


def test_workers_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=60)
    names = dict(spread("abc", [lambda _: (meeting.wait(), threading.current_thread().name)[1]] * 3))
    assert len(set(names.values())) == 3


def test_a_single_worker_works_here_and_only_when_asked() -> None:
    seen: list[int] = []
    parts = spread([1, 2, 3], [lambda chunk: (seen.append(chunk), threading.current_thread())[1]])
    assert seen == []
    assert next(parts) == (1, threading.current_thread())
    assert seen == [1]


def test_a_slow_worker_leaves_the_chunks_to_the_others() -> None:
    rest_is_done, done = threading.Event(), []

    def slow(chunk: int) -> str:
        assert rest_is_done.wait(60)
        return "slow"

    def quick(chunk: int) -> str:
        return "quick"

    for _, who in spread(range(6), [slow, quick]):
        done.append(who)
        if done.count("quick") == 5:
            rest_is_done.set()
    assert sorted(done) == ["quick"] * 5 + ["slow"]


@pytest.mark.parametrize("error", [ValueError("bad row"), KeyboardInterrupt()])
def test_an_error_is_handed_over_once_all_threads_have_ended(error: BaseException) -> None:
    begun: list[int] = []

    def work(chunk: int) -> int:
        begun.append(chunk)
        if chunk == 1:
            raise error
        return chunk

    with pytest.raises(type(error)):
        list(spread(range(1000), [work, work]))
    assert not _ours()
    assert len(begun) < 1000


def test_who_stops_asking_waits_for_what_is_under_way() -> None:
    under_way, ended, go_on = threading.Event(), threading.Event(), threading.Event()

    def quick(chunk: int) -> int:
        assert under_way.wait(60)
        return chunk

    def slow(chunk: int) -> int:
        under_way.set()
        assert go_on.wait(60)
        ended.set()
        return chunk

    with contextlib.closing(spread(range(100), [quick, slow])) as parts:
        next(parts)
        go_on.set()
    assert ended.is_set()
    assert not _ours()


def test_threads_see_the_callers_context_and_keep_their_own_changes() -> None:
    token = VARIABLE.set(7)
    try:

        def work(chunk: int) -> int:
            seen = VARIABLE.get()
            VARIABLE.set(seen + 1)
            return seen

        assert {seen for _, seen in spread(range(2), [work] * 2)} <= {7, 8}
        assert VARIABLE.get() == 7
    finally:
        VARIABLE.reset(token)


def test_an_interrupt_while_waiting_for_workers_does_not_leave_them_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, left = threading.Event(), threading.Event(), []

    def slow(chunk: int) -> int:
        begun.set()
        go_on.wait(10)
        left.append(chunk)
        return chunk

    join, interrupts = threading.Thread.join, iter([KeyboardInterrupt(), KeyboardInterrupt()])

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        for interrupt in interrupts:
            raise interrupt
        go_on.set()
        join(thread, timeout)

    def fail(chunk: int) -> int:
        begun.wait(10)
        raise ValueError("the first")

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    running = spread([0, 1, 2], [slow, fail])
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert left, "the other worker came to its end first"


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_who_gives_out_the_chunks_is_handed_over(workers: int) -> None:
    def chunks() -> Iterator[int]:
        yield 1
        raise ValueError("no more words from the others")

    with pytest.raises(ValueError, match="no more words"):
        list(spread(chunks(), [lambda chunk: chunk] * workers))
    assert not _ours()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chunk_is_asked_for_when_a_worker_is_free(workers: int) -> None:
    def fail(chunk: int) -> int:
        if chunk == 2:
            raise KeyError(chunk)
        return chunk

    with pytest.raises(KeyError):
        list(spread(itertools.count(), [fail] * workers))  # chunks that never end
    assert not _ours()
