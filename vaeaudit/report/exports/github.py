"""A report and its verdicts as the Markdown of a GitHub step summary."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vaeaudit.errors import StorageError
from vaeaudit.report import words
from vaeaudit.report.model import AuditReport
from vaeaudit.verdict import WORST_FIRST, Verdict

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file in which GitHub expects the summary of the step under way."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!~&$@])")


def step_summary(report: AuditReport, verdicts: Sequence[Verdict] = ()) -> str:
    """The headline, what bars came to, scores and health findings, in Markdown.

    Args:
        report: the report.
        verdicts: of its bars, from `AuditReport.check`; the worst are told first.
    """
    counts = [f"{n} {outcome}" for outcome in WORST_FIRST if (n := sum(v.outcome == outcome for v in verdicts))]
    title = f"## Robustness of {escaped(report.name)}{': ' if counts else ''}{', '.join(counts)}"
    return "\n".join([title, "", escaped(words.summary(report)), "", *_body(report, verdicts), ""])


def _body(report: AuditReport, verdicts: Sequence[Verdict]) -> Iterator[str]:
    if verdicts:
        yield from ("| verdict | figure |", "|---|---|")
        yield from map(_verdict_row, sorted(verdicts, key=lambda verdict: WORST_FIRST.index(verdict.outcome)))
        yield ""
    yield from ("| score | value | 95 % interval | unit | n | robust if |", "|---|---|---|---|---|---|")
    yield from _score_rows(report)
    yield ""
    yield from _health(report)


def _verdict_row(verdict: Verdict) -> str:
    return f"| **{verdict.outcome}** | {escaped(verdict)} |"


def _score_rows(report: AuditReport) -> Iterator[str]:
    """The scores that are not of a pullback spectrum, and of those the encoder's that have a direction."""
    for name, estimate in report.scores().items():
        if "." in name and not (name.startswith("encoder.") and estimate.higher_is_better is not None):
            continue
        least = ">= " if words.is_a_bound(report, name) else ""
        doubt = "" if words.trusted(report, name) else " (unreliable)"
        told = (
            words.label_at_budget(report, name), f"{least}{words.figure(estimate)}{doubt}",
            words.interval(estimate, words.counted(name)), estimate.unit, words.sample(name, estimate),
            words.direction(estimate),
        )  # fmt: skip
        yield f"| {' | '.join(map(escaped, told))} |"


def _health(report: AuditReport) -> Iterator[str]:
    if not report.health:
        yield "Health: nothing was found that speaks against these figures."
        return
    yield from ("Health findings:", "")
    for finding in words.worst_first(report.health):
        aside = " (suppressed)" if finding.suppressed else ""
        yield f"- **{finding.severity}**{aside} {escaped(finding.name)}: {escaped(finding.message)} {escaped(finding.remedy)}"


def escaped(text: object) -> str:
    """One line of text in which nothing is Markdown or HTML."""
    return _MARKUP.sub(r"\\\1", words.clean(text))


def asked_summary(asked: Path | None) -> Path | None:
    """Where a step summary is to go: where somebody says, else where GitHub says, else nowhere."""
    named = os.environ.get(VARIABLE)
    return asked if asked is not None else Path(named) if named else None


def add_summary(path: Path, text: str) -> None:
    """Add a summary at the end of a file, as GitHub wants it: steps and commands share the file.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(
            f"the step summary could not be written to {path}: {error.strerror or error}; name another file by --summary"
        ) from error
