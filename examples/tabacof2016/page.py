"""The page of a run: its claims, tables and figures in HTML and in markdown, all computed from the results file."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vaeaudit.files import make_folder, write_atomically

from .claims import SCORES, Claim, between, brief, claims, crossings, measured, told
from .figures import Chart, charts, stills
from .reference import AUTOENCODERS, CLASSIFIERS, TESTS
from .results import Results
from .settings import FULL, Setting

NAME = "tabacof2016"
_ATTACKS = {
    "latent": "latent", "kl_tabacof2016": "latent, the released code's divergence", "output": "output",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text, the first of them the header."""

    caption: str
    rows: list[list[str]]

    @property
    def markdown(self) -> str:
        """As a table of markdown."""
        lines = [self.rows[0], ["---"] * len(self.rows[0]), *self.rows[1:]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of the page; `frames` are the pictures behind its slider."""

    key: str
    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    frames: Results | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is on the page, in the order in which it is read."""

    title: str
    lead: list[str]
    parts: list[Part]


def written(results: Results, frames: Results, folder: Path) -> list[Path]:
    """Write the page, its results and its figures; returns the files.

    Args:
        results: of `results.collected`, or read from its file.
        frames: pictures by duel, of `pictures.frames`.
        folder: for all of them.
    """
    make_folder(folder)
    page, drawn = composed(results, frames)
    markdown = _environment(escaped=False).get_template("page.md.j2").render(page=page, name=NAME).rstrip() + "\n"
    files = {
        f"{NAME}.json": json.dumps(results, separators=(",", ":")) + "\n", f"{NAME}.md": markdown,
        f"{NAME}.html": html(page, frames), **{f"{NAME}.{chart.name}.svg": chart.file for chart in drawn},
    }  # fmt: skip
    for name, text in files.items():
        write_atomically(folder / name, functools.partial(_put, text))
    return [folder / name for name in files]


def _put(text: str, opened: Any) -> None:
    opened.write(text.encode())


def html(page: Page, frames: Results) -> str:
    """The page as one file that needs nothing from outside."""
    inline = json.dumps(frames, separators=(",", ":")).replace("<", "\\u003c")
    css = resources.files("vaeaudit.report").joinpath("templates/report.css").read_text()
    return _environment(escaped=True).get_template("page.html.j2").render(
        page=page, css=Markup(css), frames=Markup(inline), script=Markup((Path(__file__).parent / "slider.js").read_text())
    )  # fmt: skip


def _environment(*, escaped: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=escaped, undefined=jinja2.StrictUndefined
    )


def composed(results: Results, frames: Results) -> tuple[Page, list[Chart]]:
    """The page, and its figures."""
    found, drawn = (
        claims(results),
        [*charts(results), *(stills(name, results["duels"][name], pictured) for name, pictured in frames.items())],
    )
    parts = [Part(key="verdicts", title="What came of the claims", tables=[_verdicts(results, found)])]
    parts += [
        Part(
            key=name, title=duel["title"], text=list(_text(duel)), tables=list(_tables(duel)), claims=found[name],
            charts=[chart for chart in drawn if chart.part == name],
            frames=frames.get(name),
        )
        for name, duel in results["duels"].items()
    ]  # fmt: skip
    if results["classifiers"]:
        parts.append(
            Part(
                key="classifiers", title="Classifiers", tables=[_classifiers(results)], claims=found["classifiers"],
                charts=[chart for chart in drawn if chart.part == "classifiers"],
            )
        )  # fmt: skip
    parts.append(Part(key="deviations", title="What was done otherwise", text=list(deviations(results))))
    return Page(
        title="Adversarial images for variational autoencoders, run again",
        lead=list(_lead(results, found)),
        parts=parts,
    ), drawn


def _lead(results: Results, found: dict[str, list[Claim]]) -> Iterator[str]:
    setting = results["setting"]
    verdicts = [claim.verdict for group in found.values() for claim in group]
    counted = ", ".join(
        f"{verdict}: {verdicts.count(verdict)}" for verdict in ("holds", "does not hold", "not settled")
    )
    yield (
        f"The study of Tabacof, Tavares and Valle (2016) at the {setting['name']} setting. Verdicts on {len(verdicts)} claims: "
        f"{counted}. Figures are medians (AUDDC and reach: means) over pairs with 95 % intervals."
    )
    yield (
        f"Made by `python -m examples.tabacof2016 --setting {setting['name']}` with torch {results['versions']['torch']}; every "
        f"figure and verdict is computed from {NAME}.json. {NAME}.html has the pictures of the attack over the whole series."
    )
    if results["pending"]:
        yield f"Pending, because the data were not at hand: {', '.join(name.upper() for name in results['pending'])}."


def _text(duel: Results) -> Iterator[str]:
    count = len(duel["pairs"])
    taken = "those that the paper's VAE was attacked on" if duel["published_pairs"] else "drawn by the paper's rule"
    yield f"{count} pairs, {taken}, the same for both models."
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


def _interval(values: list[float | None]) -> str:
    value, low, high = ("–" if part is None else f"{part:.3f}" for part in values)
    return f"{value} [{low}, {high}]"


def _tables(duel: Results) -> Iterator[Table]:
    reference = AUTOENCODERS.get(duel["reference"] or "", {})
    head = [
        "model, attack",
        "hinge ↑",
        "floor",
        "slope",
        "linearity R2",
        "AUDDC ↑",
        "reach",
        "excluded",
        "not saturated",
        "converged",
    ]
    rows = [head]
    for role, attacks in duel["attacks"].items():
        for attack, trial in attacks.items():
            rows.append([
                f"{role.upper()}, {_ATTACKS[attack]}", *(brief(measured(trial, score)) for score in SCORES),
                f"{measured(trial, 'reach').value:.2f}", str(sum(trial["excluded"])), str(sum(trial["censored"])), f"{trial['converged']:.0%}",
            ])  # fmt: skip
        if known := reference.get(role):
            rows.append([
                f"{role.upper()}, the paper's curves", f"{known['median hinge']:.3f} (mean {known['hinge']:.3f})",
                *(f"{known[score]:.3f}" for score in SCORES[1:]), "", "", "", "",
            ])  # fmt: skip
    yield Table(caption="Trade-off curves", rows=rows)
    if audits := duel.get("audits"):
        yield Table(caption="The library's own audit, on the same pairs", rows=_audited(audits))
    tests = TESTS.get(duel["reference"] or "", {})
    rows = [
        [
            "VAE − AE, same pairs",
            "mean difference, 95 % bootstrap interval, Wilcoxon's p",
            "the paper's, p of Welch's test",
        ]
    ]
    for score in (*SCORES, "reach"):
        known = {role: figures[score] for role, figures in reference.items() if score in figures}
        beside = (
            f"{known['vae'] - known['ae']:+.3f}" + (f", p = {tests[score]:g}" if score in tests else "")
            if known
            else "–"
        )
        rows.append([score, told(between(duel, score)), beside])
    yield Table(caption="The VAE against the AE under the latent attack", rows=rows)


def _audited(audits: Results) -> list[list[str]]:
    names = [name for name in audits["vae"]["scores"] if name in audits["ae"]["scores"]]
    rows = [[name, *(_interval(audits[role]["scores"][name]) for role in ("vae", "ae"))] for name in names]
    return [["score", "VAE", "AE"], *rows]


def _verdicts(results: Results, found: dict[str, list[Claim]]) -> Table:
    """A row a claim, a column a duel."""
    names = [name for name in found if found[name]]
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        for claim in found[name]:
            rows.setdefault(claim.says, {})[name] = claim.verdict
    titles = [results["duels"][name]["title"] if name in results["duels"] else name for name in names]
    table = [["claim", *titles], *([says, *(cells.get(name, "") for name in names)] for says, cells in rows.items())]
    return Table(caption="Each claim's verdict", rows=table)


def _classifiers(results: Results) -> Table:
    rows = [["data", "images crossed", "crossing", "R2 of a line: logit", "R2: probability", "0.1 to 0.9, share of crossing",
             "first losing distortion", "the paper's"]]  # fmt: skip
    for name, trial in results["classifiers"].items():
        found = crossings(trial)
        rows.append([
            name.upper(), str(found.crossed), brief(found.crossing), brief(found.logit), brief(found.probability),
            brief(found.width), brief(found.first_losing), f"{CLASSIFIERS[name]:.2f}",
        ])  # fmt: skip
    return Table(caption="The attack on classifiers, distortions in input units", rows=rows)


def deviations(results: Results) -> Iterator[str]:
    """Every way in which this run differs from the paper's, as sentences."""
    setting = Setting(**results["setting"])
    differing = {
        "epochs": "epochs of the dense models", "conv_epochs": "epochs of the convolutional models",
        "images": "training images of the dense models", "conv_images": "training images of the convolutional models",
        "hidden": "units of the dense models' hidden layers", "width": "channels of the convolutional models' first layer",
        "pairs": "pairs a model", "every": "taking every so manieth C of the series",
        "aside_every": "taking every so manieth C with the Gaussian and the convolutional models", "output_every": "taking every so manieth C in the output attack",
        "samples": "posterior samples", "classifier_hidden": "units of the classifier's hidden layers",
        "classifier_epochs": "epochs of the classifier", "attacked": "images under the classifier attack",
        "classifier_every": "taking every so manieth C of the classifier's series",
    }  # fmt: skip
    less = [
        f"{words} {'all' if (value := getattr(setting, name)) is None else value} instead of {getattr(FULL, name) or 'all'}"
        for name, words in differing.items()
        if getattr(setting, name) != getattr(FULL, name)
    ]
    if less:
        yield f"Less than in the paper: {'; '.join(less)}."
    yield (
        "The attack minimises the exact KL unless another divergence is named, and follows the series from both ends with "
        "solutions exchanged among all C; the paper's code started L-BFGS-B anew near the original at every C."
    )
    yield (
        "VAE and AE are attacked on the same pairs, so that differences are tested pair by pair; the paper's two models had "
        "pairs of their own. The same posterior noise enters all distances of a pair."
    )
    yield "Hinges are fitted (a broken stick, weighted by spacing in X), where the paper reads them from its figures."
    yield (
        "The convolutional encoder pads its inputs by one pixel a side, which the paper does not tell, and the spread of its "
        "decoder is a second head. Fashion-MNIST, framed to 32 pixels, and the dense VAE with a Gaussian likelihood of one "
        "learned variance are not in the paper."
    )
    yield (
        "The classifiers' learning rate and momentum are the paper's, their number of epochs and the clipping of gradients are ours. The crossing is the "
        "least distortion found by bisection; the first losing distortion is what the paper's code printed."
    )
    yield "Figures are numbered after this project's notes on the paper, and could not be held against its print."
