"""A second look at a few pairs: attacked harder, attacked without gradients, rounded, and gradients held against responses."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vaeaudit import attacks, health
from vaeaudit.attacks.balls import projection, room, steepest
from vaeaudit.attacks.goals import LatentGoal
from vaeaudit.attacks.targeted import SOLVER
from vaeaudit.checkpoint import Arrays
from vaeaudit.divergences import divergence_named
from vaeaudit.measurements.bench import BUDGETS, Bench, Floats, Rows, plain
from vaeaudit.optimize import ascend
from vaeaudit.probe import GradientCheck, check_gradients
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage

MORE_STEPS, MORE_RESTARTS = 2, 2
"""How much more is tried. The restarts are others than the first attack's, for the seed is."""
WORTH_TARGETED, WORTH_UNTARGETED, WORTH_SEARCH = 0.2, 0.1, 0.05
"""Gains that count: of the objective, of the damage, and of a search over an attack."""
_HALF_WAY = 0.5
"""Share of the hinge at which the targeted attack is looked at again: there is still something to gain."""
_SAME_BALL = 1 + 1e-6
_ON_GRID = 1e-3
"""How far from whole steps 8-bit values may lie, in steps."""
_VALUES_AT_ONCE = 2**22
"""Pixel values that are held against the grid together, in float64."""
_SEED = 1
_AT_ONCE = 8
_VANISHING, _BLIND = 0.1, 0.25
_DISAGREE, _SHATTERED = 0.3, 0.7
_LONG = 2
"""Of the lengths of steps, how many count as long."""
_PLACES = 3
"""Images, those under the untargeted attack, and those under the targeted."""


@dataclass(frozen=True, kw_only=True)
class SecondLook:
    """What a few pairs are looked at with.

    Attributes:
        radius: L2 budget of the untargeted attack.
        strength: C of the targeted attack.
        column: of the curves with that C.
        balls: L2 budgets of the search for each pair's target, `(pairs,)`.
    """

    radius: float
    strength: float
    column: int
    balls: Floats


def second_look(bench: Bench, curves: Curves, damage: Damage) -> list[health.Finding]:
    """Look at the first pairs again, and say what speaks against what the attacks came to.

    Args:
        bench: what is measured.
        curves: of the targeted attack.
        damage: of the untargeted attack.
    """
    pairs = min(bench.spec.second_looks, bench.first)
    if not pairs:
        return []
    plan = _planned(bench, curves, damage, pairs)
    spec = bench.spec
    settings = {
        "radius": plan.radius, "strength": plan.strength, "strengths": curves.strengths.tolist(), "steps": spec.damage_steps,
        "restarts": [spec.damage_restarts, spec.restarts], "evaluations": spec.evaluations, "queries": spec.queries,
        "divergence": bench.divergence, "penalty": bench.penalty, "budgets": BUDGETS,
    }  # fmt: skip
    # a ball comes of its pair's curve, which other things determine than these settings
    pairs_named = bench.pair_keys(pairs, pictured=True)
    keys = [f"{key}:{ball!r}" for key, ball in zip(pairs_named, plan.balls.tolist(), strict=True)]
    rows = bench.kept("second-look", "second look", keys, partial(_looked_at, bench, plan=plan), _AT_ONCE, settings)
    return [
        *_of_gradients(rows), *_of_untargeted(bench, rows, damage), *_of_targeted(bench, rows, curves, plan),
        *_of_bits(bench, rows, curves),
    ]  # fmt: skip


def _planned(bench: Bench, curves: Curves, damage: Damage, pairs: int) -> SecondLook:
    """Where to look: chosen by the pairs that every extension of a plan shares."""
    first = slice(0, bench.first)
    hinge = np.where(np.isfinite(curves.hinge) & ~curves.excluded, curves.hinge, np.nan)
    middle = np.nanmedian(hinge[first]) if np.isfinite(hinge[first]).any() else 1.0
    column = int(np.abs(np.median(curves.distortion[first], axis=0) - _HALF_WAY * middle).argmin())
    spans = bench.spans(pairs)
    wanted = _HALF_WAY * np.nan_to_num(hinge[:pairs], nan=1.0)
    own = curves.distortion[:pairs]
    nearest = np.take_along_axis(own, np.abs(own - wanted[:, None]).argmin(1)[:, None], 1)[:, 0]
    # an attack that only stays or goes all the way has no point between: half way is then the ball
    balls = np.where((nearest > wanted / 2) & (nearest < 2 * wanted), nearest, wanted) * spans
    return SecondLook(
        radius=float(damage.radii[damage.middle]), strength=float(curves.strengths[column]), column=column, balls=balls
    )


def _looked_at(bench: Bench, chunk: Rows, plan: SecondLook) -> Arrays:
    originals, targets = bench.pair_images(chunk)
    spec, seed, ae = bench.spec, bench.seed + _SEED, bench.ae
    harder = attacks.maximum_damage(
        ae, originals, plan.radius, steps=MORE_STEPS * spec.damage_steps,
        restarts=MORE_RESTARTS, seed=seed,
    )  # fmt: skip
    nearer = attacks.targeted(
        ae, originals, targets, [plan.strength], bench.divergence, bench.penalty, seed,
        restarts=MORE_RESTARTS, solver=replace(SOLVER, max_evaluations=MORE_STEPS * spec.evaluations),
    )  # fmt: skip
    moved = attacks.random_search(ae, originals, plan.radius, queries=spec.queries, seed=seed)
    balls = torch.from_numpy(plan.balls[chunk]).to(originals)
    approached = attacks.random_search(
        ae, originals, balls, queries=spec.queries, targets=targets, divergence=bench.divergence, seed=seed
    )
    damaged, adversarial = harder.adversarial[:, 0], nearer.adversarial[:, 0]
    return {
        "displacement": plain(harder.displacement[:, 0]), "objective": plain(nearer.objective[:, 0]),
        "searched_displacement": plain(moved.displacement), "searched_divergence": plain(approached.divergence),
        "stay": _divergence(bench, originals, targets), "followed": _followed(bench, originals, targets, balls),
        "divergence": _divergence(bench, adversarial, targets),
        "rounded_divergence": _divergence(bench, _rounded(bench, adversarial), targets),
        "rounded_displacement": _displacement(bench, originals, _rounded(bench, damaged)),
        **_gradients(bench, originals, damaged, adversarial, targets),
    }  # fmt: skip


def _followed(bench: Bench, originals: Tensor, targets: Tensor, balls: Tensor) -> Floats:
    """Delta to the target that gradients reach inside the balls, from the straight way there, `(pairs,)`.

    Where a curve has no point near the ball's rim, for its strengths lie far apart or it bends inwards, this is what
    the search has to beat.
    """
    posteriors = bench.ae.posteriors(targets)
    _, divergence = divergence_named(bench.divergence, deterministic=posteriors.log_variance is None)
    goal = LatentGoal(autoencoder=bench.ae, originals=originals, posteriors=posteriors, divergence=divergence)
    rows = torch.arange(len(originals), device=originals.device)
    low, high = room(bench.ae, originals)
    project = partial(projection("l2"), radius=balls, lower=low, upper=high)

    def rising(points: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = goal.with_gradient(points, rows)
        return -value, -gradient

    straight = project((targets - originals).flatten(1))
    best = ascend(rising, straight, balls, project=project, steepest=steepest("l2"), steps=bench.spec.damage_steps)
    return plain(-best.value)


def _gradients(bench: Bench, originals: Tensor, damaged: Tensor, adversarial: Tensor, targets: Tensor) -> Arrays:
    """Checks at each pair's three points, `(pairs, places, ...)`."""
    (unit,) = bench.radii(BUDGETS[:1])
    points, partners = torch.cat([originals, damaged, adversarial]), torch.cat([targets, targets, originals])
    check = check_gradients(bench.ae, points, partners, unit, seed=bench.seed)
    found = {field.name: getattr(check, field.name) for field in fields(check)}
    return {
        f"gradient_{name}": figures.unflatten(0, (_PLACES, -1)).movedim(0, 1).cpu().numpy()
        for name, figures in found.items()
    }


def _divergence(bench: Bench, inputs: Tensor, targets: Tensor) -> Floats:
    """Delta(q(z|x), q(z|t)), `(pairs,)`."""
    reached, wanted = bench.ae.posteriors(inputs), bench.ae.posteriors(targets)
    _, divergence = divergence_named(bench.divergence, deterministic=wanted.log_variance is None)
    return plain(divergence(reached, wanted))


def _displacement(bench: Bench, originals: Tensor, inputs: Tensor) -> Floats:
    after, before = bench.ae.reconstructions(inputs), bench.ae.reconstructions(originals)
    return plain((after - before).flatten(1).double().norm(dim=1))


def _rounded(bench: Bench, inputs: Tensor) -> Tensor:
    """Inputs as 8-bit files would hold them; as they are where the bounds are infinite."""
    low, high = bench.ae.bounds
    if not math.isfinite(high - low):
        return inputs
    step = (high - low) / health.EIGHT_BITS
    return (((inputs - low) / step).round() * step + low).clamp(low, high)


def _has_eight_bits(bench: Bench) -> bool:
    """Whether all images are whole steps of 1/255 of the range."""
    low, high = bench.ae.bounds
    if not math.isfinite(high - low):
        return False
    few = max(1, _VALUES_AT_ONCE // bench.images[0].numel())
    steps = ((images.double() - low) / (high - low) * health.EIGHT_BITS for images in bench.images.split(few))
    return all(bool(((some - some.round()).abs() < _ON_GRID).all()) for some in steps)


def _of_gradients(rows: Arrays) -> list[health.Finding]:
    """Faults of the encoder's heads, and those of the reconstruction where the encoder has none."""
    seen = {field.name: rows[f"gradient_{field.name}"] for field in fields(GradientCheck)}
    along, random = seen["along"], seen["random"]
    finest = np.maximum(_least(along), _least(random))
    coarse = np.maximum(_least(along[..., :_LONG]), _least(random[..., :_LONG]))
    with np.errstate(invalid="ignore"):
        faults = {
            "zero": seen["finite"] & (seen["norm"] == 0), "non_finite": ~seen["finite"],
            "vanishing": (seen["explained"] < _VANISHING) & (seen["norm"] > 0), "disagree": finest > _DISAGREE,
            "shattered": (coarse > _SHATTERED) & ~(finest > _DISAGREE), "constant": seen["constant"][..., -1],
            "blind": seen["blind"] > _BLIND,
        }  # fmt: skip
    faults["zero"] &= np.isfinite(seen["explained"])  # a head that does not respond needs no gradient
    findings = []
    for part, of_heads in (("encoder", slice(0, -1)), ("decoder", slice(-1, None))):
        shares = {}
        for name, fault in faults.items():
            failing = fault[..., of_heads].any(-1)
            if part == "decoder":
                failing &= ~fault[..., :-1].any(-1)
            shares[name] = float(failing.mean(0).max())
        findings += health.findings_of_gradients(part, health.Faults(**shares), len(along))
    return findings


def _least(errors: Floats) -> Floats:
    """The least error of all lengths, NaN where none is known."""
    known = np.isfinite(errors).any(-1)
    return np.where(known, np.nan_to_num(errors, nan=np.inf).min(-1), np.nan)


def _of_untargeted(bench: Bench, rows: Arrays, damage: Damage) -> list[health.Finding]:
    """The untargeted attack against a harder one, and against a search."""
    attacked = damage.rows_of(bench.data.index[bench.pairs[: len(rows["displacement"]), 0]])
    known = attacked >= 0
    before = damage.displacement[attacked[known], damage.middle]
    harder, searched = (_gains(rows[name][known], before) for name in ("displacement", "searched_displacement"))
    return [
        *health.findings_of_effort("untargeted", harder, worth=WORTH_UNTARGETED),
        *health.findings_of_search("untargeted", searched, worth=WORTH_SEARCH, queries=bench.spec.queries),
    ]


def _of_targeted(bench: Bench, rows: Arrays, curves: Curves, plan: SecondLook) -> list[health.Finding]:
    """The targeted attack against a harder one, and against a search in the same ball."""
    pairs = len(rows["objective"])
    before = curves.objective[:pairs, plan.column]
    inside = curves.distortion[:pairs] * bench.spans(pairs)[:, None] <= plan.balls[:, None] * _SAME_BALL
    reached = np.where(inside, curves.divergence[:pairs], np.inf).min(1)
    reached = np.minimum(reached, np.minimum(rows["stay"], rows["followed"]))
    harder, searched = _falls(rows["objective"], before), _falls(rows["searched_divergence"], reached)
    return [
        *health.findings_of_effort("targeted", harder, worth=WORTH_TARGETED),
        *health.findings_of_search("targeted", searched, worth=WORTH_SEARCH, queries=bench.spec.queries),
    ]


def _of_bits(bench: Bench, rows: Arrays, curves: Curves) -> list[health.Finding]:
    """What 8 bits a value leave of the attacks, where the images have no more."""
    if not _has_eight_bits(bench):
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = rows["stay"] - rows["divergence"]
        moved = fall > WORTH_SEARCH * rows["stay"]
        approach = np.where(moved, (rows["stay"] - rows["rounded_divergence"]) / fall, np.nan)
        displaced = rows["rounded_displacement"] / rows["displacement"]
        findings = [
            *health.findings_of_rounding("targeted", approach.tolist()),
            *health.findings_of_rounding("untargeted", displaced.tolist()),
        ]
    low, high = bench.ae.bounds
    step = (high - low) / health.EIGHT_BITS * math.sqrt(bench.images[0].numel())
    sizes = (curves.hinge * bench.spans(len(curves.hinge)) / step)[~curves.excluded & np.isfinite(curves.hinge)]
    if len(sizes) and (size := float(np.median(sizes))) < 1:
        findings.append(health.finding_hinge_below_quantisation(size))
    return findings


def _gains(after: Floats, before: Floats) -> list[float]:
    """By how much figures rose, as shares of what they were; NaN where either is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(gain) for gain in np.where(before > 0, after / before - 1, np.where(after > 0, np.inf, np.nan))]


def _falls(after: Floats, before: Floats) -> list[float]:
    """By how much figures fell, as shares of what they were; NaN where nothing was left to fall."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(fall) for fall in np.where(before > 0, 1 - after / before, np.nan)]
