"""The targeted attack on a classifier over a series of C, for comparison with autoencoders (Tabacof et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaeaudit.attacks.classes import ClassGoal, Classifier, as_subject
from vaeaudit.attacks.crossing import between, crossing_of, lengths, like
from vaeaudit.attacks.following import SeriesSearch
from vaeaudit.attacks.objective import checked_inputs
from vaeaudit.attacks.penalised import Penalised, Penalty
from vaeaudit.attacks.strengths import Strengths, series_of
from vaeaudit.attacks.targeted import SOLVER, pairs_at_once
from vaeaudit.batches import in_batches
from vaeaudit.errors import DataError, GradientError, ModelError, OptionError, brief
from vaeaudit.optimize import BoxLBFGS, minimize

_WITHOUT_PENALTY = BoxLBFGS(memory=5, tolerance=1e-2, max_evaluations=80, patience=2)


@dataclass(frozen=True, kw_only=True)
class TargetedClass:
    """What the attack found for each image and strength; figures are float64.

    Attributes:
        strengths: C, ascending, `(strengths,)`.
        adversarial: x + d, inside the bounds, `(images, strengths, *event)`.
        distortion: L2(d), input units, `(images, strengths)`.
        probability: of the wanted class, `(images, strengths)`.
        logit: log(p / (1 - p)) of that probability, exact also where p rounds to 0 or 1, `(images, strengths)`.
        original_class: what the classifier says of x, `(images,)`.
        original_probability: of that class, `(images, strengths)`.
        original_logit: as `logit`, of that class, `(images, strengths)`.
        wins: whether the wanted class is the most probable one, `(images, strengths)`.
        objective: cross-entropy + C * P, `(images, strengths)`.
        converged: whether the last polish met its tolerance, `(images, strengths)`.
        gradient_evaluations: spent on each image, the search for its crossing included, `(images,)`.
        crossing: least distortion found at which the wanted class wins, `(images,)`; 0 where it wins to begin with,
            infinite where it never did.
        crossing_strength: the largest C found at which it wins, `(images,)`; infinite and NaN in those two cases.
        crossing_adversarial: x + d there, or x where it never wins, `(images, *event)`.
        penalty: the penalty used.
    """

    strengths: Tensor
    adversarial: Tensor
    distortion: Tensor
    probability: Tensor
    logit: Tensor
    original_class: Tensor
    original_probability: Tensor
    original_logit: Tensor
    wins: Tensor
    objective: Tensor
    converged: Tensor
    gradient_evaluations: Tensor
    crossing: Tensor
    crossing_strength: Tensor
    crossing_adversarial: Tensor
    penalty: Penalty


def targeted_class(
    classifier: Classifier,
    images: Tensor,
    classes: Tensor | int,
    strengths: Strengths = None,
    penalty: Penalty = "l2_squared",
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    restarts: int = 0,
    solver: BoxLBFGS | None = None,
) -> TargetedClass:
    """Move each image into a wanted class with the smallest distortion.

    For every image and every strength C: min over d of CE(x+d, class) + C * P(d), subject to low <= x + d <= high
    (definitions 2.9). The series is followed from the original, and from the point at which the way without any
    penalty enters the wanted class; the search is that of `vaeaudit.attacks.targeted`. The crossing is looked
    for on the series, by bisection on C, and between the last losing and the first winning image.

    Args:
        classifier: maps inputs `(batch, *event)` to logits `(batch, classes)`; any callable. It comes back as it was.
        images: x, `(images, *event)`.
        classes: wanted, one for all images or `(images,)`, counted from 0.
        strengths: the series of C; or how many values the automatic series has (None: 24); or the name of a series.
        penalty: P, "l2_squared" or "l2".
        bounds: lower and upper end of valid inputs; infinite ends are allowed.
        seed: of the restarts.
        restarts: random starts beside the two ends.
        solver: settings of the optimiser; by default those of `vaeaudit.attacks.targeted`.

    Raises:
        DataError: images outside the bounds, or classes that the classifier does not have.
        ModelError: the classifier fails, or does not return finite logits.
        OptionError: unknown penalty, or unusable strengths or bounds.
        GradientError: no gradient reaches the input, or no change of it makes the wanted class more probable.
    """
    if restarts < 0:
        raise OptionError(f"restarts expects 0 or more, got {restarts}")
    subject = as_subject(classifier, bounds)
    originals = checked_inputs(subject, images, "images")
    with subject.at_rest(seed):
        clean = in_batches(lambda x: subject.encode(x).mean, originals)
        if not bool(clean.isfinite().all()):
            raise ModelError("the classifier returned NaN or infinite logits for the images; check the weights")
        wanted = _checked_classes(classes, clean)
        goal = ClassGoal(autoencoder=subject, originals=originals, classes=wanted)
        ends, spent = _ends(goal)
        spans = (ends - originals).flatten(1).norm(dim=1)
        objective = Penalised(goal=goal, spans=spans, penalty=penalty)
        series = _series(strengths, objective, ends)
        search = SeriesSearch(
            ae=subject, series=series, restarts=restarts, seed=seed, precision=None, solver=solver or SOLVER
        )
        parts = []
        chunks = torch.arange(len(originals), device=originals.device).split(pairs_at_once(originals, len(series)))
        for rows in chunks:
            some = objective.select(rows)
            parts.append(_attacked(some, ends[rows], clean[rows].argmax(1), search, spent[rows]))
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in vars(parts[0])
        if name not in ("strengths", "penalty")
    }
    return replace(parts[0], **joined)


def _checked_classes(classes: Any, logits: Tensor) -> Tensor:
    """Wanted classes, `(images,)`.

    Raises:
        DataError: not one for each image, or none of the classifier's.
    """
    count, known = logits.shape
    given = _whole_numbers(classes)
    if given is None:
        raise DataError(f"classes expects whole numbers, got {brief(classes)}")
    if given.ndim > 1 or (given.ndim == 1 and len(given) != count):
        raise DataError(f"classes expects one for all images, or ({count},), got {tuple(given.shape)}")
    if bool((given < 0).any() | (given >= known).any()):
        raise DataError(f"classes range over [{given.min()}, {given.max()}], and the classifier has 0 to {known - 1}")
    return given.to(logits.device).expand(count).contiguous()


def _whole_numbers(values: Any) -> Tensor | None:
    try:
        given = values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    except (TypeError, ValueError):
        return None
    fractional = given.is_floating_point() or given.is_complex() or given.dtype == torch.bool
    return None if fractional else given.detach().long()


def _ends(goal: ClassGoal) -> tuple[Tensor, Tensor]:
    """Where the way of steepest gain enters the wanted class, or its end, `(images, *event)`; and evaluations, `(images,)`.

    An image that is of its wanted class already keeps the way's end.
    """
    originals = goal.originals
    rows = torch.arange(len(originals), device=originals.device)
    flat, (low, high) = originals.flatten(1), goal.autoencoder.bounds
    found = minimize(goal.with_gradient, torch.zeros_like(flat), low - flat, high - flat, _WITHOUT_PENALTY)
    ends = (originals + found.point.view_as(originals)).clamp(low, high)
    enters = (goal.margin(originals, rows) <= 0) & (goal.margin(ends, rows) > 0)
    entered = torch.where(like(enters, ends), between(goal, rows, originals, ends), ends)
    return entered, found.evaluations


def _series(strengths: Strengths, objective: Penalised, ends: Tensor) -> Tensor:
    automatic = strengths is None or (isinstance(strengths, (int, np.integer)) and not isinstance(strengths, bool))
    if automatic:
        rows = torch.arange(len(ends), device=ends.device)
        gain = objective.goal.of(objective.originals, rows) - objective.goal.of(ends, rows)
        if not bool((gain > 0).sum() * 2 > len(gain)):
            raise GradientError(
                "for half of the images or more, following the gradient does not make the wanted class any more "
                "probable: the classifier ignores its input, or saturates where they lie"
            )
    return series_of(strengths, objective, ends)


def _attacked(
    objective: Penalised, ends: Tensor, original_class: Tensor, search: SeriesSearch, spent: Tensor
) -> TargetedClass:
    """Attack some of the images and measure what was found, as it is after rounding and clipping."""
    goal, originals, series = objective.goal, objective.originals, search.series
    assert isinstance(goal, ClassGoal)
    found = search.solve(objective, ends)
    shape = (*found.values.shape, *originals.shape[1:])
    adversarial = (originals[:, None] + found.points.view(shape)).clamp(*goal.autoencoder.bounds)
    distortion = lengths(adversarial, originals[:, None], leading=2)
    logits = in_batches(lambda x: goal.autoencoder.encode(x).mean, adversarial.flatten(0, 1)).double()
    rows = torch.arange(len(originals), device=series.device)
    each = rows.repeat_interleave(len(series))
    wins = (goal.margin(adversarial.flatten(0, 1), each) > 0).view(distortion.shape)
    at_once = goal.margin(originals, rows) > 0
    crossing, strength, crossed, evaluations = crossing_of(objective, ends, search, adversarial, wins)
    crossing = torch.where(at_once, 0.0, crossing)
    moved = (adversarial.double() - originals[:, None].double()).flatten(2)
    probability, logit = (part.view(distortion.shape) for part in _odds(logits, goal.classes[each]))
    own_probability, own_logit = (part.view(distortion.shape) for part in _odds(logits, original_class[each]))
    entropy = goal.of(adversarial.flatten(0, 1), each).view(distortion.shape)
    return TargetedClass(
        strengths=series, adversarial=adversarial, distortion=distortion, probability=probability, logit=logit,
        original_class=original_class, original_probability=own_probability, original_logit=own_logit, wins=wins,
        objective=entropy + series * objective.size(moved), converged=found.converged & found.values.isfinite(),
        gradient_evaluations=spent + found.evaluations + evaluations, crossing=crossing,
        crossing_strength=torch.where(at_once, torch.inf, strength),
        crossing_adversarial=torch.where(like(at_once, crossed), originals, crossed), penalty=objective.penalty,
    )  # fmt: skip


def _odds(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the classes and its logit, both `(rows,)`; float64 logits `(rows, known)`."""
    own = classes[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(1)
    logit = logits.gather(1, own)[:, 0] - others
    return logit.sigmoid(), logit
