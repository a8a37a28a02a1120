"""What the tables of a terminal are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vaeaudit.report import words
from vaeaudit.report.model import AuditReport
from vaeaudit.statistics import Estimate

WIDTH = 80
"""Columns that tables are laid out for."""
MARK = "*"
"""Stands at figures that are not to be relied upon."""


def table() -> Table:
    """An empty table."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def add_columns(table: Table, *columns: tuple[str, int]) -> None:
    """Add columns whose cells are folded: the header of each, and how wide it is at least."""
    for header, width in columns:
        table.add_column(header, min_width=width, overflow="fold")


def value(estimate: Estimate, trusted: bool, prefix: str = "") -> Text:
    """A figure, marked where it is not to be relied upon."""
    text = f"{'' if math.isnan(estimate.value) else prefix}{words.figure(estimate)}"
    return Text(text, style="bold") if trusted else Text(f"{text}{MARK}", style="red")


def score(report: AuditReport, name: str, estimate: Estimate, *, trusted: bool) -> tuple[Text, Text]:
    """A score's figure, marked where it is only a bound, and its interval, for columns of their own."""
    figure = value(estimate, trusted, ">= " if words.is_a_bound(report, name) else "")
    return figure, Text(words.interval(estimate, words.counted(name)), style="dim")


def cell(estimate: Estimate | None, counted: str) -> Text:
    """A figure above its interval; a dash for none."""
    if estimate is None:
        return Text(words.NOTHING)
    return Text.assemble(value(estimate, estimate.trusted), "\n", (words.interval(estimate, counted), "dim"))


def show(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print texts and tables one below the other, nothing in them read as markup.

    In a console narrower than `WIDTH` the cells are folded: as they are laid out, rich would cut off the last columns.
    """
    shown = list(parts)
    if console.width < WIDTH:
        for part in shown:
            if isinstance(part, Table):
                _fold(part)
    console.print(Group(*shown), markup=False, highlight=False, emoji=False)


def _fold(table: Table) -> None:
    for column in table.columns:
        column.width = column.min_width = None
        column.no_wrap, column.overflow = False, "fold"
