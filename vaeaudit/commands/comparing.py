"""The commands that read several saved reports: `compare` and `leaderboard`, in the terminal and as pages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from vaeaudit.commands.statuses import PASS
from vaeaudit.files import make_folder, write_atomically
from vaeaudit.report.comparing.comparison import compare_all
from vaeaudit.report.comparing.leaderboard import leaderboard, read_reports
from vaeaudit.report.model import AuditReport, load
from vaeaudit.report.text.leaderboard import print_leaderboard
from vaeaudit.report.text.terminal import print_comparison, print_page


def compare(options: argparse.Namespace) -> int:
    """Compare every report with the first."""
    reports = _told_apart([load(path) for path in options.reports], options.reports)
    comparisons = compare_all(reports)
    for place, comparison in enumerate(comparisons):
        if place:
            Console().print()
        print_comparison(comparison)
    if options.html is not None:
        from vaeaudit.report.pages.comparison import render_comparison

        _write_page(options.html, render_comparison(reports, comparisons))
    return PASS


def _told_apart(reports: Sequence[AuditReport], paths: Sequence[Path]) -> list[AuditReport]:
    """Reports by their names, and where two of one name were asked for, by where they lie too."""
    names = [report.name for report in reports]
    return [
        replace(report, name=f"{report.name}, {path}") if names.count(report.name) > 1 else report
        for report, path in zip(reports, paths, strict=True)
    ]


def rank(options: argparse.Namespace) -> int:
    """Rank the models of a folder of reports."""
    board = leaderboard(*read_reports(options.folder), by=options.by)
    print_leaderboard(board, options.folder)
    if options.html is not None:
        from vaeaudit.report.pages.leaderboard import render_leaderboard

        _write_page(options.html, render_leaderboard(board, options.folder, options.html.parent))
    return PASS


def _write_page(path: Path, page: str) -> None:
    """Write a page, and name it on a line of its own that can be copied."""
    make_folder(path.parent)
    write_atomically(path, lambda file: file.write(page.encode(errors="replace")))
    print_page(path, heading="As a page:")
