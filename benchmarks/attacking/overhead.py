"""Time of the whole attack over that of as many raw gradient evaluations at the best batch size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attacking import subjects
from attacking.common import Settings, evaluations_a_problem, in_turns, now, spread, table
from attacking.subjects import Subject
from vaeaudit import attacks
from vaeaudit.attacks import Strengths
from vaeaudit.divergences import divergence_kl
from vaeaudit.latent import Posterior

BATCHES = tuple(2**k for k in range(13))
LARGEST = 2**22
"""Values of the largest batch."""
LEAST_SECONDS = 0.2
"""How long a batch size is evaluated for, at least."""
SERIES: tuple[Strengths, ...] = (24, "tabacof2016")


def run(settings: Settings) -> str:
    """Both series of strengths on the dense models, the shorter one and half of the pairs on the convolutional one."""
    rows = []
    fewer = replace(settings, pairs=max(1, settings.pairs // 2))
    for subject, all_series in (
        (subjects.small(settings), SERIES), (subjects.wide(settings), SERIES), (subjects.colour(fewer), SERIES[:1]),
    ):  # fmt: skip
        swept = _sweep(subject, settings)
        fastest = min(swept, key=lambda batch: np.median(swept[batch]))
        for series in all_series[: 1 if settings.tiny else None]:
            rows.append(_row(subject, settings.series(series), np.array(swept[fastest]), fastest, settings))
    columns = ["model", "pairs x strengths", "evaluations a problem", "attack", "raw evaluation, the best batch size",
               "attack / raw evaluations"]  # fmt: skip
    return "\n".join([
        "A raw evaluation is the divergence of a batch, forwards and backwards, with no optimiser: "
        f"batches of up to {BATCHES[-1]:,} rows and {LARGEST:,} values are tried and the fastest counts. The colour model (four "
        "convolutions, random weights) attacks half of the pairs. The attack's "
        "evaluations are its `gradient_evaluations`; all else that it does, starts and choices between "
        "solutions, is overhead.",
        "",
        table(columns, rows),
    ])  # fmt: skip


def _row(subject: Subject, series: Strengths, raw: np.ndarray, batch: int, settings: Settings) -> list[str]:
    def work() -> attacks.TargetedAttack:
        return attacks.targeted(subject.ae, subject.originals, subject.targets, series)

    turns = in_turns({"attack": work}, settings)["attack"]
    attack = turns.result
    assert isinstance(attack, attacks.TargetedAttack)
    spent = float(attack.gradient_evaluations.sum())
    return [
        subject.name, " x ".join(str(n) for n in attack.objective.shape), f"{evaluations_a_problem(attack):.0f}",
        f"{spread(turns.seconds)} s", f"{spread(1e6 * raw)} µs a row, {batch:,} rows",
        spread(np.array(turns.seconds) / (spent * np.median(raw))),
    ]  # fmt: skip


def _batches(subject: Subject, settings: Settings) -> list[int]:
    fitting = [batch for batch in BATCHES if batch * subject.originals[0].numel() <= LARGEST]
    return fitting[: 3 if settings.tiny else None]


def _sweep(subject: Subject, settings: Settings) -> dict[int, list[float]]:
    """Seconds a row of a raw evaluation, turn by turn, for each batch size."""
    seconds: dict[int, list[float]] = {batch: [] for batch in _batches(subject, settings)}
    with subject.ae.at_rest():
        for turn in range(settings.repeats + 1):  # the first warms up
            for batch, taken in seconds.items():
                found = _seconds_a_row(_evaluation(subject, batch), batch, settings)
                if turn:
                    taken.append(found)
    return seconds


def _evaluation(subject: Subject, batch: int) -> Callable[[], object]:
    rows = torch.arange(batch) % len(subject.originals)
    inputs, target = subject.originals[rows], subject.ae.posteriors(subject.targets[rows])

    def evaluate() -> Tensor:
        points = inputs.clone().requires_grad_()
        value = divergence_kl(subject.ae.encode(points), Posterior(mean=target.mean, log_variance=target.log_variance))
        (gradient,) = torch.autograd.grad(value.sum(), points)
        return gradient

    return evaluate


def _seconds_a_row(work: Callable[[], object], batch: int, settings: Settings) -> float:
    started, count = now(settings.device), 0
    while True:
        work()
        count += 1
        taken = now(settings.device) - started
        if taken > (0.001 if settings.tiny else LEAST_SECONDS):
            return taken / (count * batch)
