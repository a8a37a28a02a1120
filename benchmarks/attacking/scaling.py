"""How time and peak memory grow with pairs, strengths, input and latent size."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from attacking import subjects
from attacking.common import Settings, now, spread, table
from vaeaudit import attacks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """Of one attack."""

    pairs: int = 8
    strengths: int = 12
    pixels: tuple[int, ...] = (1, 28, 28)
    latent: int = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one attack: seconds of every turn, bytes (None where they cannot be told), evaluations a problem."""

    seconds: list[float]
    peak: int | None
    evaluations: float


BASE = Shape()
GROWING: dict[str, list[Shape]] = {
    "pairs": [dataclasses.replace(BASE, pairs=n) for n in (2, 8, 32, 128)],
    "strengths": [dataclasses.replace(BASE, strengths=n) for n in (6, 12, 24, 96)],
    "pixels": [dataclasses.replace(BASE, pixels=s) for s in ((1, 28, 28), (3, 32, 32), (3, 64, 64))],
    "latent": [dataclasses.replace(BASE, latent=n) for n in (2, 8, 32, 128)],
}


COLUMNS = ["time", "time a problem", "evaluations a problem", "peak memory above the start"]
ON_A_GPU = [dataclasses.replace(BASE, pixels=(3, n, n)) for n in (128, 256)]


def run(settings: Settings) -> str:
    """One table for each of the four."""
    spawning = multiprocessing.get_context("spawn")
    tables = []
    # a process for each attack: peaks are not told apart within one
    with spawning.Pool(1, maxtasksperchild=None if settings.tiny else 1) as pool:
        for what, shapes in GROWING.items():
            tried = shapes + (ON_A_GPU if what == "pixels" and settings.device.startswith("cuda") else [])
            if settings.tiny:
                tried = [dataclasses.replace(shapes[0], pairs=1, strengths=1, pixels=(1, 4, 4))]
            costs = [pool.apply(cost, (shape, settings, torch.get_num_threads())) for shape in tried]
            rows = [_row(getattr(shape, what), shape, found) for shape, found in zip(tried, costs, strict=True)]
            tables.append(table([what, *COLUMNS], rows))
    base = f"{BASE.pairs} pairs, {BASE.strengths} strengths, {_named(BASE.pixels)} pixels, {BASE.latent} latent units"
    measured = (
        "`max_memory_allocated`" if settings.device.startswith("cuda") else "the high-water mark of resident memory"
    )
    return "\n\n".join([
        f"Dense VAEs with random weights, hidden layers of {subjects.HIDDEN}, images of noise; what does not vary: "
        f"{base}. Every line is a process of its own; memory is {measured} less what was in use after an attack on one "
        "pair.",
        *tables,
    ])  # fmt: skip


def _row(value: object, shape: Shape, found: Cost) -> list[str]:
    problems = shape.pairs * shape.strengths
    return [
        _named(value), f"{spread(found.seconds)} s", f"{1e3 * np.median(found.seconds) / problems:.2f} ms",
        f"{found.evaluations:.0f}", "–" if found.peak is None else f"{found.peak / 2**20:.1f} MiB",
    ]  # fmt: skip


def _named(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def cost(shape: Shape, settings: Settings, threads: int) -> Cost:
    """Attack one pair to warm up, all with an eye on memory, then for time; in a fresh process."""
    torch.set_num_threads(threads)
    subject = subjects.random_weights(shape.pixels, shape.latent, shape.pairs, settings.device, settings.seed)

    def attack(pairs: int = shape.pairs) -> attacks.TargetedAttack:
        return attacks.targeted(subject.ae, subject.originals[:pairs], subject.targets[:pairs], shape.strengths)

    attack(1)
    peak, found = peak_of(attack, settings.device)
    seconds = []
    for _ in range(settings.repeats):
        started = now(settings.device)
        attack()
        seconds.append(now(settings.device) - started)
    evaluations = float(found.gradient_evaluations.sum()) / found.objective.numel()
    return Cost(seconds=seconds, peak=peak, evaluations=evaluations)


T = TypeVar("T")


def peak_of(work: Callable[[], T], device: str) -> tuple[int | None, T]:
    """How far memory rises above what is in use now, in bytes; None on a CPU without Linux's /proc."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = work()
        return torch.cuda.max_memory_allocated() - before, result
    status, marks = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return None, work()
    with contextlib.suppress(AttributeError):  # glibc's: what is free goes back, so that it does not count as in use
        ctypes.CDLL(None).malloc_trim(0)
    marks.write_text("5")  # the high-water mark starts again from what is resident
    start = _resident(status, "VmRSS")
    result = work()
    return _resident(status, "VmHWM") - start, result


def _resident(status: Path, field: str) -> int:
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
