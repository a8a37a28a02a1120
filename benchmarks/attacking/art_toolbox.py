"""Against `FeatureAdversariesPyTorch` of the Adversarial Robustness Toolbox, at its own L2 distortion."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from attacking import subjects
from attacking.common import Numbers, Settings, Turns, in_turns, objective_of, spread, table
from attacking.subjects import Subject
from vaeaudit import Autoencoder, attacks

INSTALL = "pip install '.[bench]'"
DELTAS = (0.1, 0.2, 0.3, 0.5)
"""Radii of the L-infinity ball, ART's own constraint."""
POINTS = 24
"""Of our curve."""
STEPS = 500
STEPS_ACROSS = 50
"""A step of the projected sign gradient is this part of the ball's radius."""
ADAM = {"lr": 0.01}


class MeanCode(nn.Module):
    """The posterior mean, as the only layer that ART sees."""

    def __init__(self, ae: Autoencoder) -> None:
        super().__init__()
        self.ae = ae

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *event)` to `(batch, latent)`."""
        return self.ae.encode(x).mean


def run(settings: Settings) -> str:
    """ART's attack at several radii against our curve of squared latent distance."""
    if importlib.util.find_spec("art") is None:
        return f"The Adversarial Robustness Toolbox is not installed; to run this part: `{INSTALL}`."
    subject = subjects.small(settings)
    ways: dict[str, Callable[[], object]] = {
        "vaeaudit": lambda: attacks.targeted(
            subject.ae, subject.originals, subject.targets, settings.series(POINTS), divergence="mean_l2"
        )
    }
    steps = settings.steps(STEPS)
    for delta in DELTAS:
        ways[f"sign steps, delta {delta}"] = partial(_art, subject, delta, steps, step_size=delta / STEPS_ACROSS)
        ways[f"Adam, delta {delta}"] = partial(
            _art, subject, delta, steps, optimizer=torch.optim.Adam, optimizer_kwargs=ADAM
        )
    return _report(subject, in_turns(ways, settings), steps)


def _art(subject: Subject, delta: float, steps: int, **options: object) -> Tensor:
    """One run of ART's attack: its images, `(pairs, *event)`."""
    from art.attacks.evasion import FeatureAdversariesPyTorch
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        nn.Sequential(MeanCode(subject.ae)), nn.MSELoss(), tuple(subject.originals.shape[1:]), nb_classes=2,
        clip_values=subject.ae.bounds, device_type="gpu" if subject.originals.is_cuda else "cpu",
    )  # fmt: skip
    attack = FeatureAdversariesPyTorch(
        classifier, delta=delta, max_iter=steps, batch_size=len(subject.originals), verbose=False, **options
    )
    found = attack.generate(subject.originals.cpu().numpy(), subject.targets.cpu().numpy())
    return torch.from_numpy(found).to(subject.originals)


def _report(subject: Subject, turns: dict[str, Turns], steps: int) -> str:
    ours = turns.pop("vaeaudit")
    attack = ours.result
    assert isinstance(attack, attacks.TargetedAttack)
    points, pairs = len(attack.strengths), len(subject.originals)
    rows = []
    for name, theirs in turns.items():
        assert isinstance(theirs.result, Tensor)
        distortion, distance = _measured(subject, theirs.result)
        our_distortion, our_distance = _at_or_below(subject, attack, distortion)
        ratio = our_distance / distance
        rows.append([
            f"ART, {name}", f"{np.median(distortion):.2f}", f"{np.median(our_distortion):.2f}",
            f"{np.median(distance):.2f}", f"{np.median(our_distance):.2f}",
            spread(ratio), f"{(ratio < 1).sum()} of {pairs}", f"{1e3 * np.median(theirs.seconds) / pairs:.1f} ms",
            spread(np.array(theirs.seconds) * points / np.array(ours.seconds)),
            spread(np.array(theirs.seconds) / np.array(ours.seconds)),
        ])  # fmt: skip
    columns = ["attack", "its L2 distortion", "ours", "its latent distance", "ours", "distance, ours / its",
               "ours smaller for", "its time a pair", "time a point, its / ours",
               "its one point / our whole curve"]  # fmt: skip
    seconds = np.array(ours.seconds) / pairs
    return "\n".join([
        f"**{subject.name}**: {pairs} pairs, {steps} iterations, all pairs in one batch. Distances are L2 between "
        "posterior means, medians over pairs. Ours is the point of our trade-off curve at or below the distortion that "
        "ART's attack ended with, pair by pair. ART's attack keeps to an L-infinity ball and ours minimises L2, in "
        "which they are compared: a part of the difference is the norm.",
        "",
        table(columns, rows),
        "",
        f"Ours is a curve of {points} points: {1e3 * np.median(seconds):.1f} ms a pair, "
        f"{1e3 * np.median(seconds) / points:.2f} ms a point.",
    ])  # fmt: skip


def _measured(subject: Subject, adversarial: Tensor) -> tuple[Numbers, Numbers]:
    """L2 distortion and latent distance, `(pairs,)`."""
    distortion: Numbers = (adversarial - subject.originals).double().flatten(1).norm(dim=1).cpu().numpy()
    return distortion, _latent_distance(subject, adversarial)


def _latent_distance(subject: Subject, adversarial: Tensor) -> Numbers:
    nothing = torch.zeros(len(adversarial))
    squares = objective_of(
        subject.ae, subject.originals, subject.targets, adversarial, nothing, divergence="mean_l2"
    )  # fmt: skip
    return np.sqrt(squares)


def _at_or_below(subject: Subject, attack: attacks.TargetedAttack, distortion: Numbers) -> tuple[Numbers, Numbers]:
    """Distortion and latent distance where our curves come closest at no more than this; at worst the originals'."""
    costs = np.insert(attack.distortion.cpu().numpy(), 0, 0.0, axis=1)
    distances = np.insert(attack.divergence.clamp_min(0).sqrt().cpu().numpy(), 0,
                          _latent_distance(subject, subject.originals), axis=1)  # fmt: skip
    rows, best = np.arange(len(costs)), np.where(costs <= distortion[:, None], distances, np.inf).argmin(1)
    return costs[rows, best], distances[rows, best]
