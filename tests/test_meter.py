"""The meter: what counts, where, and on a device without waiting for it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, attacks, meter, zoo
from vaeaudit.meter import Meter, by_model, metered

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes by what is added to it."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_only_the_work_itself_is_timed(clock: list[float]) -> None:
    counts = Meter()

    def work() -> str:
        clock[0] += 2
        return "done"

    with metered(counts):
        clock[0] += 50
        assert by_model(work, torch.zeros(3)) == "done"
        assert by_model(work, torch.zeros(3), gradients=3) == "done"
    assert (counts.model_seconds, counts.gradients) == (4, 3)


def test_work_that_fails_is_timed_and_still_fails(clock: list[float]) -> None:
    counts = Meter()

    def work() -> None:
        clock[0] += 2
        raise ValueError("no")

    with metered(counts), pytest.raises(ValueError, match="no"):
        by_model(work, torch.zeros(3))
    assert counts.model_seconds == 2


def test_the_innermost_meter_counts_and_without_one_nothing_does() -> None:
    outer, inner = Meter(), Meter()
    with metered(outer):
        by_model(int, torch.zeros(1), gradients=1)
        with metered(inner):
            by_model(int, torch.zeros(1), gradients=10)
        by_model(int, torch.zeros(1), gradients=100)
    by_model(int, torch.zeros(1), gradients=1000)
    assert (outer.gradients, inner.gradients) == (101, 10)


class Device:
    """Stands in for a CUDA device: its work takes two seconds a call, and passes when it is waited for or polled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ticks = itertools.count()
        self.waited, self.has_passed = 0, False
        device = self

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(self, stream: Any) -> None:
                assert stream == "stream"
                self.at = 2000.0 * next(device.ticks)

            def query(self) -> bool:
                return device.has_passed

            def synchronize(self) -> None:
                device.waited += 1

            def elapsed_time(self, other: Event) -> float:
                return other.at - self.at

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)


def test_a_device_is_timed_by_its_own_clock_and_waited_for_only_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    device, counts = Device(monkeypatch), Meter()
    for _ in range(5):
        counts.timed(int, CUDA)
    assert device.waited == 0
    assert counts.model_seconds == 10
    assert device.waited == 5
    assert counts.model_seconds == 10


def test_events_that_have_passed_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    device, counts = Device(monkeypatch), Meter()
    device.has_passed = True
    for _ in range(3 * meter._MOST_PENDING):
        counts.timed(int, CUDA)
        assert len(counts._pending) <= meter._MOST_PENDING
    assert device.waited == 0
    assert counts.model_seconds == 2 * 3 * meter._MOST_PENDING


def test_a_graph_that_is_being_captured_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(torch.cuda, "Event", None)
    assert Meter().timed(lambda: 3, CUDA) == 3


def test_model_and_gradient_are_counted_and_nothing_of_ours(clock: list[float]) -> None:
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            clock[0] += 1
            return x.clone()

        @staticmethod
        def backward(_: Any, gradient: Tensor) -> Tensor:
            clock[0] += 10
            return gradient

    ae = Autoencoder(lambda x: Slow.apply(x)[:, :3], lambda z: torch.cat([z, z], 1))
    counts, x = Meter(), torch.rand(2, 6, requires_grad=True)
    with metered(counts):
        mean = ae.encode(x).mean
        clock[0] += 100
        attacks.objective.gradient_of(mean.square().sum(1), x)
    assert (counts.model_seconds, counts.gradients) == (11, 2)


def test_an_attacks_gradients_are_those_it_reports_and_what_fills_up_its_batches() -> None:
    ae, (images, _) = zoo.load("mnist-vae"), zoo.images("mnist-vae")
    counts = Meter()
    with metered(counts):
        found = attacks.targeted(ae, images[:2], images[2:4], [0.1, 1.0, 10.0])
    assert counts.gradients >= int(found.gradient_evaluations.sum())
    assert counts.model_seconds > 0
