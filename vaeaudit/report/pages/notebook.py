"""The report as a notebook shows it: a table that takes the notebook's own colours."""

from __future__ import annotations

from dataclasses import dataclass

from vaeaudit.report import words
from vaeaudit.report.meanings import ROOMS
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.page import environment
from vaeaudit.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class Line:
    """One score as the table shows it."""

    label: str
    value: str
    interval: str
    unit: str
    sample: str
    direction: str
    trusted: bool


def fragment(report: AuditReport) -> str:
    """The report as an HTML fragment for a notebook's cell: no scripts, no links, nothing from outside."""
    lines = {name: _line(report, name, estimate) for name, estimate in report.scores().items()}
    content = (
        environment()
        .get_template("notebook.html.j2")
        .render(
            name=words.clean(report.name),
            preset=words.clean(report.provenance.preset),
            summary=words.summary(report),
            notes=words.curve_notes(report.curves),
            headline=[line for name, line in lines.items() if not _is_local(name)],
            geometry=[line for name, line in lines.items() if _is_local(name)],
            findings=[
                (finding, *(words.clean(text) for text in (finding.name, finding.message, finding.remedy)))
                for finding in words.worst_first(report.health)
            ],
        )
    )
    return words.printable(content)


def _is_local(score: str) -> bool:
    return score.partition(".")[0] in ROOMS


def _line(report: AuditReport, name: str, estimate: Estimate) -> Line:
    bound = "≥ " if words.is_a_bound(report, name) else ""
    return Line(
        label=words.label_at_budget(report, name), value=bound + words.figure(estimate),
        interval=words.interval(estimate, words.counted(name)), unit=words.clean(estimate.unit),
        sample=words.sample(name, estimate), direction=words.direction(estimate), trusted=words.trusted(report, name),
    )  # fmt: skip
