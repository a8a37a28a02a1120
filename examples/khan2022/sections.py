"""What the page says. Whatever a sentence states as a result is taken from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from examples.papers.claims import COLOURS, listed
from vaeaudit.report.pages.article import Article
from vaeaudit.report.pages.charts import Chart
from vaeaudit.report.pages.document import Section
from vaeaudit.report.pages.markdown import bullets, table

from . import plots
from .attacking import ENCODER, LATENT, MAXIMUM, RANDOM, RELEASED_DIRECTIONS, RELEASED_STEPS, ROUND_TRIP
from .claims import TRIAL, arrowed, judged, number, said
from .measuring import Model
from .references import CORRELATIONS, ERRORS_BY_DIRECTION, deviations, nearest
from .results import BASE, MIXED, RESISTANCE, SCORES, Results, correlation, titled
from .settings import DATASETS

Block = str | Chart
_SOURCES = (
    "A. Khan, A. Storkey: Adversarial robustness of VAEs through the lens of local geometry. arXiv:2208.03923, 2022. "
    "D. G. Bonett, T. A. Wright: Sample size requirements for estimating Pearson, Kendall and Spearman correlations. "
    "Psychometrika 65, 2000."
)
_SHOWN = {
    "encoder.spectral_radius": "encoder radius",
    "round_trip.spectral_radius": "round trip radius",
    "encoder.von_neumann_entropy": "encoder entropy",
    "round_trip.von_neumann_entropy": "round trip entropy",
    "encoder.effective_rank": "encoder effective rank",
    "encoder.entropy_khan2022": "encoder entropy, theirs",
    "encoder.condition_number": "encoder condition number",
    "encoder.active_units": "active units",
}
_RELEASED = {"spectral_radius": "spectral radius", "entropy_khan2022": "von Neumann entropy"}
"""Scores whose correlation with beta was released, and as what."""


def article(results: Results) -> Article:
    """The whole page."""
    against_beta = [plots.against_beta(results), *_tables(results), *_correlations(results)]
    sections: dict[str, Sequence[Block]] = {
        "The paper's claims": _verdicts(results),
        "Scores and resistance against beta": against_beta,
        "Attacks at equal L2 budgets": _attacks(results),
        "The released figures": _released(results),
        "Mixup against beta": _trial(results),
        "Where this differs from the paper": [bullets(deviations(results.setting))],
        "Sources": [_SOURCES],
    }
    return Article(
        title="Khan and Storkey 2022, run again", lead=_lead(results), colours=COLOURS,
        sections=[
            Section(title=f"{number}. {title}", parts=parts) for number, (title, parts) in enumerate(sections.items(), 1)
        ],
    )  # fmt: skip


def _lead(results: Results) -> list[str]:
    setting, datasets = results.setting.name, " and ".join(DATASETS[dataset] for dataset in results.by_beta)
    return [
        f"Adversarial robustness of VAEs through the lens of local geometry, at the {setting} setting: {len(results.series)} "
        f"VAEs over a range of beta on {datasets}, and a trial of mixup with {len(results.trial)} models.",
        f"Made by `python -m examples.khan2022 --setting {setting}` with "
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


def _tables(results: Results) -> list[Block]:
    """Each model's figures."""
    resistance = [*RESISTANCE, *results.damages]
    blocks: list[Block] = []
    for dataset, models in results.by_beta.items():
        scores, resisted = (
            [[number(m.recipe.beta), *(said(m.figure(name)) for name in names)] for m in models]
            for names in (_SHOWN, resistance)
        )
        noted = [[*row, ", ".join(m.findings) or "–"] for row, m in zip(resisted, models, strict=True)]
        head, title = ["beta", *map(titled, resistance), "findings"], DATASETS[dataset]
        blocks += [
            table(["beta", *_SHOWN.values()], scores, f"{title}, scores of the audit"),
            table(head, noted, f"{title}, what attacks measured, and what speaks against it"),
        ]
    return blocks


def _correlations(results: Results) -> list[Block]:
    against = ["beta", "hinge", "auddc", *results.damages]
    head = ["score", *map(titled, against), "released, with beta"]
    blocks: list[Block] = [
        "Rank correlations over models (Spearman, with intervals that are at each end the wider of a bootstrap over models "
        "and of Bonett and Wright's). The released figures give "
        f"{CORRELATIONS['spectral radius']} for the radius and {CORRELATIONS['von Neumann entropy']} for the entropy with beta."
    ]
    for dataset in results.by_beta:
        rows = [
            [titled(name), *(said(results.correlation(dataset, name, other)) for other in against), _reference(name)]
            for name in (*SCORES, *RESISTANCE)
        ]
        blocks.append(table(head, rows, f"{DATASETS[dataset]}, rank correlation of each score with"))
    return blocks


def _reference(name: str) -> str:
    known = _RELEASED.get(name.rpartition(".")[2])
    return "–" if known is None else f"{CORRELATIONS[known]}"


def _attacks(results: Results) -> list[Block]:
    size = results.setting.of_series
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
    head = ["attack", *(cell for radius in size.radii for cell in (f"at {radius:g}", "share", "shares of all betas"))]
    kinds = {"displacement": ("share", "of the reconstruction"), "latent": ("latent share", "of the posterior")}
    for dataset, models in results.by_beta.items():
        for effect, (share, of_what) in kinds.items():
            rows = [[name, *_cells(models, name, effect, share)] for name in results.series[0].attacks]
            caption = (
                f"{DATASETS[dataset]}, displacement {of_what} at beta {number(plots.middle(models).recipe.beta)} (mean over "
                "images), its share of the most found (median), and the lowest and highest such share over the betas"
            )
            blocks.append(table(head, rows, caption))
    return blocks


def _cells(models: Sequence[Model], attack: str, effect: str, share: str) -> list[str]:
    shown, cells = plots.middle(models).attacks[attack], []
    for budget, figure in enumerate(shown[effect]):
        shares = [model.attacks[attack][share][budget][0] for model in models]
        cells += [said(figure), said(shown[share][budget]), f"{number(min(shares))} to {number(max(shares))}"]
    return cells


def _released(results: Results) -> list[Block]:
    blocks: list[Block] = [
        "Scores and errors computed as the authors' code does, beside what they released at the nearest beta. It cannot be "
        "said from the release whether a score is of singular values of J or of eigenvalues of J'J, nor on which data set; "
        "the round trip is the likelier part. Entropy is theirs, normalised by the largest value."
    ]
    for dataset, models in results.by_beta.items():
        title = DATASETS[dataset]
        blocks += [_released_scores(title, models), _agreement(title, models), _released_errors(title, models)]
    return blocks


def _released_scores(title: str, models: Sequence[Model]) -> str:
    conventions, head, rows = list(models[0].released["scores"]), ["beta", "released beta"], []
    for score in ("entropy", "radius"):
        head += [f"released {score}", *(f"{score}: {name}" for name in conventions)]
    for model in models:
        theirs = nearest(model.recipe.beta)
        row = [number(model.recipe.beta), f"{theirs.beta:g}"]
        for score in ("entropy", "radius"):
            ours = (said(model.released["scores"][name][score]) for name in conventions)
            row += [f"{getattr(theirs, score):g}", *ours]
        rows.append(row)
    return table(head, rows, f"{title}, scores")


def _agreement(title: str, models: Sequence[Model]) -> str:
    """By what factor ours and theirs differ on average, convention by convention, and the same correlations with beta."""
    names, betas = list(models[0].released["scores"]), [model.recipe.beta for model in models]
    scores = {"spectral radius": "radius", "von Neumann entropy": "entropy"}
    ours = {
        (name, score): [model.released["scores"][name][score][0] for model in models]
        for name in names for score in scores.values()
    }  # fmt: skip

    def factor(name: str, score: str) -> str:
        theirs = [getattr(nearest(beta), score) for beta in betas]
        logs = [abs(math.log(a / b)) for a, b in zip(ours[name, score], theirs, strict=True)]
        return number(math.exp(sum(logs) / len(logs)))

    rows = [[f"{words}, factor", "1", *(factor(name, score) for name in names)] for words, score in scores.items()]
    for words, score in scores.items():
        found = [said(correlation(betas, ours[name, score])) for name in names]
        rows.append([f"{words}, rank correlation with beta", f"{CORRELATIONS[words]}", *found])
    for words, step in (("error, step 0.1", 0), ("error, step 10", 2)):
        errors = [model.released["errors"][step][0][0] for model in models]
        found = ["–", "–", said(correlation(betas, errors)), "–"]
        rows.append([f"{words}, rank correlation with beta", f"{CORRELATIONS[words]}", *found])
    caption = (
        f"{title}, how near that comes to the release: the factor by which ours and theirs differ on average "
        "(geometric mean, either way), and the rank correlations that the release gives"
    )
    return table(["score", "released", *names], rows, caption)


def _released_errors(title: str, models: Sequence[Model]) -> str:
    head = ["beta"]
    for step in RELEASED_STEPS:
        head += [f"released, step {step:g}", f"step {step:g}, direction 1"]
    head += [f"step {RELEASED_STEPS[-1]:g}, direction {k}" for k in range(2, RELEASED_DIRECTIONS + 1)]
    rows = []
    for model in models:
        row, errors = [number(model.recipe.beta)], model.released["errors"]
        for theirs, ours in zip(nearest(model.recipe.beta).errors, errors, strict=True):
            row += [f"{theirs:g}", said(ours[0])]
        rows.append([*row, *map(said, errors[-1][1:])])
    along = ", ".join(f"{error:g}" for error in ERRORS_BY_DIRECTION)
    caption = (
        f"{title}, mean squared error a pixel after x + step * s_k * u_k of the round trip, without bounds; released "
        f"along directions 1 to 5 at beta 0.01 and step 10: {along}"
    )
    return table(head, rows, caption)


def _trial(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for dataset, models in results.trials.items():
        seeds, objectives = len({model.recipe.seed for model in models}), results.objectives(dataset)
        means = [[name, *(said(results.over_seeds(dataset, name, score)) for score in TRIAL)] for name in objectives]
        differences = [
            [f"{MIXED} less {name}", *(said(results.over_seeds(dataset, MIXED, score, less=name)) for score in TRIAL)]
            for name in objectives
            if name != MIXED
        ]
        blocks += [
            f"{DATASETS[dataset]}: models of one seed start alike. Mixup has a second KL, of the mixed images, and so about the pull "
            f"to the prior of beta 2: hold it against that row and not only against the {BASE}'s.",
            table(
                ["model", *map(arrowed, TRIAL)], means,
                f"Mean over {seeds} seeds and its 95 % interval (Student's), which is what training again would change",
            ),
            table(["difference", *map(arrowed, TRIAL)], differences, "Differences, seed by seed"),
        ]  # fmt: skip
    return blocks
