"""The report as one self-contained page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from vaeaudit.report import certificate_words, plots, words, worst_words
from vaeaudit.report.certificates import Certified
from vaeaudit.report.gallery import Gallery
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.model import SCHEMA, AuditReport
from vaeaudit.report.pictures import picture, value_range
from vaeaudit.report.worst_case import AttackFamily, WorstCase
from vaeaudit.statistics import Estimate

HEADLINE = ("hinge", "auddc", "reach", "reconstruction_error")
SEVERITIES = {"invalid": "Invalid", "warning": "Warning", "info": "For the record"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One estimate, ready to be shown."""

    label: str
    value: str
    interval: str
    sample: str
    unit: str
    direction: str
    trusted: bool
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One column of a gallery row: an input above its reconstruction."""

    title: str
    note: str
    kind: str
    above: Markup
    below: Markup


def render(report: AuditReport) -> str:
    """The report as an HTML page that needs nothing from outside and runs no scripts."""
    page = _template().render(
        title=words.clean(report.name),
        report=report,
        schema=SCHEMA,
        summary=words.summary(report),
        notes=words.curve_notes(report.curves),
        headline=[_figure(report, score, getattr(report, score)) for score in HEADLINE],
        fit=[_figure(report, score, getattr(report, score)) for score in ("linearity", "floor")],
        damage=list(_damage(report)),
        rooms=list(_rooms(report)),
        worst=None if report.worst_case is None else _worst(report.worst_case),
        certified=None if report.certificates is None else _certified(report.certificates),
        geometry=list(_geometry(report)),
        local=[] if report.local is None else list(_local(report.local)),
        local_summary=() if report.local is None else words.local_summary(report.local),
        gallery=[] if report.gallery is None else list(_gallery(report, report.gallery)),
        trusted=all(words.trusted(report, score) for score in report.scores()),
        findings=sorted(report.health, key=lambda finding: list(SEVERITIES).index(finding.severity)),
        severities=SEVERITIES,
        pairs=_pairs(report),
        provenance=_provenance(report),
        meanings=words.MEANINGS,
        curves=int((~report.curves.excluded).sum()),
        drawn=plots.MOST_LINES,
        charts={
            name: chart(report)
            for name, chart in (
                ("tradeoff", plots.tradeoff),
                ("damage", plots.damage),
                ("spectra", plots.spectra),
                ("local", plots.local),
                ("certificates", plots.certificates),
            )
        },
    )
    return words.printable(page)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vaeaudit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _figure(report: AuditReport, score: str, estimate: Estimate, label: str = "") -> Figure:
    name = score.rpartition(".")[2]
    bound = "≥ " if score == "hinge" and words.hinge_is_a_bound(report) else ""
    return Figure(
        label=label or words.label(score),
        value=bound + _typeset(words.figure(estimate)),
        interval=_typeset(words.interval(estimate, words.counted(name))),
        sample=words.sample(name, estimate),
        unit=words.clean(estimate.unit),
        direction={True: "higher is more robust", False: "lower is more robust", None: ""}[estimate.higher_is_better],
        trusted=words.trusted(report, score) if score in report.scores() else estimate.trusted,
        says=words.MEANINGS[name].says if name in words.MEANINGS else "",
    )


def _typeset(text: str) -> str:
    """A true minus sign before numbers, which is as wide as the digits."""
    return text.replace("-", "\N{MINUS SIGN}") if any(map(str.isdigit, text)) else text


def _damage(report: AuditReport) -> Iterator[tuple[str, Figure, Figure]]:
    if report.damage is None:
        return
    rows = zip(report.damage.radii, report.damage.estimates, report.damage.gains, strict=False)
    for radius, displacement, gain in rows:
        yield (
            words.setting(radius),
            _figure(report, "damage", displacement),
            _figure(report, "damage_gain", gain),
        )


def _worst(worst: WorstCase) -> dict[str, Any]:
    """Rows of the tables of the worst case over all attacks."""
    families = worst.families()
    return {
        "summary": worst_words.summary(worst),
        "budgets": [
            (radius, small, [_plain_figure(estimate, words.counted(score)) for score, estimate in figures])
            for radius, small, figures in worst_words.budget_rows(worst)
        ],
        "titles": [
            (title, "lower" if "damage" in score else "higher") for score, title in worst_words.FAMILIES.items()
        ],
        "effects": [
            (label, unit, [_plain_figure(estimate, "images") for estimate in estimates])
            for label, unit, estimates in worst_words.effect_rows(worst.effects)
        ],
        "refused": list(worst_words.refused(worst.effects)),
        "attacks": [
            (title, families[score], _attacks(families[score])) for score, title in worst_words.FAMILIES.items()
        ],
        "radii": [words.setting(radius) for radius in worst.effects.radii],
    }


def _attacks(family: AttackFamily) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (attack, [(words.number(figure), f"{share:.0%}".replace("%", " %")) for figure, share in cells])
        for attack, cells in worst_words.attack_rows(family)
    ]


def _certified(found: Certified) -> dict[str, Any]:
    """Sentences, rows of the table, and Lipschitz constants."""
    known = not math.isnan(found.certified_distortion.value)
    return {
        "summary": certificate_words.summary(found),
        "rows": [
            (
                label,
                unit,
                _plain_figure(bound, "pairs"),
                words.NOTHING if reached is None else words.figure(reached),
                empty,
            )
            for label, unit, bound, reached, empty in certificate_words.rows(found)
            if known and bound is not None
        ],
        "constants": list(certificate_words.constants(found)),
    }


def _rooms(report: AuditReport) -> Iterator[tuple[str, GeometryScores]]:
    for room, title in words.ROOMS.items():
        if (scores := getattr(report, room)) is not None:
            yield title, scores


def _geometry(report: AuditReport) -> Iterator[tuple[str, list[Figure]]]:
    """One row a score: its label and a figure for each spectrum that was computed."""
    present = [room for room in words.ROOMS if getattr(report, room) is not None]
    for score in words.GEOMETRY:
        figures = [_figure(report, f"{room}.{score}", getattr(getattr(report, room), score)) for room in present]
        yield words.MEANINGS[score].label, figures


def _local(local: LocalPrediction) -> Iterator[tuple[str, list[Figure | None]]]:
    """Budgets, each with what the steps attain of the prediction and of the best attacks."""
    places = {float(radius): place for place, radius in enumerate(local.compared)}
    for column, radius in enumerate(local.radii):
        place = places.get(float(radius))
        steps = [part[column] for step in (local.latent, local.reconstruction) for part in (step.attained, step.linear)]
        shares = [None, None] if place is None else [local.untargeted[place], local.targeted[place]]
        yield words.setting(radius), [None if one is None else _plain_figure(one) for one in (*steps, *shares)]


def _plain_figure(estimate: Estimate, counted: str = "images") -> Figure:
    return Figure(
        label="", value=_typeset(words.figure(estimate)), interval=_typeset(words.interval(estimate, counted)),
        sample=str(estimate.n), unit="", direction="", trusted=estimate.trusted,
    )  # fmt: skip


def _gallery(report: AuditReport, gallery: Gallery) -> Iterator[tuple[str, list[Picture]]]:
    limits = value_range(gallery)
    for row, pair in enumerate(gallery.pairs):
        yield _pair_title(report, int(pair)), list(_pictures(report, gallery, row, int(pair), limits))


def _pair_title(report: AuditReport, pair: int) -> str:
    curves = report.curves
    hinge = "excluded" if curves.excluded[pair] else f"hinge {_hinge(report, pair)}"
    return f"Pair {pair}: image {curves.originals[pair]} attacked towards image {curves.targets[pair]}, {hinge}"


def _hinge(report: AuditReport, pair: int) -> str:
    figure = words.number(float(report.curves.hinge[pair]))
    return f"≥ {figure}" if report.curves.censored[pair] and figure != words.NOTHING else figure


def _pictures(
    report: AuditReport, gallery: Gallery, row: int, pair: int, limits: tuple[float, float]
) -> Iterator[Picture]:
    """Original, adversarials by growing distortion, target; each above its reconstruction."""

    def column(title: str, note: str, kind: str, above: Any, below: Any) -> Picture:
        told = f"{title} ({note})" if note else title
        return Picture(
            title=title, note=note, kind=kind,
            above=picture(above, limits, f"{told}, pair {pair}"),
            below=picture(below, limits, f"Reconstruction of: {told}, pair {pair}"),
        )  # fmt: skip

    yield column("Original", "", "end", gallery.originals[row], gallery.original_reconstructions[row])
    order = np.argsort(-report.curves.strengths[gallery.strengths], kind="stable")
    for position in order:
        strength = gallery.strengths[position]
        distortion = words.number(float(report.curves.distortion[pair, strength]))
        title = f"C = {words.setting(report.curves.strengths[strength])}"
        pictures = gallery.adversarials[row, position], gallery.reconstructions[row, position]
        yield column(title, f"X = {distortion}", "attack", *pictures)
    yield column("Target", "", "end", gallery.targets[row], gallery.target_reconstructions[row])


def _pairs(report: AuditReport) -> list[tuple[str, ...]]:
    """Rows of the table of pairs, the easiest to fool first, those without a hinge last."""
    curves = report.curves
    worst_last = np.where(curves.excluded | np.isnan(curves.hinge), math.inf, curves.hinge)
    return [
        (
            str(pair),
            str(curves.originals[pair]),
            str(curves.targets[pair]),
            "excluded" if curves.excluded[pair] else _hinge(report, pair),
            words.NOTHING if curves.excluded[pair] else words.number(float(curves.auddc[pair])),
            words.number(float(curves.reach[pair])),
            f"{curves.converged[pair].mean():.0%}".replace("%", " %") if curves.converged[pair].size else words.NOTHING,
        )
        for pair in np.argsort(worst_last, kind="stable")
    ]


def _provenance(report: AuditReport) -> dict[str, dict[str, str]]:
    source = report.provenance
    return {
        "Run": {"preset": source.preset, "seed": str(source.seed)},
        "Settings": {key: value if isinstance(value, str) else _plain(value) for key, value in source.settings.items()},
        "Environment": dict(source.environment),
        "Seconds": {key: words.number(value) for key, value in source.seconds.items()},
        "SHA-256": {"weights": source.weights, "data": source.data},
    }


def _plain(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
