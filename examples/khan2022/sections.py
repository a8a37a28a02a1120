"""What the page says. Whatever a sentence states as a result is taken from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from examples.khan2022 import plots
from examples.khan2022.attacking import (
    ENCODER,
    LATENT,
    MAXIMUM,
    RANDOM,
    RELEASED_DIRECTIONS,
    RELEASED_STEPS,
    ROUND_TRIP,
)
from examples.khan2022.claims import judged, number, said
from examples.khan2022.correlating import correlation
from examples.khan2022.measuring import NOTHING, Model
from examples.khan2022.references import CORRELATIONS, ERRORS_BY_DIRECTION, deviations, nearest
from examples.khan2022.results import BASE, MIXED, RESISTANCE, SCORES, TRIAL, Results
from examples.khan2022.training import TITLES
from examples.papers.claims import listed
from examples.papers.page import Block, Page, Section, bullets, table

_SOURCES = (
    "A. Khan, A. Storkey: Adversarial robustness of VAEs through the lens of local geometry. arXiv:2208.03923, 2022. "
    "D. G. Bonett, T. A. Wright: Sample size requirements for estimating Pearson, Kendall and Spearman correlations. "
    "Psychometrika 65, 2000."
)
SHOWN = {
    "encoder.spectral_radius": "encoder radius",
    "round_trip.spectral_radius": "round trip radius",
    "encoder.von_neumann_entropy": "encoder entropy",
    "round_trip.von_neumann_entropy": "round trip entropy",
    "encoder.effective_rank": "encoder effective rank",
    "encoder.entropy_khan2022": "encoder entropy, theirs",
    "encoder.condition_number": "encoder condition number",
    "encoder.active_units": "active units",
}
REFERENCES = {
    "encoder.spectral_radius": "spectral radius", "round_trip.spectral_radius": "spectral radius",
    "encoder.entropy_khan2022": "von Neumann entropy", "round_trip.entropy_khan2022": "von Neumann entropy",
}  # fmt: skip


def page(results: Results) -> Page:
    """The whole page."""
    sections = [
        ("The paper's claims", _verdicts(results)),
        (
            "Scores and resistance against beta",
            [
                plots.against_beta(results),
                *(block for dataset in results.series for block in _series(results, dataset)),
                *_correlations(results),
            ],
        ),
        ("Attacks at equal L2 budgets", _attacks(results)),
        ("The released figures", _released(results)),
        ("Mixup against beta", _trial(results)),
        ("Where this differs from the paper", [bullets(deviations(results.setting))]),
        ("Sources", [_SOURCES]),
    ]
    return Page(
        title="Khan and Storkey 2022, run again", lead=_lead(results),
        sections=[
            Section(title=f"{number}. {title}", blocks=blocks) for number, (title, blocks) in enumerate(sections, 1)
        ],
    )  # fmt: skip


def _lead(results: Results) -> list[str]:
    models, trial = (sum(len(found) for found in part.values()) for part in (results.series, results.trial))
    datasets = " and ".join(TITLES[dataset] for dataset in results.series)
    return [
        f"Adversarial robustness of VAEs through the lens of local geometry, at the {results.setting.name} setting: {models} VAEs "
        f"over a range of beta on {datasets}, and a trial of mixup with {trial} models.",
        f"Made by `python -m examples.khan2022 --setting {results.setting.name}` with "
        + ", ".join(f"{name} {version}" for name, version in results.versions.items())
        + ". Figures are given with their 95 % interval, over pairs or images of one model where nothing else is said; "
        "`khan2022.json` has all of them. Distances are L2 of the input, values in [0, 1].",
    ]


def _verdicts(results: Results) -> list[Block]:
    return [
        "A claim holds if every test of it on every data set comes out as claimed, surely at 95 % where it is a figure with "
        "an interval; it holds partly if some do. It cannot be told if none does and none surely comes out otherwise.",
        listed(judged(results)),
        "Not tested: that attacked inputs are encoded where the latent space is empty, which the paper gives as the cause.",
    ]


def _series(results: Results, dataset: str) -> list[Block]:
    def rows(names: Sequence[str]) -> list[list[str]]:
        models = results.series[dataset]
        return [[number(m.recipe.beta), *(said(m.figures.get(n, NOTHING)) for n in names)] for m in models]

    resistance = [*RESISTANCE, *results.damages]
    found = rows(resistance)
    for row, model in zip(found, results.series[dataset], strict=True):
        row.append(", ".join(model.findings) or "–")
    return [
        table(["beta", *SHOWN.values()], rows(list(SHOWN)), f"{TITLES[dataset]}, scores of the audit"),
        table(
            ["beta", *(RESISTANCE.get(name, name) for name in resistance), "findings"], found,
            f"{TITLES[dataset]}, what attacks measured, and what speaks against it",
        ),
    ]  # fmt: skip


def _correlations(results: Results) -> list[Block]:
    against = ["beta", *results.resistances]
    blocks: list[Block] = [
        "Rank correlations over models (Spearman, with intervals that are at each end the wider of a bootstrap over models "
        "and of Bonett and Wright's). The released figures give "
        f"{CORRELATIONS['spectral radius']} for the radius and {CORRELATIONS['von Neumann entropy']} for the entropy with beta."
    ]
    for dataset in results.series:
        rows = [
            [title, *(said(results.correlation(dataset, name, other)) for other in against), _reference(name)]
            for name, title in (SCORES | RESISTANCE).items()
        ]
        head = ["score", *(RESISTANCE.get(name, name) for name in against), "released, with beta"]
        blocks.append(table(head, rows, f"{TITLES[dataset]}, rank correlation of each score with"))
    return blocks


def _reference(name: str) -> str:
    return f"{CORRELATIONS[REFERENCES[name]]}" if name in REFERENCES else "–"


def _attacks(results: Results) -> list[Block]:
    size = results.setting.of_series
    names = list(results.first.attacks)
    blocks: list[Block] = [
        (
            f"All at {size.images} test images, inside the bounds. {ENCODER.capitalize()} k steps along the k-th eigenvector of "
            f"the encoder's stochastic pullback, {ROUND_TRIP} k along that of encoder and decoder. The {LATENT} climbs the "
            f"2-Wasserstein distance of the posteriors. {MAXIMUM.capitalize()} climbs the displacement of the reconstruction and "
            f"begins, among others, at {ROUND_TRIP} 1; with random starts it knows nothing of it. The {RANDOM} "
            "moves every pixel by a random amount away from the nearer end of the bounds. A share is of the most that "
            "any of these attacks found at that image and budget."
        ),
        plots.against_budget(results),
    ]
    for dataset, models in results.series.items():
        middle = plots.three(models)[1]
        for effect, title in (
            ("displacement", "displacement of the reconstruction"),
            ("latent", "displacement of the posterior"),
        ):
            share = "share" if effect == "displacement" else "latent share"
            head = ["attack"]
            for radius in size.radii:
                head += [f"at {radius:g}", "share", "shares of all betas"]
            rows = [[name, *_cells(models, middle, name, effect, share)] for name in names]
            caption = (
                f"{TITLES[dataset]}, {title} at beta {number(middle.recipe.beta)} (mean over images), its share of the most "
                "found (median), and the lowest and highest such share over the betas"
            )
            blocks.append(table(head, rows, caption))
    return blocks


def _cells(models: Sequence[Model], middle: Model, name: str, effect: str, share: str) -> list[str]:
    cells = []
    for budget in range(len(middle.attacks[name][effect])):
        shares = [model.attacks[name][share][budget][0] for model in models]
        cells += [
            said(middle.attacks[name][effect][budget]), said(middle.attacks[name][share][budget]),
            f"{number(min(shares))} to {number(max(shares))}",
        ]  # fmt: skip
    return cells


def _released(results: Results) -> list[Block]:
    blocks: list[Block] = [
        "Scores and errors computed as the authors' code does, beside what they released at the nearest beta. It cannot be "
        "said from the release whether a score is of singular values of J or of eigenvalues of J'J, nor on which data set; "
        "the round trip is the likelier part. Entropy is theirs, normalised by the largest value."
    ]
    for dataset, models in results.series.items():
        conventions = list(models[0].released["scores"])
        head = ["beta", "released beta", "released entropy", *(f"entropy: {name}" for name in conventions)]
        head += ["released radius", *(f"radius: {name}" for name in conventions)]
        rows = []
        for model in models:
            theirs, ours = nearest(model.recipe.beta), model.released["scores"]
            rows.append([
                number(model.recipe.beta), f"{theirs.beta:g}",
                f"{theirs.entropy:g}", *(said(ours[name]["entropy"]) for name in conventions),
                f"{theirs.radius:g}", *(said(ours[name]["radius"]) for name in conventions),
            ])  # fmt: skip
        blocks += [
            table(head, rows, f"{TITLES[dataset]}, scores"), _agreement(dataset, models), _released_errors(dataset, models),
        ]  # fmt: skip
    return blocks


def _agreement(dataset: str, models: Sequence[Model]) -> str:
    """By what factor ours and theirs differ on average, convention by convention, and the same correlations with beta."""
    names = list(models[0].released["scores"])
    betas = [model.recipe.beta for model in models]

    def ours(name: str, score: str) -> list[float]:
        return [model.released["scores"][name][score][0] for model in models]

    def errors(step: int) -> list[float]:
        return [model.released["errors"][step][0][0] for model in models]

    def factor(name: str, score: str) -> str:
        theirs = [getattr(nearest(beta), score) for beta in betas]
        logs = [abs(math.log(a / b)) for a, b in zip(ours(name, score), theirs, strict=True)]
        return number(math.exp(sum(logs) / len(logs)))

    scores = {"spectral radius": "radius", "von Neumann entropy": "entropy"}
    rows = [[f"{title}, factor", "1", *(factor(name, score) for name in names)] for title, score in scores.items()]
    for title, score in scores.items():
        found = [said(correlation(betas, ours(name, score))) for name in names]
        rows.append([f"{title}, rank correlation with beta", f"{CORRELATIONS[title]}", *found])
    for title, step in (("error, step 0.1", 0), ("error, step 10", 2)):
        found = ["–"] * 2 + [said(correlation(betas, errors(step)))] + ["–"]
        rows.append([f"{title}, rank correlation with beta", f"{CORRELATIONS[title]}", *found])
    caption = (
        f"{TITLES[dataset]}, how near that comes to the release: the factor by which ours and theirs differ on average "
        "(geometric mean, either way), and the rank correlations that the release gives"
    )
    return table(["score", "released", *names], rows, caption)


def _released_errors(dataset: str, models: Sequence[Model]) -> str:
    head = ["beta"]
    for step in RELEASED_STEPS:
        head += [f"released, step {step:g}", f"step {step:g}, direction 1"]
    head += [f"step {RELEASED_STEPS[-1]:g}, direction {k}" for k in range(2, RELEASED_DIRECTIONS + 1)]
    rows = []
    for model in models:
        theirs, errors, row = nearest(model.recipe.beta), model.released["errors"], [number(model.recipe.beta)]
        for step in range(len(RELEASED_STEPS)):
            row += [f"{theirs.errors[step]:g}", said(errors[step][0])]
        rows.append(row + [said(errors[-1][k]) for k in range(1, RELEASED_DIRECTIONS)])
    along = ", ".join(f"{error:g}" for error in ERRORS_BY_DIRECTION)
    caption = (
        f"{TITLES[dataset]}, mean squared error a pixel after x + step * s_k * u_k of the round trip, without bounds; released "
        f"along directions 1 to 5 at beta 0.01 and step 10: {along}"
    )
    return table(head, rows, caption)


def _trial(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for dataset, models in results.trial.items():
        seeds = len({model.recipe.seed for model in models})
        objectives = results.objectives(dataset)
        rows = [[name, *(said(results.over_seeds(dataset, name, score)) for score in TRIAL)] for name in objectives]
        differences = [
            [f"{MIXED} less {name}", *(said(results.difference(dataset, score, name)) for score in TRIAL)]
            for name in objectives
            if name != MIXED
        ]
        blocks += [
            f"{TITLES[dataset]}: models of one seed start alike. Mixup has a second KL, of the mixed images, and so about the pull "
            f"to the prior of beta 2: hold it against that row and not only against the {BASE}'s.",
            table(
                ["model", *TRIAL.values()], rows,
                f"Mean over {seeds} seeds and its 95 % interval (Student's), which is what training again would change",
            ),
            table(["difference", *TRIAL.values()], differences, "Differences, seed by seed"),
        ]  # fmt: skip
    return blocks
