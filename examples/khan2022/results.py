"""What follows over models: columns of the series and their correlations, and the trial by objective."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

import vaeaudit
from examples.papers.keeping import plain
from vaeaudit.report.words import in_a_sentence

from .attacking import Triple
from .measuring import Model
from .settings import DATASETS, Setting

_OF_SPECTRA = ("spectral_radius", "von_neumann_entropy", "effective_rank", "entropy_khan2022", "condition_number")
SCORES = (*(f"{part}.{score}" for score in _OF_SPECTRA for part in ("encoder", "round_trip")), "encoder.active_units")
RESISTANCE = ("hinge", "auddc", "reach", "reconstruction_error")
BASE, MIXED = "VAE", "mixup-VAE"


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that the page is made from.

    Attributes:
        setting: what was trained and measured.
        series: models over beta.
        trial: models of the trial of mixup.
        versions: what they were made with.
    """

    setting: Setting
    series: Sequence[Model]
    trial: Sequence[Model]
    versions: dict[str, str]

    def as_json(self) -> str:
        """Everything measured, a line a model; figures to five digits, null where there is none."""
        measuring = dataclasses.asdict(self.setting.of_series)
        head = json.dumps({"setting": self.setting.name, "versions": self.versions, "measuring": measuring})
        parts = {
            name: ",\n".join(json.dumps(plain(dataclasses.asdict(model))) for model in models)
            for name, models in (("series", self.series), ("trial", self.trial))
        }
        return head[:-1] + "".join(f',\n"{name}": [\n{lines}\n]' for name, lines in parts.items()) + "}\n"

    @property
    def by_beta(self) -> dict[str, list[Model]]:
        """The series by data set, in the order of beta."""
        return _by_dataset(sorted(self.series, key=lambda model: model.recipe.beta))

    @property
    def trials(self) -> dict[str, list[Model]]:
        """The trial by data set, in the order of seeds."""
        return _by_dataset(sorted(self.trial, key=lambda model: (model.recipe.beta, model.recipe.seed)))

    @property
    def damages(self) -> list[str]:
        """Names of the damage at the budgets of the audit."""
        return [name for name in self.series[0].figures if name.startswith("damage at")]

    def correlation(self, dataset: str, name: str, other: str = "beta") -> Triple:
        """Rank correlation of two figures, or of one with beta, over the models of a data set's series."""
        models = self.by_beta[dataset]
        first, second = (
            [m.recipe.beta if one == "beta" else m.figure(one)[0] for m in models] for one in (name, other)
        )
        return correlation(first, second)

    def shares(self, attack: str, kind: str, budget: int) -> list[Triple]:
        """An attack's share of the most that was found, for every model of the series."""
        return [model.attacks[attack][kind][budget] for model in self.series]

    def median_share(self, attack: str, kind: str, budget: int) -> float:
        """Median of these over the models."""
        return statistics.median(share for share, _, _ in self.shares(attack, kind, budget))

    def objectives(self, dataset: str) -> list[str]:
        """Those of the trial, mixup last."""
        return sorted(dict.fromkeys(m.recipe.label for m in self.trials[dataset]), key=lambda label: label == MIXED)

    def over_seeds(self, dataset: str, objective: str, name: str, less: str | None = None) -> Triple:
        """Mean of an objective's figure over the seeds, or of its differences to another objective's, seed by seed."""
        values = np.array(self._seeds(dataset, objective, name))
        return mean_over_seeds(values if less is None else values - self._seeds(dataset, less, name))

    def _seeds(self, dataset: str, objective: str, name: str) -> list[float]:
        return [m.figure(name)[0] for m in self.trials[dataset] if m.recipe.label == objective]


def titled(name: str) -> str:
    """What to call a figure in a table: as the library's reports do, or as the figure is named."""
    if name == "beta" or name.startswith("damage at"):
        return name
    return in_a_sentence("active_units" if name == "encoder.active_units" else name)


def _by_dataset(models: Sequence[Model]) -> dict[str, list[Model]]:
    found = {dataset: [model for model in models if model.recipe.dataset == dataset] for dataset in DATASETS}
    return {dataset: models for dataset, models in found.items() if models}


def correlation(first: Sequence[float], second: Sequence[float]) -> Triple:
    """The library's, as a figure with its interval."""
    found = vaeaudit.rank_correlation(first, second)
    return found.value, found.low, found.high


def mean_over_seeds(values: Iterable[float]) -> Triple:
    """Mean and Student's interval, which is what training again would change; open with fewer than two values."""
    kept = [value for value in values if math.isfinite(value)]
    if len(kept) < 2:
        return kept[0] if kept else math.nan, -math.inf, math.inf
    centre = statistics.fmean(kept)
    half = float(scipy.stats.t.ppf(0.975, len(kept) - 1)) * statistics.stdev(kept) / math.sqrt(len(kept))
    return centre, centre - half, centre + half
