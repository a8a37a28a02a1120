"""A leaderboard in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from vaeaudit.report import words
from vaeaudit.report.comparing.leaderboard import Board, Entry, Leaderboard, seen_from
from vaeaudit.report.text import cells


def print_leaderboard(found: Leaderboard, folder: Path, console: Console | None = None) -> None:
    """Print the boards, and what was left out.

    Args:
        found: the boards.
        folder: that the reports were looked for in; they are named from there.
        console: where to; standard output by default.
    """
    console = console or Console()
    cells.show(console, _parts(found, folder))


def _parts(found: Leaderboard, folder: Path) -> Iterator[RenderableType]:
    for board in found.boards:
        yield Text.assemble((words.label(found.score), "bold"), f"  {board}")
        yield Text()
        yield _table(board, found.score, folder)
        yield Text()
    yield Text(
        "A range of ranks is what the figures leave open: differences that are not significant, corrected for all pairs "
        "of models (Holm). Only models that were audited alike share a board.",
        style="dim",
    )
    for path, reason in found.skipped:
        yield Text.assemble(("Left out: ", "bold yellow"), f"{seen_from(folder, path)}: {words.clean(reason)}")


def _table(board: Board, score: str, folder: Path) -> Table:
    table = cells.table()
    table.add_column("Rank", min_width=7, no_wrap=True)
    cells.add_columns(table, ("Model", 20))
    table.add_column(words.label(score), min_width=10, justify="right", no_wrap=True)
    cells.add_columns(table, ("95 % interval", 16), ("Note", 14))
    for entry in board.entries:
        table.add_row(*_row(entry, score, folder))
    return table


def _row(entry: Entry, score: str, folder: Path) -> Iterator[Text]:
    yield Text(entry.rank)
    yield Text.assemble(words.clean(entry.found.report.name), "\n", (seen_from(folder, entry.found.folder), "dim"))
    if entry.estimate is None:
        yield from (Text(words.NOTHING), Text(words.NOTHING))
    else:
        yield from cells.score(entry.found.report, score, entry.estimate, trusted=not entry.reason)
    yield Text(words.clean(entry.note), style="red" if entry.reason else "yellow")
