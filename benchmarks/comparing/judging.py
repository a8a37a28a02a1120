"""All ways to one figure, timed in turns and judged alike."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from attacking.common import Numbers, Settings, Turns, Work, in_turns, objective_of, spread, table, time_ratio
from torch import Tensor

from comparing.questions import Code, Task
from comparing.ways import Setting, Way, said

ROUNDING = 1e-5
"""Part by which a limit may be exceeded."""
COLUMNS = ["attack", "settings", "evaluations", "median", "keeps the limit for", "ours / its", "ours better by 1 % for",
           "its better by 1 % for", "time, its / ours"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Images that a way found, `(pairs, *event)`, and how many gradients it took for each pair."""

    images: Tensor
    evaluations: float


Ours = Callable[[Task, Tensor], Answer]
Judge = Callable[[Task, Tensor, Tensor], Numbers]
"""From the task, images and limits to a figure for each pair, smaller is better; infinite where the limit is broken."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What all ways are asked.

    Attributes:
        title: of the table.
        limits: for each pair, `(pairs,)`.
        ours: our ways, by what they are called; the first is the one that theirs are held against.
        ways: theirs.
        judge: of both.
    """

    title: str
    limits: Tensor
    ours: Mapping[str, Ours]
    ways: Sequence[Way]
    judge: Judge


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table: a way with a setting."""

    way: Way
    setting: Setting
    remark: str

    @property
    def key(self) -> str:
        """What its turns are kept under."""
        return f"{self.way.name}, {self.remark}"


def distance(task: Task, images: Tensor) -> Numbers:
    """L2 from the target's posterior mean, float64, `(pairs,)`."""
    subject = task.subject
    squares = objective_of(
        subject.ae, subject.originals, subject.targets, images, torch.zeros(len(task)), divergence="mean_l2"
    )
    return np.sqrt(np.maximum(squares, 0))


def distortion(task: Task, images: Tensor) -> Numbers:
    """L2 from the original, float64, `(pairs,)`."""
    found: Numbers = (images - task.subject.originals).double().flatten(1).norm(dim=1).cpu().numpy()
    return found


def inside(figure: Numbers, limited: Numbers, limits: Tensor) -> Numbers:
    """The figure where the limit is kept, else infinity."""
    kept = limited <= limits.double().cpu().numpy() * (1 + ROUNDING)
    return np.where(kept, figure, np.inf)


def compared(task: Task, question: Question, settings: Settings) -> str:
    """The table of a question: every way as its toolkit recommends it, and with the best setting of its sweep."""
    entries = [entry for way in question.ways if way.version is not None for entry in _entries(task, question, way)]
    ours = {name: functools.partial(work, task, question.limits) for name, work in question.ours.items()}
    theirs = {entry.key: functools.partial(answer, task, question, entry.way, entry.setting) for entry in entries}
    swept: dict[str, Work] = dict.fromkeys(theirs, object)  # warmed up by the sweep
    turns = in_turns({**ours, **theirs}, settings, swept)
    first = turns[next(iter(ours))]
    rows = [_row(task, question, f"**vaeaudit, {name}**", "", turns[name], first) for name in ours]
    rows += [_row(task, question, entry.way.name, f"{entry.remark}: {said(entry.setting)}", turns[entry.key], first)
             for entry in entries]  # fmt: skip
    return f"**{question.title}**\n\n{table(COLUMNS, rows)}"


def answer(task: Task, question: Question, way: Way, setting: Setting) -> Answer:
    """One run of a way, from a fixed seed where it draws."""
    torch.manual_seed(0)
    code = Code(task.subject.ae)
    low, high = task.subject.ae.bounds
    with task.subject.ae.at_rest():
        found = way.attack(task, code, question.limits, setting)
    return Answer(images=found.detach().clamp(low, high), evaluations=code.gradients / len(task))


def _entries(task: Task, question: Question, way: Way) -> list[Entry]:
    sweep = [*way.sweep, *([way.recommended] if way.recommended else [])]
    best = min(sweep, key=lambda setting: _rank(task, question, way, setting))
    found = [Entry(way=way, setting=best, remark=f"best of {len(sweep)}")]
    return [Entry(way=way, setting=way.recommended, remark="default"), *found] if way.recommended else found


def _rank(task: Task, question: Question, way: Way, setting: Setting) -> tuple[int, float]:
    """Pairs for which the limit is broken, then the mean figure."""
    figure = question.judge(task, answer(task, question, way, setting).images, question.limits)
    kept = figure[np.isfinite(figure)]
    return len(figure) - len(kept), float(kept.mean()) if len(kept) else 0.0


def _row(task: Task, question: Question, name: str, setting: str, theirs: Turns, ours: Turns) -> list[str]:
    its, our = (_figure(task, question, turns) for turns in (theirs, ours))
    assert isinstance(theirs.result, Answer)
    both = np.isfinite(its) & np.isfinite(our)
    return [
        name, setting, f"{theirs.result.evaluations:,.0f}",
        f"{np.median(its):.3f}" if np.isfinite(its).any() else "–",
        f"{np.isfinite(its).sum()} of {len(its)}",
        spread(our[both] / its[both]) if both.any() else "–",
        f"{(our < 0.99 * its).sum()}", f"{(its < 0.99 * our).sum()}",
        time_ratio(theirs, ours),
    ]  # fmt: skip


def _figure(task: Task, question: Question, turns: Turns) -> Numbers:
    assert isinstance(turns.result, Answer)
    return question.judge(task, turns.result.images, question.limits)
