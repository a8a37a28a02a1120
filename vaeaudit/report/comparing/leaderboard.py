"""Reports of many models ranked by a score: those that are comparable among themselves, and no further than the figures go."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.report import codec, words
from vaeaudit.report.comparing.comparison import measured_with, tested_difference
from vaeaudit.report.comparing.differences import SIGNIFICANT, corrected, p_value
from vaeaudit.report.model import HTML_NAME, JSON_NAME, AuditReport
from vaeaudit.score_names import direction_of, full_name
from vaeaudit.statistics import Estimate

OF_THE_MODEL = ("scale", "suppress", "precision")
"""Settings that say how a model's answers are read or what is told of them, not how it is measured."""
OF_THE_TARGETED_ATTACK = ("divergence", "penalty", "strengths_given")
"""Settings that do not bear on untargeted attacks and pullback spectra."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A report, and the folder it lies in."""

    folder: Path
    report: AuditReport

    @property
    def page(self) -> Path | None:
        """Its page, if there is one beside it."""
        path = self.folder / HTML_NAME
        return path if path.exists() else None


def seen_from(folder: Path, path: Path) -> str:
    """Where a report or a file lies from a folder, in one printable line."""
    return words.clean(os.path.relpath(path, folder))


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A model on a board.

    Attributes:
        found: its report.
        estimate: of the score; None where the report has none.
        first, last: the best and the worst rank that it may have, equal where no difference is left open; 0 where
            it is not ranked.
        reason: why it is not ranked.
        aside: suppressed health checks without which it would not be ranked.
    """

    found: Found
    estimate: Estimate | None
    first: int = 0
    last: int = 0
    reason: str = ""
    aside: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What must be known beside the rank; empty if nothing is."""
        return self.reason or (f"suppressed: {', '.join(self.aside)}" if self.aside else "")

    @property
    def rank(self) -> str:
        """The rank, or from where to where it may lie."""
        if not self.first:
            return words.NOTHING
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Models that were measured alike.

    Attributes:
        preset: of their audits.
        pairs: how many.
        data: SHA-256 of the images.
        apart: what else sets its audits apart from those of other boards; empty if nothing does.
        entries: the best first, those that are not ranked last.
        tests: differences that the p-values were corrected for.
    """

    preset: str
    pairs: int
    data: str
    apart: str
    entries: tuple[Entry, ...]
    tests: int

    def __str__(self) -> str:
        told = f"Preset {words.clean(self.preset)}, {self.pairs} pairs, data {words.clean(self.data)[:12]}"
        return f"{told}, {words.clean(self.apart)}" if self.apart else told


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaderboard:
    """What `leaderboard` found: boards, the largest first, and files that could not be read, with the reason."""

    score: str
    boards: tuple[Board, ...]
    skipped: tuple[tuple[Path, str], ...] = ()


def read_reports(folder: str | os.PathLike[str]) -> tuple[list[Found], list[tuple[Path, str]]]:
    """Every report.json in a folder and the folders below it, without pictures; and those that cannot be read.

    Raises:
        ReportError: there is no such folder, or no report in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ReportError(f"leaderboard expects a folder of reports, got {root}, which is none")
    found, skipped = [], []
    for path in sorted(root.rglob(JSON_NAME)):
        try:
            report = AuditReport.from_dict(codec.read_json(path))
        except ReportError as error:
            skipped.append((path, str(error)))
        else:
            found.append(Found(folder=path.parent, report=report))
    if not found:
        read = f"; {len(skipped)} could not be read, such as {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise ReportError(f"no report ({JSON_NAME}) in {root} or the folders below it{read}")
    return found, skipped


def leaderboard(found: Sequence[Found], skipped: Sequence[tuple[Path, str]] = (), *, by: str = "hinge") -> Leaderboard:
    """Rank models by a score, among those that were measured on the same data with the same settings.

    A model's ranks run from one below those that are clearly better to one above those that are clearly worse. A
    difference is clear if its p-value, corrected for all pairs of models on the board by Holm's procedure, is at most
    0.05; so models that differ no more than their intervals allow share their ranks.

    Args:
        found: the reports.
        by: the score; a bare geometry score is the encoder's.
        skipped: files that could not be read.

    Raises:
        OptionError: there is no such score, or it has no direction.
    """
    score = full_name(by)
    if direction_of(score) is None:
        raise OptionError(
            f"{by!r} cannot rank models: neither more nor less of it is more robust; choose another score"
        )
    largest_first = sorted(_groups(found, score), key=lambda group: -len(group))
    circumstances = [
        {
            "pairs": _pairs_in_short(group[0].report),
            **_circumstances(group[0].report, score),
            "score in": measured_with(score, group[0].report) or "none",
        }
        for group in largest_first
    ]
    differing = [
        key for key in dict.fromkeys(key for one in circumstances for key in one)
        if len({one.get(key, "unset") for one in circumstances}) > 1
    ]  # fmt: skip
    boards = tuple(
        _board(group, score, ", ".join(f"{key} {one.get(key, 'unset')}" for key in differing))
        for group, one in zip(largest_first, circumstances, strict=True)
    )
    return Leaderboard(score=score, boards=boards, skipped=tuple(skipped))


def _groups(found: Sequence[Found], score: str) -> list[list[Found]]:
    """Reports that were measured alike; one without a figure says not with what, and joins the first that fits."""
    groups: dict[tuple[str, str], list[Found]] = {}
    empty = [one for one in found if _without_figure(one.report, score)]
    for one in found:
        if one not in empty:
            groups.setdefault((_measured_as(one.report, score), measured_with(score, one.report) or ""), []).append(one)
    for one in empty:
        alike = _measured_as(one.report, score)
        groups.setdefault(next((key for key in groups if key[0] == alike), (alike, "")), []).append(one)
    return list(groups.values())


def _without_figure(report: AuditReport, score: str) -> bool:
    estimate = report.scores().get(score)
    return estimate is None or math.isnan(estimate.value)


def _circumstances(report: AuditReport, score: str) -> dict[str, str]:
    """What may set the audits of one board apart from another's, beside preset, data and pairs, in words."""
    source = report.provenance
    untargeted = "." in score or score.startswith(("damage", "worst_damage"))
    idle = (*OF_THE_MODEL, "pairs", *(OF_THE_TARGETED_ATTACK if untargeted else ()))
    settings = {key: str(value) for key, value in source.settings.items() if key not in idle}
    return {**settings, "vaeaudit": source.environment.get("vaeaudit", "unknown")}


def _measured_as(report: AuditReport, score: str) -> str:
    """All that must be equal for the figures of two reports to be comparable."""
    source = report.provenance
    return json.dumps([source.data, source.preset, _pairs(report), _circumstances(report, score)], sort_keys=True)


def _pairs(report: AuditReport) -> list[list[int]]:
    return [report.curves.originals.tolist(), report.curves.targets.tolist()]


def _pairs_in_short(report: AuditReport) -> str:
    """Which pairs: the same words for the same pairs drawn by the same seed."""
    digest = hashlib.sha256(json.dumps(_pairs(report)).encode()).hexdigest()
    return f"{digest[:8]} (seed {report.provenance.seed})"


def _board(group: list[Found], score: str, apart: str) -> Board:
    reasons = [_unfit(one.report, score) for one in group]
    ranked = [one for one, reason in zip(group, reasons, strict=True) if not reason]
    better = _clearly_better(ranked, score)
    sign = -1 if direction_of(score) else 1
    ranked_entries = [
        Entry(
            found=one, estimate=one.report.scores()[score], first=1 + sum(row[place] for row in better),
            last=len(ranked) - sum(better[place]), aside=one.report.suppressed(score),
        )
        for place, one in enumerate(ranked)
    ]  # fmt: skip
    entries = sorted(ranked_entries, key=lambda entry: (entry.first, entry.last, sign * _value(entry)))
    entries += [
        Entry(found=one, estimate=one.report.scores().get(score), reason=reason)
        for one, reason in zip(group, reasons, strict=True)
        if reason
    ]
    source, curves = group[0].report.provenance, group[0].report.curves
    return Board(
        preset=source.preset, pairs=len(curves.originals), data=source.data,
        apart=apart, entries=tuple(entries),
        tests=len(ranked) * (len(ranked) - 1) // 2,
    )  # fmt: skip


def _value(entry: Entry) -> float:
    return math.nan if entry.estimate is None else entry.estimate.value


def _unfit(report: AuditReport, score: str) -> str:
    """Why a report has no rank; empty if it has one."""
    if _without_figure(report, score):
        return "it has no figure"
    if words.trusted(report, score):
        return ""
    blame = [finding.name for finding in report.health if finding.invalidates(score)]
    return f"INVALID: {', '.join(blame)}" if blame else "INVALID: the figure is not to be relied upon"


def _clearly_better(ranked: list[Found], score: str) -> list[list[bool]]:
    """Whether each model (row) is clearly better than each other (column)."""
    pairs = list(combinations(range(len(ranked)), 2))
    tested = [tested_difference(score, ranked[i].report, ranked[j].report) for i, j in pairs]
    p_values = corrected([p_value(difference, low, high, n) for difference, low, high, n, _ in tested])
    table = [[False] * len(ranked) for _ in ranked]
    for (i, j), (difference, *_), p in zip(pairs, tested, p_values, strict=True):
        if p <= SIGNIFICANT:
            j_wins = (difference > 0) == direction_of(score)
            table[j if j_wins else i][i if j_wins else j] = True
    return table
