"""All attacks on the same images, inside the same balls, and what the worst of them did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import attacks, effects, health
from vaeaudit.attacks.balls import NORMS, Norm
from vaeaudit.attacks.search import random_search
from vaeaudit.checkpoint import Arrays
from vaeaudit.effects import NotMeasured
from vaeaudit.hookspecs import Aim
from vaeaudit.measurements.bench import BUDGETS, IMAGES_AT_ONCE, INPUT_UNITS, Bench, Floats, Rows, plain
from vaeaudit.measurements.plugin_attacks import Outcome, PluginAttack, faults_of, findings_of_faults, plugin_attacks
from vaeaudit.reconstruction import target_distances
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage
from vaeaudit.report.worst_case import EFFECTS, AttackEffects, AttackFamily, WorstCase
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import Estimate, estimate

FROM_THE_OTHERS, SEARCH = "maximum_damage_from_the_others", "random_search"
_BYTES_AT_ONCE, _BYTES_OF_ONE, _BYTES_OF_PICTURES = 2**28, 2**22, 2**30
"""Of attacked copies made together; of those of an image that are kept; of those that a classifier judges together."""
_AS_BAD = 1e-3
"""An attack is as bad as the worst within this, relative to a displacement; a gap has no unit."""
_STRONGER, _MUCH_STRONGER = 0.05, 0.25
_UNITS = {"likelihood_drop": "nats, Gaussian", "elbo_drop": "nats, Gaussian", "amplification": "squared"}
_SHARES = ("r_robust_share", "latent_class_kept", "latent_class_right", "reconstruction_class_kept",
           "reconstruction_class_right")  # fmt: skip


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
        effects=_effects_of(bench, rows, untargeted["l2"]),
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
    return arrays if norm == "linf" else {**arrays, **_measured(bench, images, worst, r, rows[chunk])}


def _measured(bench: Bench, images: Tensor, worst: Tensor, r: float, rows: Rows) -> Arrays:
    """Effects of attacked images `(images, budgets, *event)`; NaN where there is no such effect."""
    ae, seed, samples = bench.ae, bench.seed, bench.spec.samples
    keys = [(seed, *bytes.fromhex(bench.data.fingerprint_of(int(row)))[:16]) for row in rows]
    likelihood = effects.likelihood_degradation(ae, images, worst, samples=samples, keys=keys)
    robust = effects.r_robustness(ae, images, worst, r, samples=max(samples, 1), keys=keys)
    alike = effects.similarities(ae, images, worst)
    ratio, nothing = likelihood.deviance_ratio, np.full(worst.shape[:2], np.nan)
    arrays = {
        "amplification": plain(effects.amplification(ae, images, worst).ratio),
        "likelihood_drop": plain(likelihood.drop),
        "elbo_drop": nothing if likelihood.clean_kl is None else plain(likelihood.elbo_drop),
        "r_robust_share": plain(robust.share), "broke": plain(robust.broke),
        "deviance_ratio": nothing if ratio is None else plain(ratio),
    }  # fmt: skip
    if not isinstance(alike, NotMeasured):
        arrays |= {"ms_ssim_inputs": plain(alike.inputs), "ms_ssim_reconstructions": plain(alike.reconstructions)}
    fits = 4 * worst[0].numel() <= _BYTES_OF_ONE  # says the same of every image, so that rows go together
    return {**arrays, "worst": worst.float().cpu().numpy()} if fits else arrays


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


def _effects_of(bench: Bench, rows: Rows, arrays: Arrays) -> AttackEffects:
    judged, refusals = _judged(bench, rows, arrays)
    figures = {name: arrays[name] for name in EFFECTS if name in arrays and not np.isnan(arrays[name]).all()} | judged
    radii = np.array(radii_of(bench, "l2"))
    broke, unbroken = arrays["broke"], np.isinf(arrays["broke"])
    reached = np.where(unbroken, radii[-1], broke)
    if "ms_ssim_inputs" not in figures:
        alike = effects.similarities(bench.ae, bench.images[:1], bench.images[:1, None])
        refusals["ms_ssim_inputs"] = refusals["ms_ssim_reconstructions"] = getattr(
            alike, "reason", "no figure is finite"
        )
    if "deviance_ratio" not in figures:
        refusals["deviance_ratio"] = "the decoder gives its own spread, or reconstructs perfectly"
    if "elbo_drop" not in figures:
        refusals["elbo_drop"] = "a deterministic code has no ELBO"
    return AttackEffects(
        radii=radii, images=bench.data.index[rows], figures={n: figures[n] for n in EFFECTS if n in figures},
        estimates={name: _estimates(name, figures[name]) for name in EFFECTS if name in figures},
        refusals=refusals, r=float(arrays["r"]), broke=reached, unbroken=unbroken,
        margin=estimate(
            reached, unit=INPUT_UNITS, higher_is_better=True, upper=np.where(unbroken, np.inf, reached)
        ),
    )  # fmt: skip


def _estimates(name: str, figures: Floats) -> tuple[Estimate, ...]:
    kind: Literal["mean", "median"] = "mean" if name in _SHARES else "median"
    found = (estimate(one, statistic=kind, unit=_UNITS.get(name, "")) for one in figures.T)
    return tuple(_share(one) if name in _SHARES else one for one in found)


def _share(found: Estimate) -> Estimate:
    """A share does not leave [0, 1], whatever its interval does."""
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _judged(bench: Bench, rows: Rows, arrays: Arrays) -> tuple[dict[str, Floats], dict[str, str]]:
    """What a classifier makes of the worst attacked images, and why there is none."""
    names = [name for name in _SHARES if "class" in name]
    if "worst" not in arrays or arrays["worst"].nbytes > _BYTES_OF_PICTURES:
        return {}, dict.fromkeys(names, "the attacked images are too large to be kept together")
    worst = torch.from_numpy(arrays["worst"]).to(bench.images).clamp(*bench.ae.bounds)
    found = effects.downstream(bench.ae, bench.images, bench.data.labels, worst, rows=rows, seed=bench.seed)
    if isinstance(found, NotMeasured):
        return {}, dict.fromkeys(names, found.reason)
    judgements = {"latent": found.latents, "reconstruction": found.reconstructions}
    return {
        f"{part}_class_{what}": getattr(judgement, attribute).astype(np.float64)
        for part, judgement in judgements.items()
        for what, attribute in (("kept", "kept"), ("right", "attacked_right"))
    }, {}


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
    place = {int(image): row for row, image in enumerate(damage.images)}
    shared = [(i, place[int(image)]) for i, image in enumerate(found.damage.originals) if int(image) in place]
    if not shared:
        return []
    ours, theirs = np.array(shared).T
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = found.damage.worst[ours] / damage.displacement[theirs] - 1
    medians = [float(np.median(known)) for column in gains.T if len(known := column[~np.isnan(column)])]
    gain = max(medians, default=0.0)
    return [health.finding_stronger_attack(gain, invalid=gain > _MUCH_STRONGER)] if gain > _STRONGER else []
