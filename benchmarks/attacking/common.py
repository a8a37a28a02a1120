"""What the comparisons share: settings, taking turns, the exact objective, and tables."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

import vaeaudit
from vaeaudit.attacks import Strengths, TargetedAttack
from vaeaudit.divergences import divergence_named

Work = Callable[[], object]
Numbers = NDArray[np.float64]
ROWS_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How large a run is; `tiny` shows that everything works, and its figures mean nothing."""

    device: str = "cpu"
    data: Path | None = None
    seed: int = 0
    repeats: int = 3
    pairs: int = 25
    problems: int = 100
    """Problems that a solver of one problem at a time is given, drawn at random from all."""
    tiny: bool = False

    def steps(self, count: int) -> int:
        """So many steps, or next to none in a tiny run."""
        return min(count, 3) if self.tiny else count

    def series(self, wanted: Strengths) -> Strengths:
        """This series of C, or two quick ones in a tiny run."""
        return [1.0, 10.0] if self.tiny else wanted


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Seconds of every turn, and what the last one returned."""

    seconds: list[float]
    result: object


def in_turns(ways: dict[str, Work], settings: Settings, warm_ups: dict[str, Work] | None = None) -> dict[str, Turns]:
    """Run all ways once to warm up, then `repeats` times in turns, so that a busy machine slows all alike.

    Args:
        ways: what to run, by name.
        settings: device and repeats.
        warm_ups: what to warm up with instead, where a part of the work is enough.
    """
    results = {name: work() for name, work in (ways | (warm_ups or {})).items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(settings.repeats):
        for name, work in ways.items():
            started = now(settings.device)
            results[name] = work()
            seconds[name].append(now(settings.device) - started)
    return {name: Turns(seconds=seconds[name], result=results[name]) for name in ways}


def now(device: str) -> float:
    """Seconds on a clock, when all work given to the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def spread(values: Sequence[float] | Numbers, digits: int = 3) -> str:
    """Median, and least to largest."""
    low, middle, high = (f"{value:.{digits}g}" for value in (np.min(values), np.median(values), np.max(values)))
    return f"{middle} ({low} to {high})"


def time_ratio(theirs: Turns, ours: Turns, share: float = 1.0) -> str:
    """Their seconds over ours, turn by turn; `share` is the share of our problems that they solved."""
    return spread(np.array(theirs.seconds) / share / np.array(ours.seconds))


def quotients(ours: Numbers, theirs: Numbers) -> list[str]:
    """Ours over theirs as cells: median, mean, 95th percentile, largest. Below 1 ours is better."""
    ratio = ours / np.maximum(theirs, np.finfo(float).tiny)
    figures = (np.median(ratio), ratio.mean(), np.quantile(ratio, 0.95), ratio.max())
    return [f"{figure:.4f}" for figure in figures]


QUOTIENTS = ["median", "mean", "95th percentile", "largest"]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine(settings: Settings) -> str:
    """The device, threads and versions, in a line."""
    name = torch.cuda.get_device_name() if settings.device.startswith("cuda") else processor()
    return (
        f"{settings.device}: {name}; {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}, scipy {scipy.__version__}, Python {platform.python_version()}; "
        f"{settings.repeats} turns after one to warm up"
    )


def processor() -> str:
    """What the CPU calls itself."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def objective_of(
    ae: vaeaudit.Autoencoder, originals: Tensor, targets: Tensor, adversarial: Tensor, strengths: Tensor, *,
    divergence: str = "kl", penalty: str = "l2_squared",
) -> Numbers:  # fmt: skip
    """Delta + C * P of finished images, one a row, as whoever found them is judged; float64.

    Args:
        ae: the model.
        originals: x, `(rows, *event)`.
        targets: t, `(rows, *event)`.
        adversarial: x + d, `(rows, *event)`.
        strengths: C, `(rows,)`.
        divergence: Delta.
        penalty: P.
    """
    with ae.at_rest(), torch.no_grad():
        parts = []
        for rows in torch.arange(len(originals)).split(ROWS_AT_ONCE):
            found, wanted = ae.encode(adversarial[rows]), ae.encode(targets[rows])
            _, delta = divergence_named(divergence, deterministic=found.log_variance is None)
            parts.append(delta(found, wanted).double())
    squares = (adversarial.double() - originals.double()).flatten(1).square().sum(1)
    size = squares if penalty == "l2_squared" else squares.sqrt()
    values: Numbers = (torch.cat(parts) + strengths.to(squares) * size).cpu().numpy()
    return values


def evaluations_a_problem(attack: TargetedAttack) -> float:
    """Gradient evaluations that an attack spent on a problem, on average."""
    return float(attack.gradient_evaluations.sum()) / attack.objective.numel()
