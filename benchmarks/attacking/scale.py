"""The targeted attack at scale: thousands of small images, hundreds of 64 x 64 in colour, a few of 512 x 512."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import time

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attacking import scaling, subjects
from attacking.common import Settings, now, table
from vaeaudit import attacks
from vaeaudit.attacks.targeted import SOLVER, pairs_at_once

STRENGTHS = 4
NARROW = 16
"""What the widths of Stable Diffusion's VAE are divided by; its 83.7 million parameters are hours on a CPU."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """One line of the table."""

    model: str
    pairs: int


SIZES = [
    Size(model="mnist-vae", pairs=50), Size(model="mnist-vae", pairs=2000),
    Size(model="64 x 64 colour", pairs=20), Size(model="64 x 64 colour", pairs=200),
    Size(model="512 x 512, AutoencoderKL-shaped", pairs=2),
]  # fmt: skip
COLUMNS = ["model", "multiply-adds of an encoding", "pairs", "evaluations a problem", "time a pair",
           "a pair's time, times that of the model's first line", "peak memory above the start"]  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spent:
    """On one attack: seconds (of the processor where that is a CPU), bytes (None where they cannot be told), evaluations a problem, multiply-adds."""

    seconds: float
    peak: int | None
    evaluations: float
    encoding: float


def run(settings: Settings) -> str:
    """One table."""
    sizes = [dataclasses.replace(SIZES[0], pairs=2)] if settings.tiny else SIZES
    spawning = multiprocessing.get_context("spawn")
    with spawning.Pool(1, maxtasksperchild=None if settings.tiny else 1) as pool:
        found = [pool.apply(spent, (size, settings, torch.get_num_threads())) for size in sizes]
    return described(sizes, found)


def described(sizes: list[Size], found: list[Spent]) -> str:
    """The table of these lines, and what it is of."""
    first: dict[str, float] = {}
    rows = []
    for size, one in zip(sizes, found, strict=True):
        a_pair = one.seconds / size.pairs
        ratio = a_pair / first.setdefault(size.model, a_pair)
        rows.append([
            size.model, f"{one.encoding:.2g}", size.pairs, f"{one.evaluations:.0f}", f"{1e3 * a_pair:.1f} ms", f"{ratio:.2f}",
            "–" if one.peak is None else f"{one.peak / 2**20:.0f} MiB",
        ])  # fmt: skip
    return "\n\n".join([
        f"{STRENGTHS} strengths; pairs are attacked in the chunks of an audit, and what an audit keeps of a pair is kept. "
        "`mnist-vae` is the zoo's, on its bundled images; the colour model (four convolutions) and the third, Stable "
        f"Diffusion's VAE with all widths divided by {NARROW}, have random weights, and images of smooth noise. The third's "
        "problems may spend 8 evaluations a phase. One turn each; times on a CPU are the processor's, which other programs do not "
        "lengthen much; every line is a process of its own, and memory is above "
        "what was in use after an attack on one pair.",
        table(COLUMNS, rows),
    ])  # fmt: skip


def spent(size: Size, settings: Settings, threads: int) -> Spent:
    """Attack one pair to warm up, then all; in a fresh process."""
    torch.set_num_threads(threads)
    subject = subject_of(size, settings)
    with torch.no_grad(), FlopCounterMode(display=False) as counting:
        subject.ae.encode(subject.originals[:1])
    attacked(subject, size.model, 1)
    clock = time.process_time if settings.device == "cpu" else functools.partial(now, settings.device)
    started = clock()
    peak, evaluations = scaling.peak_of(lambda: attacked(subject, size.model, size.pairs), settings.device)
    seconds = clock() - started
    return Spent(
        seconds=seconds, peak=peak, evaluations=evaluations / (size.pairs * STRENGTHS),
        encoding=counting.get_total_flops() / 2,
    )  # fmt: skip


def subject_of(size: Size, settings: Settings) -> subjects.Subject:
    """The model of a line, and its pairs."""
    if size.model == "mnist-vae":
        return subjects.small(dataclasses.replace(settings, pairs=size.pairs))
    if size.model.startswith("64"):
        return subjects.colour(dataclasses.replace(settings, pairs=size.pairs))
    torch.manual_seed(settings.seed)
    return subjects.of_smooth_noise(size.model, kl_shaped(), 512, dataclasses.replace(settings, pairs=size.pairs))


def kl_shaped() -> nn.Module:
    """Two blocks a level, attention in the middle, 4 latent channels."""
    from diffusers import AutoencoderKL

    model: nn.Module = AutoencoderKL(
        block_out_channels=tuple(width // NARROW for width in (128, 256, 512, 512)), layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, norm_num_groups=max(1, 32 // NARROW), sample_size=512,
    )  # fmt: skip
    return model


def attacked(subject: subjects.Subject, model: str, pairs: int) -> int:
    """Evaluations that all pairs took; of a chunk only figures outlive it, as in an audit."""
    few = {"solver": dataclasses.replace(SOLVER, max_evaluations=8), "rounds": 1} if model.startswith("512") else {}
    total, kept = 0, []  # what is kept must not grow memory by more than itself
    for rows in torch.arange(pairs).split(pairs_at_once(subject.originals, STRENGTHS)):
        found = attacks.targeted(subject.ae, subject.originals[rows], subject.targets[rows], STRENGTHS, **few)
        total += int(found.gradient_evaluations.sum())
        kept.append(np.stack([found.distortion.cpu(), found.objective.cpu()]))
    return total
