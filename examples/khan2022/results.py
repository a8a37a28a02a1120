"""The results of a run as the page needs them: columns over models, their correlations, and the trial by objective."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from examples.khan2022.attacking import Triple
from examples.khan2022.correlating import Correlation, Mean, correlation, mean_over_seeds
from examples.khan2022.measuring import Model
from examples.khan2022.settings import Setting

SCORES = {
    "encoder.spectral_radius": "encoder spectral radius",
    "round_trip.spectral_radius": "round trip spectral radius",
    "encoder.von_neumann_entropy": "encoder von Neumann entropy",
    "round_trip.von_neumann_entropy": "round trip von Neumann entropy",
    "encoder.effective_rank": "encoder effective rank",
    "round_trip.effective_rank": "round trip effective rank",
    "encoder.entropy_khan2022": "encoder entropy, Khan 2022",
    "round_trip.entropy_khan2022": "round trip entropy, Khan 2022",
    "encoder.condition_number": "encoder condition number",
    "round_trip.condition_number": "round trip condition number",
    "encoder.active_units": "active units",
}
RESISTANCE = {"hinge": "hinge", "auddc": "AUDDC", "reach": "reach", "reconstruction_error": "reconstruction error"}
TRIAL = {
    "hinge": "hinge ↑",
    "auddc": "AUDDC ↑",
    "damage_gain": "damage gain ↓",
    "encoder.spectral_radius": "encoder spectral radius ↓",
    "round_trip.spectral_radius": "round trip spectral radius ↓",
    "reconstruction_error": "reconstruction error ↓",
    "reach": "reach",
}
BASE, MIXED = "VAE", "mixup-VAE"


@dataclass(frozen=True)
class Results:
    """Models of the series and of the trial by data set, in the order of beta and of seeds, and what they were made with."""

    setting: Setting
    series: dict[str, list[Model]]
    trial: dict[str, list[Model]]
    versions: dict[str, str]

    @property
    def damages(self) -> list[str]:
        """Names of the damage at the budgets of the audit."""
        return [name for name in self.first.figures if name.startswith("damage at")]

    @property
    def first(self) -> Model:
        """Any model of the series."""
        return next(iter(self.series.values()))[0]

    @property
    def resistances(self) -> list[str]:
        """What attacks measured: the scores are held against these."""
        return ["hinge", "auddc", *self.damages]

    def column(self, dataset: str, name: str) -> list[float]:
        """A figure, or beta, over the models of a data set's series."""
        return [m.recipe.beta if name == "beta" else m.value(name) for m in self.series[dataset]]

    def correlation(self, dataset: str, name: str, other: str = "beta") -> Correlation:
        """Of two figures over the models of a data set's series."""
        return correlation(self.column(dataset, name), self.column(dataset, other))

    def shares(self, attack: str, kind: str, budget: int) -> list[Triple]:
        """An attack's share of the most that was found, for every model of the series."""
        return [model.attacks[attack][kind][budget] for models in self.series.values() for model in models]

    def median_share(self, attack: str, kind: str, budget: int) -> float:
        """Median of these over the models."""
        return statistics.median(share for share, _, _ in self.shares(attack, kind, budget))

    def objectives(self, dataset: str) -> list[str]:
        """Those of the trial, mixup last."""
        return sorted(dict.fromkeys(m.recipe.label for m in self.trial[dataset]), key=lambda label: label == MIXED)

    def seeds(self, dataset: str, objective: str, name: str) -> list[float]:
        """A figure over the seeds of one objective, in the order of the seeds."""
        models = [m for m in self.trial[dataset] if m.recipe.label == objective]
        return [m.value(name) for m in sorted(models, key=lambda m: m.recipe.seed)]

    def over_seeds(self, dataset: str, objective: str, name: str) -> Mean:
        """Its mean."""
        return mean_over_seeds(self.seeds(dataset, objective, name))

    def difference(self, dataset: str, name: str, other: str, objective: str = MIXED) -> Mean:
        """An objective's figure less another's, seed by seed."""
        pairs = zip(self.seeds(dataset, objective, name), self.seeds(dataset, other, name), strict=True)
        return mean_over_seeds([a - b for a, b in pairs])
