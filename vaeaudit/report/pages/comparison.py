"""Several reports side by side as one self-contained page."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vaeaudit.report import words
from vaeaudit.report.comparing.comparison import Change, Comparison
from vaeaudit.report.comparing.differences import SIGNIFICANT
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages import overlays
from vaeaudit.report.pages.figures import Figure, score_figure, typeset
from vaeaudit.report.pages.page import page


@dataclass(frozen=True, kw_only=True)
class Model:
    """One of the reports, by the letter that the page calls it by."""

    letter: str
    name: str
    preset: str
    pairs: int
    data: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A score of one report against the first's."""

    difference: str
    interval: str
    p: str
    outcome: str
    paired: bool
    reason: str

    @property
    def clear(self) -> bool:
        """Whether the difference is significant."""
        return self.outcome in ("better", "worse", "different")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A score in every report, and what sets the others apart from the first."""

    label: str
    direction: str
    figures: tuple[Figure | None, ...]
    contrasts: tuple[Contrast | None, ...]


def render_comparison(reports: Sequence[AuditReport], comparisons: Sequence[Comparison]) -> str:
    """The comparison of every report with the first, as an HTML page that needs nothing from outside.

    Args:
        reports: at least two.
        comparisons: of them, by `compare_all`.
    """
    named = dict(zip(string.ascii_uppercase, reports, strict=False))
    letters = list(named)
    return page(
        "comparison.html.j2",
        title=f"{len(reports)} audits compared",
        models=[_model(letter, report) for letter, report in named.items()],
        summaries=[
            f"{letter} against {letters[0]}: {_summary(one)}"
            for letter, one in zip(letters[1:], comparisons, strict=True)
        ],
        caveats=[
            (letter, [words.clean(caveat) for caveat in one.caveats])
            for letter, one in zip(letters[1:], comparisons, strict=True)
            if one.caveats
        ],
        rows=list(_rows(reports, comparisons)),
        tests=comparisons[0].tests,
        significant=f"{SIGNIFICANT:.2g}",
        charts={"tradeoff": overlays.tradeoff(named), "damage": overlays.damage(named)},
    )


def _model(letter: str, report: AuditReport) -> Model:
    source = report.provenance
    return Model(
        letter=letter, name=words.clean(report.name), preset=words.clean(source.preset), pairs=len(report.curves.originals),
        data=words.clean(source.data)[:12], weights=words.clean(source.weights)[:12],
    )  # fmt: skip


def _summary(comparison: Comparison) -> str:
    """How many scores differ, and which way; those of the pullback spectra are many, and only counted."""
    said = []
    for outcome in ("better", "worse", "different"):
        scores = [change.score for change in comparison.changes if change.outcome == outcome]
        named = [words.in_a_sentence(score) for score in scores if "." not in score]
        pullback = len(scores) - len(named)
        if pullback:
            named.append(words.plural(pullback, "pullback score"))
        if scores:
            said.append(f"{outcome} in {', '.join(named)}")
    compared = sum(not change.reason for change in comparison.changes)
    return (
        f"{'; '.join(said) or 'no significant difference'} ({len(comparison.changes)} scores, {compared} comparable)."
    )


def _rows(reports: Sequence[AuditReport], comparisons: Sequence[Comparison]) -> Iterator[Row]:
    changes = [{change.score: change for change in one.changes} for one in comparisons]
    for score in dict.fromkeys(score for report in reports for score in report.scores()):
        figures = tuple(
            score_figure(report, score, found) if (found := report.scores().get(score)) is not None else None
            for report in reports
        )
        yield Row(
            label=words.label(score),
            direction=next(figure.direction for figure in figures if figure is not None),
            figures=figures,
            contrasts=tuple(_contrast(one[score]) if score in one else None for one in changes),
        )


def _contrast(change: Change) -> Contrast:
    known = math.isfinite(change.low) and math.isfinite(change.high)
    sign = "+" if change.difference > 0 else ""
    return Contrast(
        difference=sign + typeset(words.number(change.difference)),
        interval=typeset(f"{words.number(change.low)} to {words.number(change.high)}") if known else "",
        p="" if change.reason else words.p_value(change.corrected),
        outcome=change.outcome, paired=change.paired, reason=words.clean(change.reason),
    )  # fmt: skip
