"""Where an audit's time went, as a table in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from vaeaudit.report import words
from vaeaudit.report.model import AuditReport
from vaeaudit.report.provenance import Work
from vaeaudit.report.text import cells

_NOTE = (
    "In the model: the share of a measurement's time that the model itself computed, forward and backward; the rest is "
    "vaeaudit's. Gradients: rows differentiated, those that fill up a micro-batch included."
)
_SEVERAL = "The model's times on several devices add up."


def print_profile(report: AuditReport, console: Console | None = None) -> None:
    """Print the seconds of each measurement, and what of them the model took.

    Args:
        report: of the audit.
        console: where to; standard output by default.
    """
    console = console or Console()
    source = report.provenance
    total = sum(source.seconds.values())
    table = cells.table()
    table.add_column("Time", min_width=18, overflow="fold")
    for header in ("Seconds", "Share", "In the model", "Gradients", "a second"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, seconds in source.seconds.items():
        work = source.work.get(name)
        table.add_row(words.clean(name), f"{seconds:.2f}", _percent(seconds, total), *_work(work, seconds))
    table.add_section()
    gradients = sum(work.gradients for work in source.work.values())
    table.add_row("all", f"{total:.2f}", _percent(total, total), "", f"{gradients:,}", "")
    note = f"{_NOTE} {_SEVERAL}" if "devices" in source.environment else _NOTE
    cells.show(console, (Text(), table, Text(note, style="dim")))


def _work(work: Work | None, seconds: float) -> tuple[str, str, str]:
    """Nothing where no gradients were counted: then only a part of the model's time was."""
    if work is None or not work.gradients or not seconds:
        return (words.NOTHING,) * 3
    return _percent(work.model_seconds, seconds), f"{work.gradients:,}", f"{work.gradients / seconds:,.0f}"


def _percent(part: float, whole: float) -> str:
    return words.percent(part / whole) if whole else words.NOTHING
