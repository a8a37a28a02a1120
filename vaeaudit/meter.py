"""How much of the time the user's model computes, and how many gradients it gives: counted always, read at the end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

_MOST_PENDING = 1024
"""Pairs of CUDA events that are kept before those that have passed are added up."""

T = TypeVar("T")


class Meter:
    """Counts while it is the current one, see `metered`.

    Work on a CUDA device goes on after the call that started it: its time is taken by events on the device's own
    stream, which cost no synchronisation until the figure is read. Times of several devices add up.

    Attributes:
        gradients: rows whose gradient through the model was computed, those that fill up a micro-batch included.
    """

    def __init__(self) -> None:
        self.gradients = 0
        self._seconds = 0.0
        self._lock = threading.Lock()
        self._pending: deque[tuple[Any, Any]] = deque()

    @property
    def model_seconds(self) -> float:
        """Time that the model computed, forward and backward; waits for what a device is still at."""
        while self._pending:
            started, ended = self._pending.popleft()
            ended.synchronize()
            self._add(started.elapsed_time(ended) / 1000)
        return self._seconds

    def count(self, gradients: int) -> None:
        """Add so many rows that a gradient is computed for."""
        with self._lock:
            self.gradients += gradients

    def _add(self, seconds: float) -> None:
        with self._lock:
            self._seconds += seconds

    def timed(self, work: Callable[[], T], device: torch.device) -> T:
        """Call `work` and add the time it takes on the device."""
        if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
            return self._timed_by_events(work, device)
        began = time.perf_counter()
        try:
            return work()
        finally:
            self._add(time.perf_counter() - began)

    def _timed_by_events(self, work: Callable[[], T], device: torch.device) -> T:
        stream = torch.cuda.current_stream(device)
        started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started.record(stream)
        try:
            return work()
        finally:
            ended.record(stream)
            with self._lock:
                self._pending.append((started, ended))
                if len(self._pending) > _MOST_PENDING:
                    self._add_what_has_passed()

    def _add_what_has_passed(self) -> None:
        while self._pending and self._pending[0][1].query():
            started, ended = self._pending.popleft()
            self._seconds += started.elapsed_time(ended) / 1000


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextlib.contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Inside, this meter counts; an outer one rests."""
    token = _METER.set(meter)
    try:
        yield
    finally:
        _METER.reset(token)


def by_model(work: Callable[[], T], inputs: Tensor, *, gradients: int = 0) -> T:
    """Call the user's model, or differentiate it, on the current meter's account.

    Args:
        work: the call.
        inputs: what it works on.
        gradients: rows of them that a gradient is computed for.
    """
    meter = _METER.get()
    if meter is None:
        return work()
    meter.count(gradients)
    return meter.timed(work, inputs.device)
