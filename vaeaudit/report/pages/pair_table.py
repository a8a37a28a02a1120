"""The table of all pairs on a page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vaeaudit.report import words
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.figures import sort_key, typeset
from vaeaudit.report.pages.viewers import easiest_first, hinge_text

COLUMNS = (
    "Pair", "Original", "Target", "L2(x − t)", "Hinge", "AUDDC", "Floor", "Linearity", "Reach", "Error", "Converged",
)  # fmt: skip
LABELS = ("Label", "Target label")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Text, and the number it is sorted by where the text does not say it; NaN sorts last."""

    text: str
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class PairTable:
    """Rows of the table, the easiest pair to fool first.

    Attributes:
        columns: their titles.
        rows: cells of each pair; the first is its number.
        sorted_by: title of the column that the rows are sorted by.
        pictured: numbers of the pairs that have pictures.
    """

    columns: tuple[str, ...]
    rows: list[list[Cell]]
    sorted_by: str
    pictured: frozenset[str]


def pair_table(report: AuditReport) -> PairTable:
    """The table of a report's pairs."""
    labelled = report.curves.labels is not None
    columns = (*COLUMNS[:3], *LABELS, *COLUMNS[3:]) if labelled else COLUMNS
    kept = [place for place, name in enumerate(columns) if name != COLUMNS[3] or report.curves.spans is not None]
    rows = [list(_cells(report, int(pair))) for pair in easiest_first(report)]
    pictured = () if report.gallery is None else report.gallery.pairs
    return PairTable(
        columns=tuple(columns[place] for place in kept), rows=[[row[place] for place in kept] for row in rows],
        sorted_by="Hinge", pictured=frozenset(str(pair) for pair in pictured),
    )  # fmt: skip


def _cells(report: AuditReport, pair: int) -> Iterator[Cell]:
    curves, excluded = report.curves, bool(report.curves.excluded[pair])
    yield Cell(text=str(pair))
    yield Cell(text=str(curves.originals[pair]))
    yield Cell(text=str(curves.targets[pair]))
    if curves.labels is not None:
        yield from (Cell(text=str(label)) for label in curves.labels[pair])
    yield _number(math.nan if curves.spans is None else curves.spans[pair])
    yield Cell(text=hinge_text(report, pair), key=sort_key(math.nan if excluded else curves.hinge[pair]))
    for values in (curves.auddc, curves.floor, curves.linearity):
        yield _number(math.nan if excluded else values[pair])
    yield _number(curves.reach[pair])
    yield _number(curves.reconstruction_error[pair])
    share = float(np.mean(curves.converged[pair]))
    yield Cell(text=words.percent(share), key=sort_key(share))


def _number(value: float) -> Cell:
    return Cell(text=typeset(words.number(float(value))), key=sort_key(value))
