"""The untargeted attack at fixed budgets."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeaudit import attacks, health
from vaeaudit.checkpoint import Arrays
from vaeaudit.measurements.bench import BUDGETS, IMAGES_AT_ONCE, INPUT_UNITS, Bench, Floats, Rows, plain
from vaeaudit.measurements.movement import moved_channels, movement_of
from vaeaudit.report.damage import Damage
from vaeaudit.report.movement import LatentMovement
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import Estimate, estimate

_UNCONVERGED = 0.25


def damage(bench: Bench, activity: Arrays) -> tuple[Damage, list[health.Finding]]:
    """Most displacement of the reconstruction at each budget, and how far the latent moves with it.

    Args:
        bench: what is measured.
        activity: how the latent varies over the clean images.
    """
    rows, radii, arrays = _measured(bench)
    latent = movement_of(arrays["channels"], activity["deviation"])
    found = damage_of(arrays["displacement"], radii, bench.data.index[rows], latent)
    return found, _findings(arrays)


def attacked(bench: Bench) -> tuple[Rows, list[float], Floats, NDArray[np.float32]]:
    """The pictured images: rows, budgets, displacement `(images, budgets)`, adversarials `(images, budgets, *event)`."""
    rows, radii, arrays = _measured(bench)
    pictures = arrays["adversarial"]
    return rows[: len(pictures)], radii, arrays["displacement"][: len(pictures)], pictures


def _measured(bench: Bench) -> tuple[Rows, list[float], Arrays]:
    """Rows of the images, budgets, and what the attack did; it is run once."""
    radii = bench.radii(BUDGETS)
    rows = bench.originals_as(lambda spec: spec.damaged)
    attack = partial(_damage, bench, rows=rows, radii=radii)
    settings = {
        "radii": radii, "steps": bench.spec.damage_steps, "restarts": bench.spec.damage_restarts, "watched": True,
        "channels": "root mean square",
    }  # fmt: skip
    keys = bench.image_keys(rows, pictured=True)
    return rows, radii, bench.kept("damage", "untargeted attack", keys, attack, IMAGES_AT_ONCE, settings)


def _damage(bench: Bench, chunk: Rows, rows: Rows, radii: list[float]) -> Arrays:
    images = bench.images[rows[chunk]]
    attack = attacks.maximum_damage(
        bench.ae, images, radii, steps=bench.spec.damage_steps, restarts=bench.spec.damage_restarts,
        seed=bench.seed,
    )  # fmt: skip
    channels = moved_channels(bench, images, attack.adversarial)
    few = attack.adversarial[: int((chunk < bench.pictured).sum())]
    return {
        "displacement": plain(attack.displacement), "converged": attack.converged.cpu().numpy(),
        "non_finite": attack.non_finite.cpu().numpy() | ~np.isfinite(channels).all(2), "channels": channels,
        "adversarial": few.float().cpu().numpy(),
    }  # fmt: skip


def _findings(arrays: Arrays) -> list[health.Finding]:
    """What the attack says about itself."""
    findings = []
    broken = int(arrays["non_finite"].any(1).sum())
    if broken:
        findings.append(health.finding_non_finite_damage(broken, len(arrays["non_finite"])))
    unconverged = float((~arrays["converged"]).mean())
    if unconverged > _UNCONVERGED:
        findings.append(health.finding_damage_not_converged(unconverged))
    return findings


def damage_of(displacement: Floats, radii: list[float], images: NDArray[np.int64], latent: LatentMovement) -> Damage:
    """Estimates of untargeted damage at each budget."""

    def mean(figures: Floats, score: str, unit: str) -> Estimate:
        return estimate(figures, statistic="mean", unit=unit, higher_is_better=DIRECTIONS[score])

    columns = list(zip(displacement.T, radii, strict=True))
    return Damage(
        radii=np.array(radii),
        displacement=displacement,
        images=images,
        estimates=tuple(mean(column, "damage", INPUT_UNITS) for column, _ in columns),
        gains=tuple(mean(column / radius, "damage_gain", "L2 per L2") for column, radius in columns),
        latent=latent,
    )
