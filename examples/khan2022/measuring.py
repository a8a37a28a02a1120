"""What is measured of each model, and kept."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import vaeaudit
from examples.papers.keeping import kept_json, versions

from .attacking import Triple, compared, released
from .settings import Measuring, Recipe, Setting
from .training import autoencoder, images_of

NOTHING = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model's results.

    Attributes:
        recipe: how it was made.
        figures: value, low and high of every score of its audit; NaN where it is not to be trusted.
        findings: names of what its audit found to speak against them.
        attacks: see `attacking.compared`; empty where not measured.
        released: see `attacking.released`; empty where not measured.
    """

    recipe: Recipe
    figures: dict[str, Triple]
    findings: list[str]
    attacks: dict[str, dict[str, list[Triple]]]
    released: dict[str, Any]

    def figure(self, name: str) -> Triple:
        """A score with its interval; NaN where there is none."""
        return self.figures.get(name, NOTHING)


def measured(setting: Setting, data: Path, out: Path, jobs: int, device: str) -> tuple[list[Model], list[Model]]:
    """Every model of the series and of the trial, several at a time; trained and measured where the folder lacks them."""
    work = [(recipe, setting.of_series) for recipe in setting.series]
    work += [(recipe, setting.of_trial) for recipe in setting.trial]
    one = partial(_kept, data=data, out=out, device=device)
    if jobs == 1:
        models = [one(*task) for task in work]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            models = list(pool.map(one, *zip(*work, strict=True)))
    return models[: len(setting.series)], models[len(setting.series) :]


def _kept(recipe: Recipe, size: Measuring, *, data: Path, out: Path, device: str) -> Model:
    """One model's results as they lie on disk from these versions."""
    digest = hashlib.sha256(f"{size!r} {versions()}".encode()).hexdigest()[:8]
    file = out / "measured" / f"{recipe.name}-{digest}.json"
    return Model(recipe=recipe, **kept_json(file, partial(_measured, recipe, size, data, out, device)))


def _measured(recipe: Recipe, size: Measuring, data: Path, out: Path, device: str) -> dict[str, Any]:
    print(f"measuring {recipe.name}", flush=True)
    ae = autoencoder(recipe, data, out / "models", device)
    test = images_of(recipe.dataset, data, train=False)
    report = vaeaudit.audit(ae, test, size.preset, size.pairs)
    return {
        "figures": figures_of(report),
        "findings": [finding.name for finding in report.health if finding.severity != "info"],
        "attacks": compared(ae, test[0][: size.images].to(device), size) if size.images else {},
        "released": released(ae, test[0][: size.spectra].to(device)) if size.spectra else {},
    }


def figures_of(report: vaeaudit.AuditReport) -> dict[str, Triple]:
    """Every score and the damage at every budget; a figure that must not be relied upon is NaN."""
    estimates = report.scores()
    assert report.damage is not None
    for radius, damage, gain in zip(report.damage.radii, report.damage.estimates, report.damage.gains, strict=True):
        estimates |= {f"damage at {radius:.3g}": damage, f"gain at {radius:.3g}": gain}
    return {
        name: (found.value, found.low, found.high) if found.trusted else NOTHING for name, found in estimates.items()
    }
