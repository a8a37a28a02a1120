"""What measures: vaeaudit itself, with this worker's share of the threads."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
import torch

import vaeaudit
from pytest_vaeaudit.measuring import Library, _threads_shared


@pytest.mark.parametrize(
    ("workers", "before", "during"), [("1", 8, 8), ("2", 8, 4), ("4", 8, 2), ("16", 8, 1), ("2", 1, 1), (None, 8, 8)]
)
def test_each_worker_takes_its_share_of_the_threads_and_gives_it_back(
    monkeypatch: pytest.MonkeyPatch, workers: str | None, before: int, during: int
) -> None:
    threads = [before]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if workers is None:
        monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    else:
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", workers)
    with contextlib.suppress(RuntimeError), _threads_shared():
        assert threads[-1] == during
        raise RuntimeError("of the measurement")
    assert threads[-1] == before


def test_a_number_of_threads_that_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    with _threads_shared():
        pass
    assert threads == []


def test_an_audit_measures_within_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Plan:
        pairs, most_pairs, identity = 24, 96, {"weights": "w"}

        def report(self, *_: Any, **__: Any) -> None:
            seen.append(torch.get_num_threads())

    threads = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    monkeypatch.setattr(vaeaudit, "plan", lambda *_, **__: Plan(), raising=False)
    plan = Library().plan(None, None)
    plan.report(24)
    assert seen == [2]
    assert torch.get_num_threads() == 8
    assert (plan.pairs, plan.most_pairs, plan.identity) == (24, 96, {"weights": "w"})
