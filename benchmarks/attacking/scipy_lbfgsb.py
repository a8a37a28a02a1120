"""Against L-BFGS-B per problem: scipy's, and botorch's driver of it that evaluates problems together."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from attacking import subjects
from attacking.common import (
    QUOTIENTS,
    Numbers,
    Settings,
    Turns,
    Work,
    evaluations_a_problem,
    in_turns,
    objective_of,
    quotients,
    table,
    time_ratio,
)
from attacking.one_by_one import DEFAULTS, NOISE, PAPER, Found, Problems, drawn, solve
from attacking.subjects import Subject
from vaeaudit import attacks
from vaeaudit.divergences import divergence_kl
from vaeaudit.latent import Posterior

SERIES = "tabacof2016"
SETTINGS: dict[str, Mapping[str, float]] = {"paper A's settings": PAPER, "default settings": DEFAULTS}
WARMING = 2
"""Problems to warm a solver of single problems up with."""


def run(settings: Settings) -> str:
    """Paper A's protocol on the zoo's model and on its own architecture."""
    return "\n\n".join(_compare(make(settings), settings) for make in (subjects.small, subjects.wide))


def _compare(subject: Subject, settings: Settings) -> str:
    series = attacks.strength_series(subject.ae, subject.originals, subject.targets, settings.series(SERIES))
    problems = drawn(len(subject.originals), series, settings.problems, settings.seed)
    ways: dict[str, Work] = {
        "vaeaudit": lambda: attacks.targeted(subject.ae, subject.originals, subject.targets, series)
    }
    warm_ups: dict[str, Work] = {}
    places = {"": subject}
    if subject.originals.is_cuda:
        places = {", model on the GPU": subject, ", model on the CPU": subject.on("cpu")}
    for (where, there), (which, limits) in itertools.product(places.items(), SETTINGS.items()):
        name = f"scipy, {which}{where}"
        ways[name] = partial(solve, there, problems, limits, seed=settings.seed)
        warm_ups[name] = partial(solve, there, problems.first(WARMING), limits, seed=settings.seed)
    if importlib.util.find_spec("botorch"):
        name = "botorch's batched driver of scipy, paper A's settings"
        ways[name] = partial(_botorch, subject, problems, settings.seed)
        warm_ups[name] = partial(_botorch, subject, problems.first(WARMING), settings.seed)
    turns = in_turns(ways, settings, warm_ups)
    return _report(subject, problems, turns, len(series))


def _report(subject: Subject, problems: Problems, turns: dict[str, Turns], strengths: int) -> str:
    ours = turns.pop("vaeaudit")
    attack = ours.result
    assert isinstance(attack, attacks.TargetedAttack)
    total = attack.objective.numel()
    our_images = attack.adversarial.flatten(0, 1)[problems.position.to(attack.adversarial.device)]
    our_values = _judged(subject, problems, our_images)
    our_seconds = np.median(ours.seconds)
    rows = [["**vaeaudit**", *["1"] * len(QUOTIENTS), f"{evaluations_a_problem(attack):.0f}",
             f"{1e3 * our_seconds / total:.2f} ms", f"{our_seconds:.3g} s", "1"]]  # fmt: skip
    for name, theirs in turns.items():
        found = theirs.result
        assert isinstance(found, Found)
        seconds = np.median(theirs.seconds) / len(problems)
        rows.append([
            name, *quotients(our_values, _judged(subject, problems, found.adversarial)),
            f"{found.evaluations.mean():.0f}", f"{1e3 * seconds:.2f} ms", f"{seconds * total:.3g} s",
            time_ratio(theirs, ours, len(problems) / total),
        ])  # fmt: skip
    columns = ["solver", *(f"ours / theirs, {which}" for which in QUOTIENTS), "evaluations a problem",
               "time a problem", f"all {total:,} problems", "time, theirs / ours"]  # fmt: skip
    lines = [
        f"**{subject.name}**: {len(subject.originals)} pairs x {strengths} strengths, objectives in float64.",
        "",
        table(columns, rows),
    ]
    if len(problems) < total:
        lines += [
            "",
            f"The others solved {len(problems)} of the {total:,} problems, drawn at random; objectives are compared on "
            "these, and their time for all is extrapolated. A batched driver would gain by a larger batch, which that "
            "leaves out.",
        ]
    lines += ["", f"Ours converged: {attack.converged.double().mean():.1%}."]
    return "\n".join(lines)


def _judged(subject: Subject, problems: Problems, adversarial: torch.Tensor) -> Numbers:
    x, t = subject.originals[problems.pair], subject.targets[problems.pair]
    return objective_of(subject.ae, x, t, adversarial.to(x), problems.strength)


def _botorch(subject: Subject, problems: Problems, seed: int) -> Found:
    """One L-BFGS-B of scipy's a problem, stepped in turn on the CPU, evaluated together.

    The driver has one box for all problems, so it is given x + d.
    """
    from botorch.optim.batched_lbfgs_b import fmin_l_bfgs_b_batched

    x = subject.originals[problems.pair]
    flat = x.double().cpu().numpy().reshape(len(problems), -1)
    wanted = subject.ae.posteriors(subject.targets[problems.pair])
    assert wanted.log_variance is not None
    target, spread = wanted.mean, wanted.log_variance

    def evaluate(points: Numbers, batch_indices: list[int]) -> tuple[Numbers, Numbers]:
        inputs = torch.from_numpy(points).to(x).view(-1, *x.shape[1:]).requires_grad_()
        some = Posterior(mean=target[batch_indices], log_variance=spread[batch_indices])
        value = divergence_kl(subject.ae.encode(inputs), some)
        (gradient,) = torch.autograd.grad(value.sum(), inputs)
        d, strength = points - flat[batch_indices], problems.strength.numpy()[batch_indices]
        values = value.detach().double().cpu().numpy() + strength * (d * d).sum(1)
        return values, gradient.double().cpu().numpy().reshape(d.shape) + 2 * strength[:, None] * d

    noise = np.random.default_rng(seed).uniform(-NOISE, NOISE, flat.shape)
    with subject.ae.at_rest():
        found, _, results = fmin_l_bfgs_b_batched(
            evaluate, flat + noise, bounds=[subject.ae.bounds] * flat.shape[1], maxcor=PAPER["maxcor"], factr=10,
            pgtol=PAPER["gtol"], maxiter=PAPER["maxiter"], pass_batch_indices=True,
        )  # fmt: skip
    evaluations = np.array([result["nfev"] for result in results], dtype=float)
    return Found(adversarial=torch.from_numpy(found).to(x).view_as(x), evaluations=evaluations)
