"""What a failing test says: the figure first, then what explains it, the way to see it last."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_vaeaudit.records import WORST_FIRST

if TYPE_CHECKING:
    from pytest_vaeaudit.store import Kept
    from pytest_vaeaudit.trial import Decision
    from vaeaudit import AuditReport, Verdict

WIDTH = 72
"""Columns of a message: pytest puts a margin of eight before a line of a test's own."""
EASIEST = 3


def explain(decision: Decision, page: Path | None) -> str:
    """The whole message of bars that were not all passed.

    Args:
        decision: what the bars came to.
        page: the HTML report; None if there is none.
    """
    verdicts = sorted(decision.verdicts, key=lambda verdict: WORST_FIRST.index(verdict.outcome))
    lines = [line for verdict in verdicts for line in _verdict(verdict, decision.kept.report)]
    if decision.outcome == "INCONCLUSIVE":
        lines += wrapped(_inconclusive(decision))
    return "\n".join([*lines, *background(decision.kept, verdicts[0].score, page)])


def background(kept: Kept, score: str, page: Path | None) -> Iterator[str]:
    """Easiest pairs, health, whether it was cached, and where to look."""
    yield from easiest(kept.report, score)
    yield from _health(kept.report)
    provenance = kept.report.provenance
    measured = "measured earlier (cached)" if kept.cached else "measured now"
    yield f"{kept.report.name}: {measured}, preset {provenance.preset}, seed {provenance.seed}"
    yield from _where(kept, page)


def easiest(report: AuditReport, score: str) -> Iterator[str]:
    """The pairs or images that were easiest to fool, by the score that decided."""
    import numpy as np

    from vaeaudit.score_names import direction_of

    sample = report.sample(score)
    values, originals = np.asarray(sample.values), sample.originals
    if not len(originals) or not np.isfinite(values).any():
        return
    ascending = np.argsort(values if direction_of(score) is not False else -values, kind="stable")
    order = [int(i) for i in ascending if np.isfinite(values[i])][:EASIEST]
    name = score.removeprefix("encoder.")
    yield f"Easiest {'pairs' if sample.targets is not None else 'images'}:"
    for i in order:
        towards = "" if sample.targets is None else f" towards {sample.targets[i]}"
        yield f"  image {originals[i]}{towards}: {name} {values[i]:.3g}"


def wrapped(text: str, indent: str = "") -> list[str]:
    """Text in lines that fit."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) or [""]


def shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    relative = str(relative_to(path, Path.cwd()))
    return relative if len(relative) < len(str(path)) else str(path)


def relative_to(path: Path, folder: Path) -> Path:
    """A path from a folder; the path itself where there is no way, as between two drives."""
    try:
        return Path(os.path.relpath(path, folder))
    except ValueError:
        return path


def _verdict(verdict: Verdict, report: AuditReport) -> Iterator[str]:
    yield verdict.headline
    blamed = [finding.name for finding in report.health if finding.invalidates(verdict.score)]
    if blamed:
        yield f"  not to be trusted: {', '.join(blamed)} (see health)"
    elif verdict.reason:
        yield from wrapped(verdict.reason, "  ")
    if aside := report.suppressed(verdict.score):
        yield f"  suppressed: {', '.join(aside)} (see health)"


def _inconclusive(decision: Decision) -> str:
    counts = ", then ".join(str(count) for count in decision.looks)
    stopped = f"; {decision.stopped}" if decision.stopped else ""
    return f"Neither passed nor failed: judged at {counts} pairs{stopped}."


def _health(report: AuditReport) -> Iterator[str]:
    from vaeaudit.report.words import worst_first

    if not report.health:
        yield "Health: nothing was found that speaks against these figures."
    for finding in worst_first(report.health):
        yield from wrapped(
            f"Health, {finding.severity}{' (suppressed)' if finding.suppressed else ''}: {finding.name}: {finding.message} {finding.remedy}"
        )


def _where(kept: Kept, page: Path | None) -> Sequence[str]:
    folder = page.parent if page is not None else kept.folder
    if folder is None:
        return ["See it: pytest --vaeaudit-report=DIR keeps the pictures"]
    lines = [f"See it: vaeaudit show {shown(folder)}"]
    return lines if page is None else [*lines, f"        {shown(page)}"]
