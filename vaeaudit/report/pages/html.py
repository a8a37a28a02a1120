"""The report as one self-contained page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from vaeaudit.report import certificate_words, local_words, movement_words, words, worst_words
from vaeaudit.report.certificates import Certified
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.meanings import GEOMETRY, MEANINGS, ROOMS
from vaeaudit.report.model import SCHEMA, AuditReport
from vaeaudit.report.pages import plots, viewers
from vaeaudit.report.pages.figures import Figure, plain_figure, score_figure
from vaeaudit.report.pages.page import page
from vaeaudit.report.pages.pair_table import pair_table
from vaeaudit.report.worst_case import AttackFamily, WorstCase

HEADLINE = ("hinge", "auddc", "reach", "reconstruction_error")
SEVERITIES = {"invalid": "Invalid", "warning": "Warning", "info": "For the record"}


def render(report: AuditReport) -> str:
    """The report as an HTML page that needs nothing from outside, and says all without its script."""
    return page(
        "report.html.j2",
        title=words.clean(report.name),
        report=report,
        schema=SCHEMA,
        summary=words.summary(report),
        notes=words.curve_notes(report.curves),
        headline=[score_figure(report, score, getattr(report, score)) for score in HEADLINE],
        fit=[score_figure(report, score, getattr(report, score)) for score in ("linearity", "floor")],
        extensions=[
            (score_figure(report, one.name, one.estimate), words.clean(one.plugin)) for one in report.extensions
        ],
        damage=list(_damage(report)),
        movement=() if report.damage is None else movement_words.summary(report.damage),
        channels=list(_channels(report)),
        rooms=list(_rooms(report)),
        worst=None if report.worst_case is None else _worst(report.worst_case),
        certified=None if report.certificates is None else _certified(report.certificates),
        geometry=list(_geometry(report)),
        local=[] if report.local is None else list(_local(report.local)),
        local_summary=() if report.local is None else local_words.summary(report.local),
        viewers=[] if report.gallery is None else viewers.of_pairs(report, report.gallery),
        pushed=[] if report.gallery is None else viewers.of_images(report, report.gallery),
        open=viewers.OPEN,
        trusted=all(words.trusted(report, score) for score in report.scores()),
        findings=words.worst_first(report.health),
        severities=SEVERITIES,
        pairs=pair_table(report),
        provenance=_provenance(report),
        meanings=MEANINGS,
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


def _damage(report: AuditReport) -> Iterator[tuple[str, Figure, Figure, Figure | None]]:
    if report.damage is None:
        return
    latent = report.damage.latent
    for place, radius in enumerate(report.damage.radii):
        yield (
            words.setting(radius),
            score_figure(report, "damage", report.damage.estimates[place]),
            score_figure(report, "damage_gain", report.damage.gains[place]),
            None if latent is None else score_figure(report, "damage_latent", latent.estimates[place]),
        )


def _channels(report: AuditReport) -> Iterator[tuple[str, str, str, str, bool]]:
    """Rows of the table of latent channels; none for one channel alone, which the damage's table tells."""
    latent = None if report.damage is None else report.damage.latent
    if latent is not None and len(latent.deviations) > 1:
        yield from movement_words.channel_rows(latent)


def _worst(worst: WorstCase) -> dict[str, Any]:
    """Rows of the tables of the worst case over all attacks."""
    families = worst.families()
    return {
        "summary": worst_words.summary(worst),
        "budgets": [
            (radius, small, [plain_figure(estimate, words.counted(score)) for score, estimate in figures])
            for radius, small, figures in worst_words.budget_rows(worst)
        ],
        "titles": [
            (title, "lower" if "damage" in score else "higher") for score, title in worst_words.FAMILIES.items()
        ],
        "effects": [
            (label, unit, [plain_figure(estimate, "images") for estimate in estimates])
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
        (attack, [(words.number(figure), words.percent(share)) for figure, share in cells])
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
                plain_figure(bound, "pairs"),
                words.NOTHING if reached is None else words.figure(reached),
                empty,
            )
            for label, unit, bound, reached, empty in certificate_words.rows(found)
            if known and bound is not None
        ],
        "constants": list(certificate_words.constants(found)),
    }


def _rooms(report: AuditReport) -> Iterator[tuple[str, GeometryScores]]:
    for room, title in ROOMS.items():
        if (scores := getattr(report, room)) is not None:
            yield title, scores


def _geometry(report: AuditReport) -> Iterator[tuple[str, list[Figure]]]:
    """One row a score: its label and a figure for each spectrum that was computed."""
    present = [room for room in ROOMS if getattr(report, room) is not None]
    for score in GEOMETRY:
        figures = [score_figure(report, f"{room}.{score}", getattr(getattr(report, room), score)) for room in present]
        yield MEANINGS[score].label, figures


def _local(local: LocalPrediction) -> Iterator[tuple[str, list[Figure | None]]]:
    """Budgets, each with what the steps attain of the prediction and of the best attacks."""
    places = {float(radius): place for place, radius in enumerate(local.compared)}
    for column, radius in enumerate(local.radii):
        place = places.get(float(radius))
        steps = [part[column] for step in (local.latent, local.reconstruction) for part in (step.attained, step.linear)]
        shares = [None, None] if place is None else [local.untargeted[place], local.targeted[place]]
        yield words.setting(radius), [None if one is None else plain_figure(one) for one in (*steps, *shares)]


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
