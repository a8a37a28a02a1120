"""What the page says of a run; all but its pictures is computed from the results file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from examples.papers.claims import counted, listed
from examples.papers.page import Block, Page, Section, bullets, table

from .claims import VERDICTS, Claim, claims
from .comparing import SCORES, between, brief, measured, told
from .crossings import crossings
from .figures import charts, of_classifier
from .reference import AUTOENCODERS, CLASSIFIERS, TESTS
from .results import Results
from .settings import DUELS, FULL, Duel, Setting

_ATTACKS = {
    "latent": "latent", "kl_tabacof2016": "latent, the released code's divergence", "output": "output",
}  # fmt: skip
_LESS = {
    "epochs": "epochs of the dense models", "conv_epochs": "epochs of the convolutional models",
    "images": "training images of the dense models", "conv_images": "training images of the convolutional models",
    "hidden": "units of the dense models' hidden layers", "width": "channels of the convolutional models' first layer",
    "pairs": "pairs a model", "every": "taking every so manieth C of the series",
    "aside_every": "taking every so manieth C with the Gaussian and the convolutional models",
    "output_every": "taking every so manieth C in the output attack", "samples": "posterior samples",
    "classifier_hidden": "units of the classifier's hidden layers", "classifier_epochs": "epochs of the classifier",
    "attacked": "images under the classifier attack", "classifier_every": "taking every so manieth C of the classifier's series",
}  # fmt: skip


def page(results: Results, pictures: Mapping[str, Sequence[Block]]) -> Page:
    """The whole page.

    Args:
        results: of `results.collected`, or read from its file.
        pictures: by duel, what `pictures` makes of it.
    """
    found = claims(results)
    sections = [
        Section(title="What came of the claims", blocks=[_verdicts(results, found)]),
        *(
            Section(title=duel["title"], blocks=[*_duel(name, duel, found[name]), *pictures.get(name, ())])
            for name, duel in results["duels"].items()
        ),
    ]
    if trials := results["classifiers"]:
        drawn = [of_classifier(name, trial) for name, trial in trials.items()]
        sections.append(
            Section(title="Classifiers", blocks=[_classifiers(trials), listed(found["classifiers"]), *drawn])
        )
    sections += [_pending(duel) for duel in DUELS if duel.name in results["pending"] and duel.reference]
    sections += [
        Section(title="What was done otherwise", blocks=[bullets(list(_deviations(results)))]),
        Section(
            title="Source",
            blocks=[
                "P. Tabacof, J. Tavares, E. Valle: Adversarial images for variational autoencoders. arXiv:1612.00155, 2016. "
                "Reference figures are computed from the curves that the authors released with their code."
            ],
        ),
    ]
    return Page(title="Tabacof, Tavares and Valle 2016, run again", lead=list(_lead(results, found)), sections=sections)


def _pending(duel: Duel) -> Section:
    """What is known of a duel whose data were not at hand, and how to run it."""
    assert duel.reference is not None
    rows = [
        [f"{role.upper()}, the paper's curves", *(f"{known[score]:.3f}" for score in ("median hinge", *SCORES[1:]))]
        for role, known in AUTOENCODERS[duel.reference].items()
    ]
    rows += [[f"{role.upper()}, ours", *["pending"] * len(SCORES)] for role in AUTOENCODERS[duel.reference]]
    return Section(
        title=f"{duel.title}: pending",
        blocks=[
            f"The data were not at hand, so none of this run's figures stand beside the paper's; its classifier's mean first losing "
            f"distortion is {CLASSIFIERS[duel.reference]:.2f}. With `--download`, or with the data set's files in the folder of "
            "`--data`, the same command runs it and writes this section.",
            table(["model, attack", "median hinge ↑", "floor", "slope", "linearity R2", "AUDDC ↑"], rows, "Trade-off curves"),
        ],
    )  # fmt: skip


def _lead(results: Results, found: dict[str, list[Claim]]) -> Iterator[str]:
    setting, versions = results["setting"]["name"], results["versions"]
    every = [claim for group in found.values() for claim in group]
    yield (
        f"Adversarial images for variational autoencoders, at the {setting} setting. Verdicts on {len(every)} claims: "
        f"{counted(every, VERDICTS)}. Figures are medians (AUDDC and reach: means) over pairs with 95 % intervals."
    )
    yield (
        f"Made by `python -m examples.tabacof2016 --setting {setting}` with "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ". `tabacof2016.json` holds every figure, `tabacof2016.html` the attack's pictures over the whole series of C."
    )
    if results["pending"]:
        titles = {duel.name: duel.title for duel in DUELS}
        yield f"**Pending**, because the data were not at hand: {'; '.join(titles[name] for name in results['pending'])}."


def _duel(name: str, duel: Results, found: list[Claim]) -> Iterator[Block]:
    yield from _text(duel)
    yield from _tables(duel)
    yield listed(found)
    yield from charts(name, duel)


def _text(duel: Results) -> Iterator[str]:
    taken = "those that the paper's VAE was attacked on" if duel["published_pairs"] else "drawn by the paper's rule"
    yield f"{len(duel['pairs'])} pairs, {taken}, the same for both models."
    reach = between(duel, "reach")
    if reach.sign:
        vae, ae = (measured(duel["attacks"][role]["latent"], "reach").value for role in ("vae", "ae"))
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


def _tables(duel: Results) -> Iterator[str]:
    reference = AUTOENCODERS.get(duel["reference"] or "", {})
    yield _curves(duel, reference)
    if audits := duel.get("audits"):
        names = [name for name in audits["vae"]["scores"] if name in audits["ae"]["scores"]]
        rows = [[name, *(_interval(audits[role]["scores"][name]) for role in ("vae", "ae"))] for name in names]
        yield table(["score", "VAE", "AE"], rows, "The library's own audit, on the same pairs")
    tests = TESTS.get(duel["reference"] or "", {})
    rows = []
    for score in (*SCORES, "reach"):
        known = {role: figures[score] for role, figures in reference.items() if score in figures}
        theirs = f"{known['vae'] - known['ae']:+.3f}" if known else "–"
        p = f", p = {tests[score]:g}" if score in tests else ""
        rows.append([score, told(between(duel, score)), theirs + p])
    yield table(
        ["VAE − AE", "mean difference over the pairs, 95 % interval, Wilcoxon's p", "the paper's, p of Welch's test"],
        rows, "The VAE against the AE under the latent attack",
    )  # fmt: skip


def _curves(duel: Results, reference: dict[str, dict[str, float]]) -> str:
    rows = []
    for role, attacks in duel["attacks"].items():
        for attack, trial in attacks.items():
            rows.append([
                f"{role.upper()}, {_ATTACKS[attack]}", *(brief(measured(trial, score)) for score in (*SCORES, "reach")),
                str(sum(trial["excluded"])), str(sum(trial["censored"])), f"{trial['converged']:.0%}",
            ])  # fmt: skip
        if known := reference.get(role):
            rows.append([
                f"{role.upper()}, the paper's curves", f"{known['median hinge']:.3f} (mean {known['hinge']:.3f})",
                *(f"{known[score]:.3f}" for score in SCORES[1:]), *["–"] * 4,
            ])  # fmt: skip
    head = ["model, attack", "hinge ↑", "floor", "slope", "linearity R2", "AUDDC ↑", "reach", "pairs excluded",
            "not saturated", "converged"]  # fmt: skip
    return table(head, rows, "Trade-off curves")


def _interval(values: list[float | None]) -> str:
    value, low, high = ("–" if part is None else f"{part:.3f}" for part in values)
    return f"{value} [{low}, {high}]"


def _verdicts(results: Results, found: dict[str, list[Claim]]) -> str:
    """A row a claim, a column a duel; those on classifiers, which name their data, in a column of their own."""
    names = [name for name in found if found[name]]
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        for claim in found[name]:
            rows.setdefault(claim.says, {})[name] = f"**{claim.verdict}**"
    titles = [results["duels"][name]["title"] if name in results["duels"] else name for name in names]
    cells = [[says, *(given.get(name, "–") for name in names)] for says, given in rows.items()]
    return table(["claim", *titles], cells, "Each claim's verdict; figures and sources follow")


def _classifiers(trials: Results) -> str:
    rows = []
    for name, trial in trials.items():
        found = crossings(trial)
        rows.append([
            name.upper(), str(found.crossed), brief(found.crossing), brief(found.logit), brief(found.probability),
            brief(found.width), brief(found.first_losing), f"{CLASSIFIERS[name]:.2f}",
        ])  # fmt: skip
    head = ["data", "images crossed", "crossing", "R2 of a line: logit", "R2: probability",
            "0.1 to 0.9, share of crossing", "first losing distortion", "the paper's"]  # fmt: skip
    return table(head, rows, "The attack on classifiers, distortions in input units")


def _deviations(results: Results) -> Iterator[str]:
    """Every way in which this run differs from the paper's."""
    setting = Setting(**results["setting"])
    less = [
        f"{words} {'all' if (value := getattr(setting, name)) is None else value} instead of {getattr(FULL, name) or 'all'}"
        for name, words in _LESS.items()
        if getattr(setting, name) != getattr(FULL, name)
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
