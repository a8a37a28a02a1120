"""The paper's claims, each judged by this run's figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from examples.khan2022.attacking import ENCODER, LATENT, RANDOM, ROUND_TRIP, UNGUIDED, Triple
from examples.khan2022.correlating import Correlation, Mean
from examples.khan2022.references import CORRELATIONS
from examples.khan2022.results import BASE, MIXED, RESISTANCE, SCORES, TRIAL, Results
from examples.khan2022.training import TITLES
from examples.papers.claims import Claim

HOLDS, PARTLY, NOT, OPEN = "holds", "holds partly", "does not hold here", "cannot be told here"
TITLES_OF = SCORES | RESISTANCE
NEARLY_ALL = 0.95
"""An attack counts as optimal where the median image suffers at least this share of the most that any attack found."""


def judged(results: Results) -> list[Claim]:
    """Every claim of the abstract that an experiment can answer."""
    rules: tuple[Callable[[Results], Claim], ...] = (
        _optimal_for_the_latent, _optimal_for_the_reconstruction, _first_direction, _scores_follow_beta,
        _scores_tell_damage, _beta_protects, _beta_costs, _mixup_protects, _mixup_reconstructs,
    )  # fmt: skip
    return [rule(results) for rule in rules]


def verdict_of(outcomes: Sequence[bool | None]) -> str:
    """From tests of a claim that came out as claimed, surely otherwise, or (None) neither."""
    if outcomes and all(outcomes):
        return HOLDS
    if any(outcomes):
        return PARTLY
    return NOT if False in outcomes else OPEN


def said(found: Correlation | Mean | Triple) -> str:
    """A figure with its interval, where it has them."""
    value, low, high = found[:3]
    if math.isnan(value):
        return "–"
    if math.isinf(low) and math.isinf(high):
        return f"{number(value)} (no interval)"
    return number(value) if low == high else f"{number(value)} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Three digits, without the sign of a rounded zero."""
    return f"{float(f'{value:.3g}') + 0.0:.3g}"


def sign(found: Correlation | Mean, wanted: int) -> bool | None:
    """Whether a figure surely has the sign that a claim asks for, surely the other, or neither."""
    low, high = (found.low, found.high) if wanted > 0 else (-found.high, -found.low)
    if math.isnan(found.value) or low <= 0 <= high:
        return None
    return low > 0


def _optimal(results: Results, attack: str, kind: str, claim: str, of_what: str, rival: str) -> Claim:
    outcomes: list[bool | None] = []
    parts = []
    for budget, radius in enumerate(results.setting.of_series.radii):
        shares = results.shares(f"{attack} 1", kind, budget)
        of_budget = [True if low >= NEARLY_ALL else False if high < NEARLY_ALL else None for _, low, high in shares]
        outcomes += of_budget
        parts.append(
            f"at budget {radius:g} {number(results.median_share(f'{attack} 1', kind, budget))} of the best found "
            f"({rival} {number(results.median_share(rival, kind, budget))}, "
            f"{RANDOM} {number(results.median_share(RANDOM, kind, budget))}), surely {NEARLY_ALL:g} or more "
            f"for {of_budget.count(True)} of {len(shares)} models and surely less for {of_budget.count(False)}"
        )
    return Claim(says=claim, verdict=verdict_of(outcomes), shown=f"{of_what}: " + "; ".join(parts) + ".")


def _optimal_for_the_latent(results: Results) -> Claim:
    return _optimal(
        results, ENCODER, "latent share",
        "The dominant eigenvector of the encoder's stochastic pullback is the optimal attack on the latent.",
        "Share of the largest 2-Wasserstein displacement of the posterior (medians)", LATENT,
    )  # fmt: skip


def _optimal_for_the_reconstruction(results: Results) -> Claim:
    return _optimal(
        results, ROUND_TRIP, "share",
        "The dominant eigenvector of the metric of encoder and decoder is the optimal attack on the reconstruction.",
        "Share of the largest displacement of the reconstruction (medians)", UNGUIDED,
    )  # fmt: skip


def _first_direction(results: Results) -> Claim:
    size, outcomes, parts = results.setting.of_series, [], []
    for budget, radius in enumerate(size.radii):
        firsts = []
        for models in results.series.values():
            for model in models:
                means = [
                    model.attacks[f"{ROUND_TRIP} {k}"]["displacement"][budget][0] for k in range(1, size.directions + 1)
                ]
                firsts.append(means[0] == max(means))
        outcomes += firsts
        parts.append(f"{sum(firsts)} of {len(firsts)} models at budget {radius:g}")
    return Claim(
        says="Attacks do the more damage the larger the eigenvalue of their direction is.",
        verdict=verdict_of(outcomes),
        shown="The first eigen-direction of the round trip does the most damage among the first "
        f"{size.directions} (mean over images) for " + ", ".join(parts) + ".",
    )


def _correlations(results: Results, names: Sequence[str], other: str) -> tuple[list[Correlation], str]:
    """Over every data set, and in words."""
    found: list[Correlation] = []
    parts = []
    for name in names:
        of_name = {dataset: results.correlation(dataset, name, other) for dataset in results.series}
        found += of_name.values()
        words = ", ".join(f"{TITLES[dataset]} {said(value)}" for dataset, value in of_name.items())
        parts.append(f"{TITLES_OF.get(name, name)}: {words}")
    return found, "; ".join(parts)


def _scores_follow_beta(results: Results) -> Claim:
    names = [
        f"{part}.{score}" for score in ("spectral_radius", "von_neumann_entropy") for part in ("encoder", "round_trip")
    ]
    found, words = _correlations(results, names, "beta")
    return Claim(
        says="The scores (spectral radius, von Neumann entropy) correlate with beta.",
        verdict=verdict_of([sign(one, -1) for one in found]),
        shown=f"Rank correlation with beta: {words}. Released: {CORRELATIONS['spectral radius']} and "
        f"{CORRELATIONS['von Neumann entropy']}.",
    )


def _scores_tell_damage(results: Results) -> Claim:
    found, parts = [], []
    for damage in (results.damages[0], results.damages[-1]):
        of_damage, words = _correlations(
            results, ["encoder.spectral_radius", "round_trip.spectral_radius", "round_trip.von_neumann_entropy"], damage
        )
        found += of_damage
        parts.append(f"with {damage}, {words}")
    return Claim(
        says="The scores say how robust a model is.",
        verdict=verdict_of([sign(one, 1) for one in found]),
        shown="Rank correlation over models with the damage of the untargeted attack (positive as claimed): "
        + "; ".join(parts) + ".",
    )  # fmt: skip


def _beta_protects(results: Results) -> Claim:
    damage, of_damage = _correlations(results, results.damages, "beta")
    hinge, of_hinge = _correlations(results, ["hinge"], "beta")
    _, of_reach = _correlations(results, ["hinge"], "reach")
    return Claim(
        says="Beta is a parameter of robustness: a larger one makes the model harder to attack.",
        verdict=verdict_of([*(sign(one, -1) for one in damage), *(sign(one, 1) for one in hinge)]),
        shown=f"Rank correlation with beta: {of_damage} (negative as claimed); {of_hinge} (positive as claimed). "
        f"With the reach, how far apart the model can place two reconstructions, {of_reach}.",
    )


def _beta_costs(results: Results) -> Claim:
    found, words = _correlations(results, ["reconstruction_error"], "beta")
    return Claim(
        says="A larger beta reconstructs worse.",
        verdict=verdict_of([sign(one, 1) for one in found]),
        shown=f"Rank correlation with beta: {words}. Released: {CORRELATIONS['error, step 0.1']}.",
    )


RESISTS = {"hinge": 1, "auddc": 1, "damage_gain": -1, "round_trip.spectral_radius": -1}
"""What the trial holds against each other, and whether more (1) or less (-1) of it is more robust."""


def _mixup_protects(results: Results) -> Claim:
    outcomes: list[bool | None] = []
    parts = []
    for dataset in results.trial:
        for other in results.objectives(dataset):
            if other == MIXED:
                continue
            found = {name: results.difference(dataset, name, other) for name in RESISTS}
            if other == BASE:
                outcomes += [sign(found[name], wanted) for name, wanted in RESISTS.items()]
            figures = ", ".join(f"{TRIAL[name]} {said(value)}" for name, value in found.items())
            parts.append(f"{TITLES[dataset]}, {MIXED} less {other}: {figures}")
    return Claim(
        says="Training with mixup makes the model harder to attack.",
        verdict=verdict_of(outcomes),
        shown=f"The verdict is against the {BASE}; the arrow is the way of more resistance. Seed by seed, "
        + "; ".join(parts) + ".",
    )  # fmt: skip


def _mixup_reconstructs(results: Results) -> Claim:
    outcomes, parts = [], []
    for dataset in results.trial:
        for other in results.objectives(dataset):
            if other != MIXED:
                found = results.difference(dataset, "reconstruction_error", other)
                outcomes.append(sign(found, -1))
                parts.append(f"{TITLES[dataset]} less {other} {said(found)}")
    return Claim(
        says="Mixup reconstructs better than the alternatives.",
        verdict=verdict_of(outcomes),
        shown=f"Reconstruction error of the {MIXED} (negative as claimed), seed by seed: " + "; ".join(parts) + ".",
    )
