"""What the page says of a run; all but its pictures is computed from the results file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from examples.papers.claims import COLOURS, Claim, counted, listed
from vaeaudit.report.pages.article import Article
from vaeaudit.report.pages.charts import Chart
from vaeaudit.report.pages.document import Section
from vaeaudit.report.pages.markdown import bullets, table
from vaeaudit.report.pages.viewers import Viewer
from vaeaudit.statistics import estimate

from .claims import VERDICTS, claims
from .comparing import ROLES, SCORES, between, brief, crossings, measured, told
from .figures import charts, of_classifier
from .reference import AUTOENCODERS, CLASSIFIERS, TESTS
from .settings import DUELS, FULL, Duel, Setting
from .study import Results, array

_ATTACKS = {
    "latent": "latent", "kl_tabacof2016": "latent, the released code's divergence", "output": "output",
}  # fmt: skip
_SOURCE = (
    "P. Tabacof, J. Tavares, E. Valle: Adversarial images for variational autoencoders. arXiv:1612.00155, 2016. "
    "Reference figures are computed from the curves that the authors released with their code."
)


def article(results: Results, pictures: Mapping[str, Sequence[Chart | Viewer]]) -> Article:
    """The whole page.

    Args:
        results: of `Study.results`, or read from its file.
        pictures: by duel, what `pictures.of_duel` makes of it.
    """
    found = claims(results)
    sections: dict[str, Sequence[str | Chart | Viewer]] = {"What came of the claims": [_verdicts(results, found)]}
    for name, duel in results["duels"].items():
        judged = listed(found[name])
        parts = [*_text(duel), *_tables(name, duel), judged, *charts(name, duel), *pictures.get(name, ())]
        sections[duel["title"]] = parts
    if trials := results["classifiers"]:
        drawn = [of_classifier(name, trial) for name, trial in trials.items()]
        sections["Classifiers"] = [_classifiers(trials), listed(found["classifiers"]), *drawn]
    for duel in _pending(results):
        if duel.name in AUTOENCODERS:
            sections[f"{duel.title}: pending"] = _known(duel.name)
    sections |= {"What was done otherwise": [bullets(list(_deviations(results)))], "Source": [_SOURCE]}
    return Article(
        title="Tabacof, Tavares and Valle 2016, run again", lead=list(_lead(results, found)), colours=COLOURS,
        sections=[Section(title=title, parts=parts) for title, parts in sections.items()],
    )  # fmt: skip


def _pending(results: Results) -> list[Duel]:
    """Duels whose data were not at hand."""
    return [duel for duel in DUELS if duel.name in results["pending"]]


def _lead(results: Results, found: Mapping[str, Sequence[Claim]]) -> Iterator[str]:
    setting, every = results["setting"]["name"], [claim for group in found.values() for claim in group]
    yield (
        f"Adversarial images for variational autoencoders, at the {setting} setting. Verdicts on {len(every)} claims: "
        f"{counted(every, VERDICTS)}. Figures are medians (AUDDC and reach: means) over pairs with 95 % intervals."
    )
    yield (
        f"Made by `python -m examples.tabacof2016 --setting {setting}` with "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + ". `tabacof2016.json` holds every figure, `tabacof2016.html` the attack's pictures over the whole series of C."
    )
    if pending := _pending(results):
        yield f"**Pending**, because the data were not at hand: {'; '.join(duel.title for duel in pending)}."


def _verdicts(results: Results, found: Mapping[str, Sequence[Claim]]) -> str:
    """A row a claim, a column a duel; those on classifiers, which name their data, in a column of their own."""
    names = [name for name in found if found[name]]
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        for claim in found[name]:
            rows.setdefault(claim.says, {})[name] = f"**{claim.verdict}**"
    titles = [results["duels"][name]["title"] if name in results["duels"] else name for name in names]
    cells = [[says, *(given.get(name, "–") for name in names)] for says, given in rows.items()]
    return table(["claim", *titles], cells, "Each claim's verdict; figures and sources follow")


def _text(duel: Results) -> Iterator[str]:
    taken = "those that the paper's VAE was attacked on" if duel["published_pairs"] else "drawn by the paper's rule"
    yield f"{len(duel['pairs'])} pairs, {taken}, the same for both models."
    reach = between(duel, "reach")
    if reach.sign:
        vae, ae = (measured(duel["attacks"][role]["latent"], "reach").value for role in ROLES)
        yield (
            f"The reach of the two models differs clearly (VAE {vae:.2f}, AE {ae:.2f}, VAE − AE = {told(reach)}, input units). "
            "Hinge and AUDDC are normalised by it, so they do not rank these two models by themselves."
        )
    for role, audit in duel.get("audits", {}).items():
        noted = " ".join(audit["findings"]) or "nothing to object."
        yield (
            f"The library's own audit of the {role.upper()} ({audit['preset']}, {audit['strengths']} values of C that it "
            f"places itself) notes: {noted}"
        )


def _tables(name: str, duel: Results) -> Iterator[str]:
    reference, tests = AUTOENCODERS.get(name, {}), TESTS.get(name, {})
    yield _curves(duel, reference)
    if audits := duel.get("audits"):
        vae, ae = (audits[role]["scores"] for role in ROLES)
        rows = [[score, _interval(vae[score]), _interval(ae[score])] for score in vae if score in ae]
        yield table(["score", "VAE", "AE"], rows, "The library's own audit, on the same pairs")
    rows = []
    for score in (*SCORES, "reach"):
        known = [figures[score] for figures in reference.values() if score in figures]
        theirs = f"{known[0] - known[1]:+.3f}" if known else "–"
        p = f", p = {tests[score]:g}" if score in tests else ""
        rows.append([score, told(between(duel, score)), theirs + p])
    yield table(
        ["VAE − AE", "mean difference over the pairs, 95 % interval, Wilcoxon's p", "the paper's, p of Welch's test"],
        rows, "The VAE against the AE under the latent attack",
    )  # fmt: skip


def _curves(duel: Results, reference: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for role, attacks in duel["attacks"].items():
        for attack, trial in attacks.items():
            rows.append([
                f"{role.upper()}, {_ATTACKS[attack]}", *(brief(measured(trial, score)) for score in (*SCORES, "reach")),
                str(sum(trial["excluded"])), str(sum(trial["censored"])), f"{trial['converged']:.0%}",
            ])  # fmt: skip
        if known := reference.get(role):
            hinge = f"{known['median hinge']:.3f} (mean {known['hinge']:.3f})"
            rows.append([f"{role.upper()}, the paper's curves", hinge, *_others(known), *["–"] * 4])
    head = ["model, attack", "hinge ↑", "floor", "slope", "linearity R2", "AUDDC ↑", "reach", "pairs excluded",
            "not saturated", "converged"]  # fmt: skip
    return table(head, rows, "Trade-off curves")


def _others(known: Mapping[str, float]) -> list[str]:
    """The paper's figures beside the hinge."""
    return [f"{known[score]:.3f}" for score in SCORES[1:]]


def _known(name: str) -> list[str]:
    """What is known of a duel whose data were not at hand, and how to run it."""
    reference = AUTOENCODERS[name]
    rows = [
        [f"{role.upper()}, the paper's curves", f"{known['median hinge']:.3f}", *_others(known)]
        for role, known in reference.items()
    ]
    rows += [[f"{role.upper()}, ours", *["pending"] * len(SCORES)] for role in reference]
    return [
        f"The data were not at hand, so none of this run's figures stand beside the paper's; its classifier's mean first losing "
        f"distortion is {CLASSIFIERS[name]:.2f}. With `--download`, or with the data set's files in the folder of "
        "`--data`, the same command runs it and writes this section.",
        table(
            ["model, attack", "median hinge ↑", "floor", "slope", "linearity R2", "AUDDC ↑"], rows, "Trade-off curves"
        ),
    ]


def _interval(values: Sequence[float | None]) -> str:
    value, low, high = ("–" if part is None else f"{part:.3f}" for part in values)
    return f"{value} [{low}, {high}]"


def _classifiers(trials: Results) -> str:
    rows = []
    for name, trial in trials.items():
        found = crossings(trial)
        losing = estimate(array(trial["first_losing"]), statistic="mean")
        parts = (found.crossing, found.logit, found.probability, found.width, losing)
        rows.append([name.upper(), str(found.crossed), *map(brief, parts), f"{CLASSIFIERS[name]:.2f}"])
    head = ["data", "images crossed", "crossing", "R2 of a line: logit", "R2: probability",
            "0.1 to 0.9, share of crossing", "first losing distortion", "the paper's"]  # fmt: skip
    return table(head, rows, "The attack on classifiers, distortions in input units")


def _deviations(results: Results) -> Iterator[str]:
    """Every way in which this run differs from the paper's."""
    setting = Setting(**results["setting"])
    less = [
        f"{size.metadata['words']} {ours or 'all'} instead of {papers or 'all'}"
        for size in fields(Setting)
        if "words" in size.metadata and (ours := getattr(setting, size.name)) != (papers := getattr(FULL, size.name))
    ]
    if less:
        yield f"Less than in the paper: {'; '.join(less)}."
    yield from _DEVIATIONS


_DEVIATIONS = (
    "The attack minimises the exact KL unless another divergence is named, and follows the series from both ends with "
    "solutions exchanged among all C; the paper's code started L-BFGS-B anew near the original at every C.",
    "VAE and AE are attacked on the same pairs, so that differences are tested pair by pair; the paper's two models had "
    "pairs of their own. The same posterior noise enters all distances of a pair.",
    "Hinges are fitted (a broken stick, weighted by spacing in X), where the paper reads them from its figures.",
    "The convolutional encoder pads its inputs by one pixel a side, which the paper does not tell, and the spread of its "
    "decoder is a second head. Fashion-MNIST, framed to 32 pixels, and the dense VAE with a Gaussian likelihood of one "
    "learned variance are not in the paper.",
    "The classifiers' learning rate and momentum are the paper's, their number of epochs and the clipping of gradients "
    "are ours. The crossing is the least distortion found by bisection; the first losing distortion is what the paper's "
    "code printed.",
    "Figures are numbered as in notes on the paper, and could not be held against its print.",
)
