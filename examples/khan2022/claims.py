"""The paper's claims, each judged by this run's figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from examples.papers.claims import Claim
from vaeaudit.score_names import direction_of

from .attacking import ENCODER, LATENT, RANDOM, ROUND_TRIP, UNGUIDED, Triple
from .references import CORRELATIONS
from .results import BASE, MIXED, SCORES, Results, titled
from .settings import DATASETS

HOLDS, PARTLY, NOT, OPEN = "holds", "holds partly", "does not hold here", "cannot be told here"
NEARLY_ALL = 0.95
"""An attack counts as optimal where the median image suffers at least this share of the most that any attack found."""
TRIAL = ("hinge", "auddc", "damage_gain", "encoder.spectral_radius", "round_trip.spectral_radius", "reconstruction_error",
         "reach")  # fmt: skip
"""What the trial of mixup is told by."""
_RESISTS = ("hinge", "auddc", "damage_gain", "round_trip.spectral_radius")
"""What it is judged by."""
Outcomes = list[bool | None]
"""Of tests of a claim: as claimed, surely otherwise, or (None) neither."""


def judged(results: Results) -> list[Claim]:
    """Every claim of the abstract that an experiment can answer."""
    return [
        _optimal(
            results, ENCODER, "latent share", LATENT,
            "The dominant eigenvector of the encoder's stochastic pullback is the optimal attack on the latent.",
            "Share of the largest 2-Wasserstein displacement of the posterior (medians)",
        ),
        _optimal(
            results, ROUND_TRIP, "share", UNGUIDED,
            "The dominant eigenvector of the metric of encoder and decoder is the optimal attack on the reconstruction.",
            "Share of the largest displacement of the reconstruction (medians)",
        ),
        _first_direction(results), *_of_beta(results), _mixup_protects(results), _mixup_reconstructs(results),
    ]  # fmt: skip


def verdict_of(outcomes: Sequence[bool | None]) -> str:
    """From all tests of a claim."""
    if outcomes and all(outcomes):
        return HOLDS
    if any(outcomes):
        return PARTLY
    return NOT if False in outcomes else OPEN


def said(found: Triple) -> str:
    """A figure with its interval, where it has them."""
    value, low, high = found
    if math.isnan(value):
        return "–"
    if math.isinf(low) and math.isinf(high):
        return f"{number(value)} (no interval)"
    return number(value) if low == high else f"{number(value)} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Three digits, without the sign of a rounded zero."""
    return f"{float(f'{value:.3g}') + 0.0:.3g}"


def arrowed(name: str) -> str:
    """What to call a score, with the way of more resistance, or of better reconstruction."""
    return titled(name) + {True: " ↑", False: " ↓", None: ""}[direction_of(name)]


def sign(found: Triple, wanted: int) -> bool | None:
    """Whether a figure surely has the sign that a claim asks for, surely the other, or neither."""
    value, low, high = found
    if math.isnan(value) or low <= 0 <= high:
        return None
    return (low > 0) == (wanted > 0)


def _optimal(results: Results, attack: str, kind: str, rival: str, says: str, of_what: str) -> Claim:
    outcomes: Outcomes = []
    parts = []
    for budget, radius in enumerate(results.setting.of_series.radii):
        shares = results.shares(f"{attack} 1", kind, budget)
        of_budget = [True if low >= NEARLY_ALL else False if high < NEARLY_ALL else None for _, low, high in shares]
        outcomes += of_budget
        own, rivals, chance = (number(results.median_share(n, kind, budget)) for n in (f"{attack} 1", rival, RANDOM))
        parts.append(
            f"at budget {radius:g} {own} of the best found ({rival} {rivals}, {RANDOM} {chance}), surely {NEARLY_ALL:g} "
            f"or more for {of_budget.count(True)} of {len(shares)} models and surely less for {of_budget.count(False)}"
        )
    return Claim(says=says, verdict=verdict_of(outcomes), shown=f"{of_what}: {'; '.join(parts)}.")


def _first_direction(results: Results) -> Claim:
    size, outcomes, parts = results.setting.of_series, [], []
    for budget, radius in enumerate(size.radii):
        firsts = []
        for model in results.series:
            names = (f"{ROUND_TRIP} {k}" for k in range(1, size.directions + 1))
            means = [model.attacks[name]["displacement"][budget][0] for name in names]
            firsts.append(means[0] == max(means))
        outcomes += firsts
        parts.append(f"{sum(firsts)} of {len(firsts)} models at budget {radius:g}")
    return Claim(
        says="Attacks do the more damage the larger the eigenvalue of their direction is.",
        verdict=verdict_of(outcomes),
        shown="The first eigen-direction of the round trip does the most damage among the first "
        f"{size.directions} (mean over images) for {', '.join(parts)}.",
    )


def _of_beta(results: Results) -> list[Claim]:
    """What is claimed of rank correlations over the series."""
    radii_and_entropies, damages = SCORES[:4], results.damages
    scores, of_scores = _correlated(results, dict.fromkeys(radii_and_entropies, -1))
    foretold = dict.fromkeys(
        ("encoder.spectral_radius", "round_trip.spectral_radius", "round_trip.von_neumann_entropy"), 1
    )
    told = {damage: _correlated(results, foretold, damage) for damage in (damages[0], damages[-1])}
    damage, of_damage = _correlated(results, dict.fromkeys(damages, -1))
    hinge, of_hinge = _correlated(results, {"hinge": 1})
    _, of_reach = _correlated(results, {"hinge": 1}, "reach")
    error, of_error = _correlated(results, {"reconstruction_error": 1})
    return [
        Claim(
            says="The scores (spectral radius, von Neumann entropy) correlate with beta.", verdict=verdict_of(scores),
            shown=f"Rank correlation with beta: {of_scores}. Released: {CORRELATIONS['spectral radius']} and "
            f"{CORRELATIONS['von Neumann entropy']}.",
        ),
        Claim(
            says="The scores say how robust a model is.",
            verdict=verdict_of([outcome for outcomes, _ in told.values() for outcome in outcomes]),
            shown="Rank correlation over models with the damage of the untargeted attack (positive as claimed): "
            + "; ".join(f"with {name}, {words}" for name, (_, words) in told.items()) + ".",
        ),
        Claim(
            says="Beta is a parameter of robustness: a larger one makes the model harder to attack.",
            verdict=verdict_of([*damage, *hinge]),
            shown=f"Rank correlation with beta: {of_damage} (negative as claimed); {of_hinge} (positive as claimed). "
            f"With the reach, how far apart the model can place two reconstructions, {of_reach}.",
        ),
        Claim(
            says="A larger beta reconstructs worse.", verdict=verdict_of(error),
            shown=f"Rank correlation with beta: {of_error}. Released: {CORRELATIONS['error, step 0.1']}.",
        ),
    ]  # fmt: skip


def _correlated(results: Results, wanted: Mapping[str, int], other: str = "beta") -> tuple[Outcomes, str]:
    """Figures against another over every data set's models, by the sign that is wanted of each; and in words."""
    outcomes: Outcomes = []
    parts = []
    for name, way in wanted.items():
        found = {dataset: results.correlation(dataset, name, other) for dataset in results.by_beta}
        outcomes += [sign(figure, way) for figure in found.values()]
        words = ", ".join(f"{DATASETS[dataset]} {said(figure)}" for dataset, figure in found.items())
        parts.append(f"{titled(name)}: {words}")
    return outcomes, "; ".join(parts)


def _mixup_protects(results: Results) -> Claim:
    outcomes: Outcomes = []
    parts = []
    for dataset, other in _rivals(results):
        found = {name: results.over_seeds(dataset, MIXED, name, less=other) for name in _RESISTS}
        if other == BASE:
            outcomes += [sign(found[name], 1 if direction_of(name) else -1) for name in _RESISTS]
        figures = ", ".join(f"{arrowed(name)} {said(value)}" for name, value in found.items())
        parts.append(f"{DATASETS[dataset]}, {MIXED} less {other}: {figures}")
    return Claim(
        says="Training with mixup makes the model harder to attack.", verdict=verdict_of(outcomes),
        shown=f"The verdict is against the {BASE}; the arrow is the way of more resistance. Seed by seed, "
        + "; ".join(parts) + ".",
    )  # fmt: skip


def _mixup_reconstructs(results: Results) -> Claim:
    rivals = _rivals(results)
    found = [results.over_seeds(dataset, MIXED, "reconstruction_error", less=other) for dataset, other in rivals]
    parts = [
        f"{DATASETS[dataset]} less {other} {said(figure)}"
        for (dataset, other), figure in zip(rivals, found, strict=True)
    ]
    return Claim(
        says="Mixup reconstructs better than the alternatives.",
        verdict=verdict_of([sign(figure, -1) for figure in found]),
        shown=f"Reconstruction error of the {MIXED} (negative as claimed), seed by seed: {'; '.join(parts)}.",
    )


def _rivals(results: Results) -> list[tuple[str, str]]:
    """Data set and objective of all that mixup is held against."""
    return [(dataset, other) for dataset in results.trials for other in results.objectives(dataset) if other != MIXED]
