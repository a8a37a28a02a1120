"""A leaderboard as one self-contained page."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vaeaudit.report import words
from vaeaudit.report.comparing.differences import SIGNIFICANT
from vaeaudit.report.comparing.leaderboard import Board, Entry, Leaderboard, seen_from
from vaeaudit.report.pages.figures import Figure, score_figure, sort_key
from vaeaudit.report.pages.page import page

BESIDE = ("hinge", "auddc", "reach", "reconstruction_error", "damage")
"""Scores that are shown beside the one that ranks."""
_NORMALISED = ("hinge", "auddc")
_WIDTH = 100.0


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """Places of a figure and of the ends of its interval on a scale from 0 to 100; NaN where there is none."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """One model, ready to be shown."""

    rank: str
    order: int
    name: str
    folder: str
    link: str
    figure: Figure | None
    key: str
    whisker: Whisker | None
    beside: tuple[Figure | None, ...]
    keys: tuple[str, ...]
    note: str


def render_leaderboard(found: Leaderboard, folder: Path, beside: Path) -> str:
    """A leaderboard as an HTML page that needs nothing from outside.

    Args:
        found: the boards.
        folder: that the reports were looked for in; they are named from there.
        beside: the folder that the page will lie in; links to the reports' own pages start there.
    """
    others = tuple(score for score in BESIDE if score != found.score)
    return page(
        "leaderboard.html.j2",
        title=f"Leaderboard by {words.in_a_sentence(found.score)}",
        score=words.label(found.score),
        others=[words.label(score) for score in others],
        boards=[
            (str(board), list(_lines(board, found.score, others, folder, beside)), board) for board in found.boards
        ],
        normalised=found.score in _NORMALISED,
        skipped=[(seen_from(folder, path), words.clean(reason)) for path, reason in found.skipped],
        significant=f"{SIGNIFICANT:.2g}",
    )


def _lines(board: Board, score: str, others: tuple[str, ...], folder: Path, beside: Path) -> Iterator[Line]:
    scale = _scale(board)
    for order, entry in enumerate(board.entries):
        report, estimate = entry.found.report, entry.estimate
        scores = report.scores()
        yield Line(
            rank=entry.rank, order=order, name=words.clean(report.name),
            folder=seen_from(folder, entry.found.folder), link=_link(entry, beside),
            figure=None if estimate is None else score_figure(report, score, estimate),
            key="" if estimate is None else sort_key(estimate.value),
            whisker=_whisker(entry, scale),
            beside=tuple(score_figure(report, other, scores[other]) if other in scores else None for other in others),
            keys=tuple(sort_key(scores[other].value) if other in scores else "" for other in others),
            note=words.clean(entry.note) or _warnings(entry),
        )  # fmt: skip


def _warnings(entry: Entry) -> str:
    count = sum(finding.severity != "info" for finding in entry.found.report.health)
    return words.plural(count, "health finding") if count else ""


def _link(entry: Entry, beside: Path) -> str:
    """Where the report's own page lies, seen from this one; empty if there is none or no way there."""
    target = entry.found.page
    try:
        return "" if target is None else quote(Path(os.path.relpath(target, beside)).as_posix(), errors="replace")
    except ValueError:  # another drive
        return ""


def _scale(board: Board) -> tuple[float, float]:
    """The least and the most that the board's intervals reach."""
    ends = [
        end
        for entry in board.entries
        if entry.estimate is not None
        for end in (entry.estimate.low, entry.estimate.value, entry.estimate.high)
        if math.isfinite(end)
    ]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _whisker(entry: Entry, scale: tuple[float, float]) -> Whisker | None:
    estimate, (least, most) = entry.estimate, scale
    if estimate is None or not math.isfinite(estimate.value):
        return None
    width = (most - least) or 1.0

    def place(value: float) -> float:
        return _WIDTH * (min(max(value, least), most) - least) / width

    return Whisker(low=place(estimate.low), value=place(estimate.value), high=place(estimate.high))
