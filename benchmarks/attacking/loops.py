"""Against a hand-written Adam loop and the settings of published attacks, at equal objective or distortion."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attacking import published, subjects
from attacking.common import QUOTIENTS, Numbers, Settings, Turns, in_turns, objective_of, quotients, table, time_ratio
from attacking.one_by_one import PAPER, Found, drawn, solve
from attacking.subjects import Subject
from vaeaudit import attacks, geometry

STRENGTHS = 24
ADAM_STEPS = (500, 2000)
RADIUS_LINF, RADII_L2 = 0.1, (1.0, 3.0)
RESTARTS = 10
WILLETTS = torch.cat([torch.zeros(1), torch.logspace(-20, 20, 50, base=2)]).double()
FEW = 10
"""Pairs for the published settings, which mostly take one pair at a time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two ways to one figure.

    Attributes:
        name: whose settings they are.
        figure: what is compared, at equal what.
        ours: our way.
        theirs: their way.
        judge: the figures of our result and of theirs, smaller is better, `(problems,)` each.
        share: share of the problems that they are given.
        note: what else differs.
    """

    name: str
    figure: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    judge: Callable[[object, object], tuple[Numbers, Numbers]]
    share: float = 1.0
    note: str = ""


def run(settings: Settings) -> str:
    """The hand-written loop on all pairs, the published settings on a few."""
    subject = subjects.small(settings)
    few = dataclasses.replace(subject, originals=subject.originals[:FEW], targets=subject.targets[:FEW])
    comparisons = [
        *(_adam(subject, settings.steps(steps), settings) for steps in ADAM_STEPS),
        _kuzina2021_supervised(few, settings),
        _kuzina2021_unsupervised(few, settings),
        _kuzina2022_targeted(few, settings),
        _kuzina2022_untargeted(few, settings),
        _willetts2021(few, settings),
        *(_barrett2022(few, radius, settings) for radius in RADII_L2),
    ]
    rows = []
    for compared in comparisons:
        turns = in_turns({"ours": compared.ours, "theirs": compared.theirs}, settings)
        rows.append(_row(compared, turns))
    columns = [
        "settings",
        "compared",
        *(f"ours / theirs, {which}" for which in QUOTIENTS),
        "theirs",
        "time, theirs / ours",
    ]
    notes = "\n".join(f"- {compared.name}: {compared.note}" for compared in comparisons if compared.note)
    return "\n".join([
        f"**{subject.name}**: {len(subject.originals)} pairs for the hand-written loop, {len(few.originals)} for the "
        "published settings. Below 1 ours is better; where a figure is better when it is larger, "
        "it is theirs / ours that stands there.",
        "",
        table(columns, rows),
        "",
        notes,
    ])  # fmt: skip


def _row(compared: Comparison, turns: dict[str, Turns]) -> list[str]:
    ours, theirs = compared.judge(turns["ours"].result, turns["theirs"].result)
    seconds = np.median(turns["theirs"].seconds)
    return [
        compared.name, compared.figure, *quotients(ours, theirs), f"{seconds:.3g} s",
        time_ratio(turns["theirs"], turns["ours"], compared.share),
    ]  # fmt: skip


def _adam(subject: Subject, steps: int, settings: Settings) -> Comparison:
    series = attacks.strength_series(subject.ae, subject.originals, subject.targets, settings.series(STRENGTHS))
    x, t = (images.repeat_interleave(len(series), 0) for images in (subject.originals, subject.targets))
    strengths = series.repeat(len(subject.originals))

    def theirs() -> Tensor:
        with subject.ae.at_rest():
            return published.adam_loop(subject.ae, x, t, strengths, steps)

    def judge(ours: object, theirs: object) -> tuple[Numbers, Numbers]:
        assert isinstance(ours, attacks.TargetedAttack)
        assert isinstance(theirs, Tensor)
        found = ours.adversarial.flatten(0, 1)
        return objective_of(subject.ae, x, t, found, strengths), objective_of(subject.ae, x, t, theirs, strengths)

    return Comparison(
        name=f"hand-written Adam, {steps} steps", figure=f"objective, {len(series)} strengths",
        ours=lambda: attacks.targeted(subject.ae, subject.originals, subject.targets, series),
        theirs=theirs, judge=judge,
        note="all pairs and strengths in one batch, rate 0.01, clamped after every step.",
    )  # fmt: skip


def _unbounded(subject: Subject) -> Subject:
    """Without a box, as settings that do not clamp are solved."""
    return dataclasses.replace(subject, ae=dataclasses.replace(subject.ae, bounds=(-math.inf, math.inf)))


def _at_rest(subject: Subject, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def resting() -> Tensor:
        with subject.ae.at_rest():
            return work()

    return resting


def _kuzina2021_supervised(bounded: Subject, settings: Settings) -> Comparison:
    subject = _unbounded(bounded)
    ae, x, t = subject.ae, subject.originals, subject.targets
    one = torch.ones(len(x))

    def judge(ours: object, theirs: object) -> tuple[Numbers, Numbers]:
        assert isinstance(ours, attacks.TargetedAttack)
        assert isinstance(theirs, Tensor)
        a, b = (objective_of(ae, x, t, found, one, divergence="symmetric_kl", penalty="l2")
                for found in (ours.adversarial[:, 0], theirs))  # fmt: skip
        return a, b

    return Comparison(
        name="Kuzina 2021, supervised", figure="objective: symmetric KL + L2(d)",
        ours=lambda: attacks.targeted(ae, x, t, [1.0], divergence="symmetric_kl", penalty="l2"),
        theirs=_at_rest(subject, lambda: published.kuzina2021_supervised(ae, x, t, steps=settings.steps(1000))),
        judge=judge, note="no box for either, as released; one pair at a time.",
    )  # fmt: skip


def _kuzina2021_unsupervised(subject: Subject, settings: Settings) -> Comparison:
    ae, x = subject.ae, subject.originals

    def stretched(directions: Tensor) -> Numbers:
        with ae.at_rest():
            _, moved = torch.func.jvp(lambda inputs: ae.encode(inputs).mean, (x,), (directions,))
        lengths: Numbers = moved.double().norm(dim=1).cpu().numpy()
        return lengths

    def judge(ours: object, theirs: object) -> tuple[Numbers, Numbers]:
        assert isinstance(ours, geometry.Spectrum)
        assert isinstance(theirs, Tensor)
        best: Numbers = ours.eigenvalues[:, 0].sqrt().double().cpu().numpy()
        return stretched(theirs), best

    return Comparison(
        name="Kuzina 2021, unsupervised", figure="stretching of a unit step, theirs / ours",
        ours=lambda: geometry.encoder_spectrum(ae, x, "mean", top=1),
        theirs=_at_rest(subject, lambda: published.kuzina2021_unsupervised(ae, x, settings.steps(300), settings.seed)),
        judge=judge,
        note="one chain of one step, before it is rescaled to the range of pixels; ours is the exact eigenvalue.",
    )  # fmt: skip


def _kuzina2022_targeted(subject: Subject, settings: Settings) -> Comparison:
    ae, x, t = subject.ae, subject.originals, subject.targets
    nothing = torch.zeros(len(x))

    def judge(ours: object, theirs: object) -> tuple[Numbers, Numbers]:
        assert isinstance(ours, attacks.TargetedAttack)
        assert isinstance(theirs, Tensor)
        distortion = (theirs - x).double().flatten(1).norm(dim=1)
        allowed = ours.distortion <= distortion[:, None]
        start, reached = (objective_of(ae, x, t, found, nothing, divergence="symmetric_kl") for found in (x, theirs))
        on_curve = ours.divergence.masked_fill(~allowed, math.inf).min(1).values.cpu().numpy()
        return np.minimum(on_curve, start), reached

    return Comparison(
        name=f"Kuzina 2022, supervised, L-infinity {RADIUS_LINF}",
        figure="symmetric KL at no more than its L2 distortion",
        ours=lambda: attacks.targeted(ae, x, t, settings.series(STRENGTHS), divergence="symmetric_kl"),
        theirs=_at_rest(subject, lambda: published.kuzina2022(ae, x, t, RADIUS_LINF, settings.steps(500))),
        judge=judge,
        note="its ball is L-infinity and ours minimises L2, in which they are compared; our time is that of a curve of "
        f"{STRENGTHS} points, theirs of one point.",
    )  # fmt: skip


def _displacements(subject: Subject, images: Tensor) -> Numbers:
    moved = subject.ae.reconstructions(images) - subject.ae.reconstructions(subject.originals)
    lengths: Numbers = moved.double().flatten(1).norm(dim=1).cpu().numpy()
    return lengths


def _damage(subject: Subject) -> Callable[[object, object], tuple[Numbers, Numbers]]:
    def judge(ours: object, theirs: object) -> tuple[Numbers, Numbers]:
        assert isinstance(ours, attacks.MaximumDamage)
        assert isinstance(theirs, Tensor)
        return _displacements(subject, theirs), _displacements(subject, ours.adversarial[:, 0])

    return judge


def _kuzina2022_untargeted(subject: Subject, settings: Settings) -> Comparison:
    ae, x = subject.ae, subject.originals
    return Comparison(
        name=f"Kuzina 2022, unsupervised, L-infinity {RADIUS_LINF}", figure="damage at equal L-infinity, theirs / ours",
        ours=lambda: attacks.maximum_damage(ae, x, RADIUS_LINF, "linf"),
        theirs=_at_rest(subject, lambda: published.kuzina2022(
            ae, x, None, RADIUS_LINF, settings.steps(50), settings.steps(RESTARTS), settings.seed
        )),
        judge=_damage(subject),
        note="theirs maximises the symmetric KL of the posteriors, ours the displacement of the reconstruction, "
        "which is what is compared.",
    )  # fmt: skip


def _willetts2021(subject: Subject, settings: Settings) -> Comparison:
    series = WILLETTS[-2:] if settings.tiny else WILLETTS
    problems = drawn(len(subject.originals), series, settings.problems, settings.seed)
    x, t = subject.originals[problems.pair], subject.targets[problems.pair]

    def judge(ours: object, theirs: object) -> tuple[Numbers, Numbers]:
        assert isinstance(ours, attacks.TargetedAttack)
        assert isinstance(theirs, Found)
        found = ours.adversarial.flatten(0, 1)[problems.position.to(ours.adversarial.device)]
        a, b = (objective_of(subject.ae, x, t, images, problems.strength, penalty="l2")
                for images in (found, theirs.adversarial))  # fmt: skip
        return a, b

    total = len(subject.originals) * len(series)
    return Comparison(
        name="Willetts 2021", figure=f"objective: KL + C L2(d), {len(series)} strengths",
        ours=lambda: attacks.targeted(subject.ae, subject.originals, subject.targets, series, penalty="l2"),
        theirs=lambda: solve(subject, problems, PAPER, penalty="l2", seed=settings.seed),
        judge=judge, share=len(problems) / total,
        note=f"L-BFGS-B of scipy, {len(problems)} of {total} problems drawn at random; the ratio of times is "
        "extrapolated.",
    )  # fmt: skip


def _barrett2022(bounded: Subject, radius: float, settings: Settings) -> Comparison:
    subject = _unbounded(bounded)
    return Comparison(
        name=f"Barrett 2022, Camuto 2021, L2 {radius:g}", figure="damage at equal L2, theirs / ours",
        ours=lambda: attacks.maximum_damage(subject.ae, subject.originals, radius),
        theirs=_at_rest(subject, lambda: published.barrett2022(
            subject.ae, subject.originals, radius, settings.steps(5), settings.seed, settings.steps(15000)
        )),
        judge=_damage(subject), note="no box for either, as released; mean reconstructions for both.",
    )  # fmt: skip
