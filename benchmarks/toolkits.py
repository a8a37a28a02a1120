"""The attacks of other toolkits, made to attack an autoencoder, beside ours: same pairs, same limits, one judge.

    pip install ".[bench]"
    python benchmarks/toolkits.py [ball smallest] [--pairs 25] [--repeats 3] [--write docs/comparison.md]

Two questions about the zoo's `mnist-vae`: inside an L2 ball around the image, how near does the code come to the
target's; and what is the smallest L2 distortion that brings it so near. Every toolkit runs with its own defaults, and
with the best of a sweep of settings, chosen on the very pairs that it is judged on. A toolkit that is not
installed is left out, and the first line says so.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from attack import chosen, command_line, insert
from attacking import subjects
from attacking.common import Numbers, Settings, machine
from comparing import in_ball, smallest
from comparing.judging import Answer, Question, compared, distance, distortion, inside
from comparing.questions import Task
from comparing.ways import Way
from torch import Tensor

from vaeaudit import attacks
from vaeaudit.attacks import Strengths

RADII = (1.0, 3.0)
"""Of the ball, L2 of the input."""
SHARES = (0.5, 0.1)
"""How near the code has to come: shares of its distance before the attack."""
POINTS = (24, 100)
Value = TypeVar("Value")
TINY = {"steps": 2, "searches": 1, "restarts": 1}


def ball(task: Task, settings: Settings) -> Iterator[Question]:
    """The latent distance reached inside balls."""
    for radius in some(RADII, settings):
        yield Question(
            title=f"Latent distance to the target's code inside an L2 ball of {radius:g}; "
            f"{task.apart.median():.3f} without attack",
            limits=torch.full_like(task.apart, radius), ours={"targeted_ball": _ours_in_ball}, ways=in_ball.WAYS, judge=_nearness,
        )  # fmt: skip


def smallest_distortion(task: Task, settings: Settings) -> Iterator[Question]:
    """The distortion spent to come so near."""
    for share in some(SHARES, settings):
        yield Question(
            title=f"Smallest L2 distortion that brings the code to {share:.0%} of its distance to the target's",
            limits=share * task.apart, ways=smallest.WAYS, judge=_cost,
            ours={"smallest_distortion": _ours_smallest}
            | {f"targeted, {points} values of C": functools.partial(_ours_on_the_curve, settings.series(points))
               for points in some(POINTS, settings)},
        )  # fmt: skip


PARTS: dict[str, Callable[[Task, Settings], Iterator[Question]]] = {"ball": ball, "smallest": smallest_distortion}


def some(values: Sequence[Value], settings: Settings) -> Sequence[Value]:
    """All of them, or the first in a tiny run."""
    return values[:1] if settings.tiny else values


def _ours_in_ball(task: Task, limits: Tensor) -> Answer:
    subject = task.subject
    found = attacks.targeted_ball(
        subject.ae, subject.originals, subject.targets, float(limits[0]), "l2", divergence="mean_l2"
    )
    return Answer(images=found.adversarial[:, 0], evaluations=float(found.gradient_evaluations.double().mean()))


def _ours_smallest(task: Task, limits: Tensor) -> Answer:
    subject = task.subject
    found = attacks.smallest_distortion(
        subject.ae, subject.originals, subject.targets, limits.double().square(), divergence="mean_l2"
    )
    return Answer(images=found.adversarial, evaluations=float(found.gradient_evaluations.double().mean()))


def _ours_on_the_curve(points: Strengths, task: Task, limits: Tensor) -> Answer:
    """The whole curve, and the least distorted of its points that is near enough."""
    subject = task.subject
    found = attacks.targeted(subject.ae, subject.originals, subject.targets, points, divergence="mean_l2")
    near = found.divergence.clamp_min(0).sqrt() <= limits[:, None]
    best = found.distortion.where(near, torch.inf).argmin(1)
    return Answer(
        images=found.adversarial[torch.arange(len(task)), best],
        evaluations=float(found.gradient_evaluations.double().mean()),
    )


def _nearness(task: Task, images: Tensor, limits: Tensor) -> Numbers:
    return inside(distance(task, images), distortion(task, images), limits)


def _cost(task: Task, images: Tensor, limits: Tensor) -> Numbers:
    return inside(distortion(task, images), distance(task, images), limits)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask the questions that were chosen."""
    options = parsed(arguments)
    settings = Settings(
        device=options.device, seed=options.seed, repeats=1 if options.tiny else options.repeats,
        pairs=2 if options.tiny else options.pairs, tiny=options.tiny,
    )  # fmt: skip
    task = Task.of(subjects.small(settings))
    heading = f"{machine(settings)}. {versions([*in_ball.WAYS, *smallest.WAYS])}"
    print(heading, flush=True)
    for name in options.parts or PARTS:
        tables = []
        for question in PARTS[name](task, settings):
            tables.append(compared(task, quick(question) if options.tiny else question, settings))
            print(f"\n{tables[-1]}", flush=True)
        if options.write:
            marker = f"{name} {settings.device.partition(':')[0]}"
            insert(options.write, marker, "\n\n".join([f"{heading} {len(task)} pairs.", *tables]))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    return chosen(command_line(__doc__, PARTS, marker="ball cpu"), arguments, PARTS)


def quick(question: Question) -> Question:
    """With ways of one setting that takes no time; their figures mean nothing."""
    ways = [
        Way(name=way.name, package=way.package, attack=way.attack, recommended=None,
            sweep=[{name: min(value, TINY.get(name, np.inf)) for name, value in way.sweep[0].items()}])
        for way in question.ways
    ]  # fmt: skip
    return Question(title=question.title, limits=question.limits, ours=question.ours, ways=ways, judge=question.judge)


def versions(ways: Sequence[Way]) -> str:
    """Which toolkits are compared, and which are not installed."""
    found = {way.package: way.version for way in ways if way.package}
    present = ", ".join(f"{package} {version}" for package, version in found.items() if version)
    absent = ", ".join(package for package, version in found.items() if version is None)
    return f"{present or 'No other toolkit'}" + (f"; not installed: {absent}" if absent else "") + "."


if __name__ == "__main__":
    main()
