"""The worst case over all attacks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from vaeaudit.report import words, worst_words
from vaeaudit.report.text import cells
from vaeaudit.report.worst_case import WorstCase


def worst_case(worst: WorstCase) -> Iterator[RenderableType]:
    """Two tables, of the attacks and of what the worst of them did, and what they say."""
    yield _families(worst)
    for sentence in worst_words.summary(worst):
        yield Text(sentence, style="dim")
    yield Text()
    yield _effects(worst)
    for label, reason in worst_words.refused(worst.effects):
        yield Text(f"{label} not measured: {words.clean(reason)}.", style="dim")


def _families(worst: WorstCase) -> Table:
    table = cells.table()
    table.add_column("Worst of all\nattacks at", min_width=13, no_wrap=True)
    for score, title in worst_words.FAMILIES.items():
        way = "low" if "damage" in score else "high"
        table.add_column(f"{title}\n(robust: {way})", min_width=15, overflow="fold")
    for radius, small, figures in worst_words.budget_rows(worst):
        row = (cells.cell(estimate, words.counted(score)) for score, estimate in figures)
        table.add_row(Text(f"L2 {radius}\nL∞ {small}"), *row)
    return table


def _effects(worst: WorstCase) -> Table:
    table = cells.table()
    table.add_column("What the worst\nL2 attack does", min_width=28, no_wrap=True)
    for radius in worst.effects.radii:
        table.add_column(f"L2 {words.setting(radius)}", min_width=15, overflow="fold")
    for label, unit, estimates in worst_words.effect_rows(worst.effects):
        table.add_row(Text(f"{label}\n{unit}".rstrip()), *(cells.cell(estimate, "images") for estimate in estimates))
    return table
