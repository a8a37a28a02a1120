"""The session's verdicts in words: a terminal section and a page for a CI step summary."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_vaeaudit.messages import relative_to
from pytest_vaeaudit.records import WORST_FIRST

if TYPE_CHECKING:
    from pytest_vaeaudit.records import Record

SHOWN = 10
"""Passed bars shown without -v."""


def worst_first(records: Iterable[Record]) -> list[Record]:
    """By outcome, then by margin."""

    def badness(record: Record) -> tuple[int, float]:
        margin = record["margin"]
        if margin is None:  # nothing to compare with: last of what passed, first of what did not
            margin = math.inf if record["outcome"] == "PASS" else -math.inf
        return WORST_FIRST.index(record["outcome"]), margin

    return sorted(records, key=badness)


def terminal_lines(records: Sequence[Record], *, verbose: bool) -> Iterator[tuple[str, str]]:
    """Lines of the section, each with the outcome that colours it; empty for plain ones.

    Args:
        records: worst first.
        verbose: show every passed bar.
    """
    left = len(records) if verbose else SHOWN
    hidden = 0
    for record in records:
        if record["outcome"] == "PASS":
            left -= 1
            if left < 0:
                hidden += 1
                continue
        yield record["headline"], record["outcome"]
        yield f"  {', '.join([record['test'], *_remarks(record)])}", ""
    if hidden:
        yield f"{hidden} more passed by wider margins (-v shows them)", ""


def _remarks(record: Record) -> Iterator[str]:
    if record["margin"] is not None:
        yield f"margin {record['margin']:+.0%}"
    if record.get("change") in ("better", "worse", "new"):
        yield {"better": "improved", "worse": "regressed", "new": "not in the baseline"}[record["change"]]
    if record["cached"]:
        yield "cached"


def markdown(records: Sequence[Record], folder: Path) -> str:
    """One page for a CI step summary.

    Args:
        records: worst first.
        folder: where the reports lie; pages are named from there (a step summary cannot link into an artifact).
    """
    counts = [
        f"{n} {outcome}" for outcome in WORST_FIRST if (n := sum(record["outcome"] == outcome for record in records))
    ]
    rows = [
        "| verdict | figure | margin | test | report |",
        "|---|---|---|---|---|",
        *(_row(record, folder) for record in records),
    ]
    health = sorted({f"{_cell(line)} ({_code(record['test'])})" for record in records for line in record["health"]})
    findings = ["", "Health findings:", "", *(f"- {line}" for line in health)] if health else []
    return "\n".join([f"## Robustness: {', '.join(counts)}", "", *rows, *findings, ""])


def _row(record: Record, folder: Path) -> str:
    margin = "" if record["margin"] is None else f"{record['margin']:+.0%}"
    headline = _cell(record["headline"] + (f": {record['reason']}" if record["reason"] else ""))
    page = ""
    if record["report"] is not None and (Path(record["report"]) / "report.html").exists():
        page = f"`{relative_to(Path(record['report']), folder).as_posix()}/report.html`"
    cached = " (cached)" if record["cached"] else ""
    return f"| **{record['outcome']}** | {headline}{cached} | {margin} | {_code(record['test'])} | {page} |"


def _code(text: str) -> str:
    """A code span, in which nothing is markup; its fence is longer than any run of backticks within."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}".replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
