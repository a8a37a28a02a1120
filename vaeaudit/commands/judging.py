"""Bars and verdicts: how bars are written, and where what they come to is told."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from rich.console import Console

from vaeaudit.commands.statuses import exit_status
from vaeaudit.report.exports import github
from vaeaudit.report.exports.sarif import place_of, sarif, write_sarif
from vaeaudit.report.model import AuditReport
from vaeaudit.report.text.terminal import verdict_lines
from vaeaudit.statistics import CONFIDENCE
from vaeaudit.verdict import Bar

Kind = Literal["at_least", "at_most"]
_KINDS: tuple[tuple[Kind, str], ...] = (
    ("at_least", "where higher is more robust, such as hinge=0.3"),
    ("at_most", "where lower is, such as condition_number=200"),
)


def add_bars(command: argparse.ArgumentParser) -> None:
    """Add the arguments for bars, each a pair of a score and a `Bar` in `bars`, and for the verdicts' confidence."""
    for kind, help_ in _KINDS:
        command.add_argument(
            f"--{kind.replace('_', '-')}", dest="bars", action="append", type=_bar_of(kind), metavar="SCORE=NUMBER",
            help=help_,
        )  # fmt: skip
    command.add_argument(
        "--confidence", type=float, default=CONFIDENCE, metavar="C",
        help="of each verdict, above 0.5 and below 1 (default: %(default)s)",
    )  # fmt: skip
    command.set_defaults(bars=[])


def _bar_of(kind: Kind) -> Callable[[str], tuple[str, Bar]]:
    def parse(text: str) -> tuple[str, Bar]:
        score, equals, number = text.partition("=")
        try:
            if not equals:
                raise ValueError
            return score.strip(), Bar(kind, float(number))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected SCORE=NUMBER such as hinge=0.3, got {text!r}") from error

    return parse


def add_places(command: argparse.ArgumentParser) -> None:
    """Add the arguments that say where else verdicts are written."""
    command.add_argument(
        "--summary", type=Path, metavar="FILE",
        help=f"add the verdicts to FILE, in Markdown (default: ${github.VARIABLE}, where it is set)",
    )  # fmt: skip
    command.add_argument(
        "--sarif", type=Path, metavar="FILE", help="write the verdicts for code scanning, in SARIF 2.1.0"
    )


def judge(
    report: AuditReport, bars: Mapping[str, Bar], options: argparse.Namespace, source: Path, *, confidence: float
) -> int:
    """Print the verdicts on bars, and write them where else they are asked for.

    Args:
        report: the report.
        bars: by score; without any there are no verdicts, and summaries tell of the report alone.
        options: with what `add_places` added.
        source: the file that code scanning shows them at: the one with the bars, or the report.
        confidence: of each verdict.

    Returns:
        The exit status.

    Raises:
        OptionError: a bar makes no sense.
        StorageError: a summary cannot be written.
    """
    verdicts = report.check(confidence=confidence, looks=1, **bars) if bars else ()
    console = Console()
    for line, verdict in zip(verdict_lines(verdicts), verdicts, strict=True):
        console.print(line, soft_wrap=True)
        if names := report.suppressed(verdict.score):
            console.print(f"             suppressed: {', '.join(names)}", soft_wrap=True, highlight=False)
    if (summary := github.asked_summary(options.summary)) is not None:
        github.add_summary(summary, github.step_summary(report, verdicts))
    if options.sarif is not None:
        write_sarif(options.sarif, sarif(report, verdicts, place_of(source)))
    return exit_status(verdicts)
