"""A console that is narrower than the tables' layout shows all that they hold."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from vaeaudit.report.comparing.comparison import compare
from vaeaudit.report.comparing.leaderboard import Found, leaderboard
from vaeaudit.report.model import AuditReport
from vaeaudit.report.text import cells
from vaeaudit.report.text.leaderboard import print_leaderboard
from vaeaudit.report.text.profile import print_profile
from vaeaudit.report.text.terminal import print_comparison, print_report

from ..conftest import INVALID, MakeReport

Printer = Callable[[AuditReport, Console], None]
PRINTERS: dict[str, Printer] = {
    "report": print_report,
    "comparison": lambda report, console: print_comparison(compare(report, report), console),
    "leaderboard": lambda report, console: print_leaderboard(
        leaderboard([Found(folder=Path("models"), report=report)]), Path(), console
    ),
    "profile": print_profile,
}


def _printed(printer: Printer, report: AuditReport, width: int) -> str:
    file = io.StringIO()
    printer(report, Console(file=file, width=width))
    return file.getvalue()


def _letters(text: str) -> Counter[str]:
    """Which characters and how many, but for spaces and the rules of tables."""
    return Counter(text) - Counter(character for character in text if character.isspace() or character == "─")


@pytest.mark.parametrize("width", [60, 40])
@pytest.mark.parametrize("printer", PRINTERS.values(), ids=PRINTERS.keys())
def test_a_narrow_console_folds_cells_and_cuts_nothing_off(
    make_report: MakeReport, printer: Printer, width: int
) -> None:
    report = make_report(health=(INVALID,), gallery=False)
    narrow = _printed(printer, report, width)
    assert max(map(len, narrow.splitlines())) <= width
    assert _letters(narrow) == _letters(_printed(printer, report, cells.WIDTH))
