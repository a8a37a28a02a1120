"""What is measured of one model, and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import vaeaudit
from examples.khan2022.attacking import Triple, compared, released
from examples.khan2022.settings import Measuring, Recipe, Setting
from examples.khan2022.training import autoencoder, test_images, test_set
from examples.papers.keeping import kept_json, versions

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

    def value(self, name: str) -> float:
        """A figure alone; NaN where there is none."""
        return self.figures.get(name, NOTHING)[0]


def measured(recipe: Recipe, size: Measuring, data: Path, out: Path, device: str) -> Model:
    """One model's results, trained and measured first where the folder does not have them from these versions."""
    digest = hashlib.sha256(f"{size!r} {versions()}".encode()).hexdigest()[:8]
    file = out / "measured" / f"{recipe.name}-{digest}.json"
    return Model(recipe=recipe, **kept_json(file, partial(_measure, recipe, size, data, out, device)))


def all_measured(
    setting: Setting, data: Path, out: Path, jobs: int = 1, device: str = "cpu"
) -> tuple[list[Model], list[Model]]:
    """Every model of the series and of the trial, several at a time."""
    recipes, sizes = zip(*setting.work, strict=True)
    arguments = (recipes, sizes, repeat(data), repeat(out), repeat(device))
    if jobs == 1:
        models = list(map(measured, *arguments))
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            models = list(pool.map(measured, *arguments))
    return models[: len(setting.series)], models[len(setting.series) :]


def _measure(recipe: Recipe, size: Measuring, data: Path, out: Path, device: str) -> dict[str, Any]:
    print(f"measuring {recipe.name}", flush=True)
    ae = autoencoder(recipe, data, out / "models", device)
    report = vaeaudit.audit(ae, test_set(recipe.dataset, data), size.preset, size.pairs)
    images = test_images(recipe.dataset, data, max(size.images, size.spectra)).to(device)
    return {
        "figures": figures_of(report),
        "findings": [finding.name for finding in report.health if finding.severity != "info"],
        "attacks": compared(ae, images[: size.images], size) if size.images else {},
        "released": released(ae, images[: size.spectra]) if size.spectra else {},
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


def datasets_of(models: Sequence[Model]) -> dict[str, list[Model]]:
    """Models by data set, in the order of beta."""
    found: dict[str, list[Model]] = {}
    for model in sorted(models, key=lambda m: m.recipe.beta):
        found.setdefault(model.recipe.dataset, []).append(model)
    return dict(sorted(found.items(), reverse=True))


def as_json(setting: Setting, series: Sequence[Model], trial: Sequence[Model]) -> str:
    """Everything measured, a line a model; figures to five digits, null where there is none."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(inner) for inner in value]
        if isinstance(value, float):
            return float(f"{value:.5g}") if math.isfinite(value) else None
        return value

    parts = {"series": series, "trial": trial}
    data = {"setting": setting.name, "versions": versions(), "measuring": dataclasses.asdict(setting.of_series)}
    lines = [
        f'"{part}": [\n' + ",\n".join(json.dumps(plain(dataclasses.asdict(m))) for m in models) + "\n]"
        for part, models in parts.items()
    ]
    return json.dumps(data)[:-1] + ",\n" + ",\n".join(lines) + "}\n"
