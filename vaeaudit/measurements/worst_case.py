"""All attacks on the same images, inside the same balls, and what the worst of them did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import attacks, effects, health
from vaeaudit.attacks.balls import NORMS, Norm
from vaeaudit.attacks.search import random_search
from vaeaudit.checkpoint import Arrays
from vaeaudit.hookspecs import Aim
from vaeaudit.measurements.bench import BUDGETS, IMAGES_AT_ONCE, INPUT_UNITS, Bench, Floats, Rows, plain
from vaeaudit.measurements.plugin_attacks import Outcome, PluginAttack, faults_of, findings_of_faults, plugin_attacks
from vaeaudit.measurements.worst_effects import effects_at, effects_of
from vaeaudit.reconstruction import target_distances
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage
from vaeaudit.report.worst_case import AttackFamily, WorstCase
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import estimate

FROM_THE_OTHERS, SEARCH = "maximum_damage_from_the_others", "random_search"
_BYTES_AT_ONCE = 2**28
"""Of attacked copies made together."""
_AS_BAD = 1e-3
"""An attack is as bad as the worst within this, relative to a displacement; a gap has no unit."""
_STRONGER, _MUCH_STRONGER = 0.05, 0.25


def worst_case(
    bench: Bench, curves: Curves, damage: Damage, deterministic: bool
) -> tuple[WorstCase | None, list[health.Finding]]:
    """The worst case over all attacks; None where the preset does not pay for it.

    Args:
        bench: what is measured.
        curves: of the targeted attack; they say which pairs are excluded.
        damage: of the untargeted attack.
        deterministic: whether the encoder returns no variances.
    """
    if not bench.spec.family:
        return None, []
    rows = _rows(bench)
    untargeted = {norm: _untargeted(bench, rows, norm, deterministic) for norm in NORMS}
    pairs = min(len(bench.pairs), bench.spec.grown(len(bench.pairs)).family)
    aimed = {norm: _targeted(bench, pairs, norm, deterministic) for norm in NORMS}
    targeted = {norm: _gap_of(bench, aimed[norm], norm, curves, deterministic) for norm in NORMS}
    found = WorstCase(
        damage=_damage_of(bench, rows, untargeted["l2"], "l2", deterministic),
        damage_linf=_damage_of(bench, rows, untargeted["linf"], "linf", deterministic),
        gap=targeted["l2"], gap_linf=targeted["linf"],
        effects=effects_of(bench, rows, untargeted["l2"]),
    )  # fmt: skip
    broken = [untargeted[norm]["non_finite"] for norm in NORMS], [aimed[norm]["non_finite"] for norm in NORMS]
    at_fault = [*_at_fault("untargeted", "worst_damage", untargeted), *_at_fault("targeted", "worst_gap", aimed)]
    return found, [*_findings(found, damage), *_breakdowns(*(np.any(one, axis=0) for one in broken)), *at_fault]


def attacked(bench: Bench, deterministic: bool) -> tuple[Rows, list[float], Floats, NDArray[np.float32]] | None:
    """The worst of the pictured images inside L2 balls: rows, budgets, displacement and adversarials, one an image and budget.

    None where the preset does not try all attacks, or images are too large to be kept.
    """
    if not bench.spec.family:
        return None
    rows = _rows(bench)[: bench.pictured]
    arrays = _untargeted(bench, _rows(bench), "l2", deterministic)
    if "worst" not in arrays:
        return None
    displacement = arrays["displacement"][: len(rows)].max(1)
    return rows, radii_of(bench, "l2"), displacement, arrays["worst"][: len(rows)]


def _rows(bench: Bench) -> Rows:
    return bench.originals_as(lambda spec: spec.family)


def radii_of(bench: Bench, norm: str) -> list[float]:
    """Budgets of the untargeted attack; in the L-infinity norm those with the same root-mean-square distortion."""
    radii = bench.radii(BUDGETS)
    return radii if norm == "l2" else [radius / bench.images[0].numel() ** 0.5 for radius in radii]


def _settings(bench: Bench, norm: str) -> dict[str, object]:
    spec = bench.spec
    return {
        "norm": norm, "radii": radii_of(bench, norm), "steps": spec.family_steps, "restarts": spec.family_restarts,
        "queries": spec.queries, "samples": spec.samples, "watched": True,
    }  # fmt: skip


def _at_once(bench: Bench, attacks_: int) -> int:
    """Images whose attacked copies, of all attacks and budgets, fit into memory together."""
    size = bench.images[0].numel() * bench.images.element_size() * attacks_ * len(BUDGETS)
    return max(1, min(IMAGES_AT_ONCE, _BYTES_AT_ONCE // size))


def _untargeted(bench: Bench, rows: Rows, norm: Norm, deterministic: bool) -> Arrays:
    family, theirs = attacks.untargeted_attacks(deterministic=deterministic), plugin_attacks("untargeted", norm)
    radius = effects.half_the_median_distance(*bench.pair_images(np.arange(bench.first)))
    measure = partial(_attacked, bench, rows=rows, norm=norm, family=family, theirs=theirs, r=radius)
    arrays = bench.kept(
        f"family-{norm}", f"all attacks, {norm}", bench.image_keys(rows), measure,
        _at_once(bench, len(family) + len(theirs)),
        {**_settings(bench, norm), "attacks": [*family, *(one.name for one in theirs)], "r": radius},
    )  # fmt: skip
    return {**arrays, "r": np.array(radius)}


def _attacked(
    bench: Bench, chunk: Rows, rows: Rows, norm: Norm, family: dict[str, attacks.Untargeted],
    theirs: list[PluginAttack], r: float,
) -> Arrays:  # fmt: skip
    """Displacement by every attack `(images, attacks, budgets)`, and what the worst of them did."""
    ae, images, radii, spec = bench.ae, bench.images[rows[chunk]], radii_of(bench, norm), bench.spec
    effort = {"steps": spec.family_steps, "seed": bench.seed}
    found: list[attacks.BallAttack] = [
        attack(ae, images, radii, norm, restarts=spec.family_restarts, starts=None, **effort)
        for attack in family.values()
    ]
    others = attacks.as_starts(images, *found)
    found.append(attacks.maximum_damage(ae, images, radii, norm, restarts=0, starts=others, **effort))
    searched = [random_search(ae, images, radius, norm, queries=spec.queries, seed=bench.seed) for radius in radii]
    added = [attack(ae, (images,), radii, norm, restarts=spec.family_restarts, **effort) for attack in theirs]
    displacement, adversarial = (
        torch.stack([
            *(getattr(one, name) for one in found), torch.stack([getattr(one, name) for one in searched], 1),
            *(getattr(one, name) for one in added),
        ], 1)
        for name in ("displacement", "adversarial")
    )  # fmt: skip
    place = torch.arange(len(images), device=images.device)[:, None], torch.arange(len(radii), device=images.device)
    worst = adversarial[place[0], displacement.nan_to_num(-1, -1).argmax(1), place[1]]
    balls: list[attacks.BallAttack | Outcome] = [*found, *added]
    broken = [one.non_finite.any(1) for one in balls] + [one.non_finite for one in searched]
    arrays = {"displacement": plain(displacement), "non_finite": torch.stack(broken, 1).any(1).cpu().numpy()}
    arrays |= {"faults": faults_of(added, len(images))} if theirs else {}
    return arrays if norm == "linf" else {**arrays, **effects_at(bench, images, worst, rows[chunk], r)}


def _targeted(bench: Bench, pairs: int, norm: Norm, deterministic: bool) -> Arrays:
    family, theirs = attacks.targeted_attacks(deterministic=deterministic), plugin_attacks("targeted", norm)
    return bench.kept(
        f"family-targeted-{norm}", f"all targeted attacks, {norm}",
        bench.pair_keys(pairs),
        partial(_aimed, bench, norm=norm, family=family, theirs=theirs), _at_once(bench, len(family) + len(theirs)),
        {**_settings(bench, norm), "attacks": [*family, *(one.name for one in theirs)]},
    )  # fmt: skip


def _gap_of(bench: Bench, arrays: Arrays, norm: Norm, curves: Curves, deterministic: bool) -> AttackFamily:
    pairs = len(arrays["gap"])
    gaps = np.where(curves.excluded[:pairs, None, None], np.nan, arrays["gap"])
    theirs = (one.name for one in plugin_attacks("targeted", norm))
    names = (*attacks.targeted_attacks(deterministic=deterministic), *theirs)
    return _family_of("gap", norm, radii_of(bench, norm), names, gaps, bench.data.index[bench.pairs[:pairs]])


def _aimed(
    bench: Bench, chunk: Rows, norm: Norm, family: dict[str, attacks.Targeted], theirs: list[PluginAttack]
) -> Arrays:
    """Gap to the target that every attack leaves, `(pairs, attacks, budgets)`."""
    originals, targets = bench.pair_images(chunk)
    radii, spec = radii_of(bench, norm), bench.spec
    found = [
        attack(
            bench.ae, originals, targets, radii, norm, steps=spec.family_steps, restarts=spec.family_restarts,
            seed=bench.seed, starts=None,
        )
        for attack in family.values()
    ]  # fmt: skip
    effort = {"steps": spec.family_steps, "restarts": spec.family_restarts, "seed": bench.seed}
    added = [attack(bench.ae, (originals, targets), radii, norm, **effort) for attack in theirs]
    adversarial, broken = (
        torch.cat([getattr(one, name) for one in (*found, *added)], 1) for name in ("adversarial", "non_finite")
    )
    distances = target_distances(
        bench.ae, originals, targets, adversarial, samples=spec.samples, keys=bench.noise_keys(chunk)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        own = plain(distances.target)[:, None]
        gaps = (plain(distances.adversarial) - own) / (plain(distances.original)[:, None] - own)
    gaps = gaps.reshape(len(chunk), len(family) + len(theirs), len(radii))
    arrays = {"gap": gaps, "non_finite": broken.any(1).cpu().numpy()}
    return {**arrays, "faults": faults_of(added, len(chunk))} if theirs else arrays


def _damage_of(bench: Bench, rows: Rows, arrays: Arrays, norm: Norm, deterministic: bool) -> AttackFamily:
    theirs = (one.name for one in plugin_attacks("untargeted", norm))
    names = (*attacks.untargeted_attacks(deterministic=deterministic), FROM_THE_OTHERS, SEARCH, *theirs)
    images = bench.data.index[rows][:, None]
    return _family_of("damage", norm, radii_of(bench, norm), names, arrays["displacement"], images)


def _family_of(
    kind: Literal["damage", "gap"], norm: str, radii: list[float], names: tuple[str, ...], figures: Floats,
    indices: Rows,
) -> AttackFamily:  # fmt: skip
    """From figures `(rows, attacks, budgets)`."""
    damage = kind == "damage"
    worst = figures.max(1, keepdims=True) if damage else figures.min(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        level = np.abs(figures - worst) <= _AS_BAD * (np.abs(worst) if damage else 1)
    known = np.isfinite(worst[:, 0])
    shares = (level & known[:, None]).sum(0) / np.maximum(known.sum(0), 1)
    score = f"worst_{kind}" if norm == "l2" else f"worst_{kind}_{norm}"
    estimates = tuple(
        estimate(
            column, statistic="mean" if damage else "median", unit=INPUT_UNITS if damage else "gap",
            higher_is_better=DIRECTIONS[score],
        )
        for column in worst[:, 0].T
    )  # fmt: skip
    return AttackFamily(
        kind=kind, norm=norm, radii=np.array(radii), attacks=names, figures=figures.transpose(1, 0, 2),
        originals=indices[:, 0], targets=np.zeros(0, dtype=np.int64) if damage else indices[:, 1],
        estimates=estimates, shares=shares,
    )  # fmt: skip


def _breakdowns(images: NDArray[np.bool_], pairs: NDArray[np.bool_]) -> list[health.Finding]:
    """Where the model was NaN or infinite under any attack of the family."""
    found = []
    if images.any():
        found.append(health.finding_non_finite_damage(int(images.sum()), len(images)))
    if pairs.any():
        found.append(health.finding_non_finite_gap(int(pairs.sum()), len(pairs)))
    return found


def _at_fault(aim: Aim, score: str, arrays: Mapping[Norm, Arrays]) -> Iterator[health.Finding]:
    """Attacks of plugins that returned what cannot be, in either norm."""
    for norm in NORMS:
        if theirs := plugin_attacks(aim, norm):
            affected = score if norm == "l2" else f"{score}_{norm}"
            yield from findings_of_faults(theirs, arrays[norm]["faults"], affected)


def _findings(found: WorstCase, damage: Damage) -> list[health.Finding]:
    """Whether another attack does much more than the one that the headline rests on."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = found.damage.worst / damage.displacement_of(found.damage.originals) - 1
    medians = [float(np.median(known)) for column in gains.T if len(known := column[~np.isnan(column)])]
    gain = max(medians, default=0.0)
    return [health.finding_stronger_attack(gain, invalid=gain > _MUCH_STRONGER)] if gain > _STRONGER else []
