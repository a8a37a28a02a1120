"""A report held against the baseline."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_vaeaudit.baseline import (
    SCORES,
    Baseline,
    Entry,
    change_of,
    differing,
    digits_needed,
    entry_of,
    interval_of,
    is_open,
    key_of,
    worse_end,
)
from pytest_vaeaudit.errors import warn
from pytest_vaeaudit.messages import wrapped
from pytest_vaeaudit.options import on_ci, settled
from pytest_vaeaudit.records import Record, finite, health_of
from pytest_vaeaudit.session import Session
from pytest_vaeaudit.store import Kept

if TYPE_CHECKING:
    from vaeaudit import AuditReport

_WARNED = pytest.StashKey[bool]()


def held_against_baseline(
    item: pytest.Item, session: Session, kept: Kept, scores: Sequence[str], *, slack: float
) -> list[Record]:
    """The record of every score beside the baseline.

    Args:
        item: the test.
        session: with the baseline.
        kept: the measurement.
        scores: to be compared; none are the default ones.
        slack: share of a figure that a new entry records.

    Raises:
        OptionError: an unknown score, or one without direction.
        ReportError: the baseline cannot be read.
    """
    __tracebackhide__ = True
    report, environment = kept.report, session.environment
    entries = [
        entry_of(item.nodeid, score, report.score(score), report, slack=slack, environment=environment)
        for score in _names(scores)
    ]
    records = [_compared(session.baseline, entry, kept, item) for entry in entries]
    if missing := [record for record in records if record["change"] == "new" and record["reason"]]:
        warn(item, f"{', '.join(record['score'] for record in missing)}: {missing[0]['reason']}")
    return records


def faults_of(records: Sequence[Record]) -> list[str]:
    """Lines about the scores that end the test."""
    failed = [record for record in records if record["outcome"] != "PASS"]
    return [line for record in failed for line in (record["headline"], *wrapped(record["reason"], "  "))]


def check_alone(records: Sequence[Record], earlier: Sequence[Record]) -> None:
    """An entry belongs to a test: a second audit in it would be held against, and recorded over, the first one's.

    Raises:
        OptionError: another audit of the test was held against the same entry.
    """
    from vaeaudit import OptionError

    figures = {record["score"]: _numbers(record) for record in earlier if record["kind"] == "regression"}
    for record in records:
        if figures.get(record["score"], _numbers(record)) != _numbers(record):
            raise OptionError(
                f"{record['test']} holds two audits against one baseline entry, {record['score']}; "
                "parametrize the test, so that each audit has an entry of its own"
            )


def _numbers(record: Record) -> tuple[Any, ...]:
    return record["value"], record["low"], record["high"], record["seed"]


def _names(scores: Sequence[str]) -> list[str]:
    from vaeaudit import OptionError
    from vaeaudit.score_names import DIRECTIONS, direction_of, full_name

    names = [full_name(score) for score in scores or SCORES]
    for name in names:
        if direction_of(name) is None:
            directed = ", ".join(score for score, direction in DIRECTIONS.items() if direction is not None)
            raise OptionError(f"{name} has no better or worse, so it cannot regress; choose one of {directed}")
    return names


def _compared(baseline: Baseline, entry: Entry, kept: Kept, item: pytest.Item) -> Record:
    __tracebackhide__ = True
    update = settled(item.config, "update")
    old = baseline.entries.get(key_of(entry))
    if doubt := _doubt(kept.report, entry):
        return _record(entry, kept, old, "INVALID", "unmeasured", doubt)
    if old is None:
        return _missing(baseline, entry, kept, update, item)
    if old["data"] != entry["data"] and update != "all":
        reason = (
            f"the images differ from those of {baseline.origin}, so the figures cannot be compared. "
            "Record with the new ones: pytest --vaeaudit-update=all"
        )
        return _record(entry, kept, old, "INVALID", "unmeasured", reason)
    if (differs := differing(old["settings"], entry["settings"])) and update != "all":
        reason = (
            f"settings differ from those of {baseline.origin}, so the figures cannot be compared: {differs}. "
            "Record with the new settings: pytest --vaeaudit-update=all"
        )
        return _record(entry, kept, old, "INVALID", "unmeasured", reason)
    _warn_of_environment(item, baseline, old, entry)
    if is_open(old, entry) and update != "all":
        reason = (
            f"nothing bounds the figure on its better side, and it lies on the worse side of the interval that "
            f"{baseline.origin} records, so whether it regressed cannot be told: see the health findings, or measure more pairs"
        )
        return _record(entry, kept, old, "INVALID", "unmeasured", reason)
    change = change_of(old, entry)
    if change == "worse" and update != "all":
        return _record(entry, kept, old, "FAIL", change, f"worse than {baseline.origin} records, beyond both intervals")
    return _record(entry, kept, old, "PASS", change, "")


def _doubt(report: AuditReport, entry: Entry) -> str:
    """Why a figure must not be compared; empty if it may."""
    blame = [finding.message for finding in report.health if finding.invalidates(entry["score"])]
    if blame or not report.score(entry["score"]).trusted:
        return "; ".join(blame) or "there is no measurement to compare"
    if entry["value"] is None or not math.isfinite(worse_end(entry)):
        return f"{entry['n']} samples bound the figure on neither side that counts; measure more pairs"
    return ""


def _missing(baseline: Baseline, entry: Entry, kept: Kept, update: str, item: pytest.Item) -> Record:
    __tracebackhide__ = True
    if update != "none":
        return _record(entry, kept, None, "PASS", "new", "")
    create = f"pytest {shlex.quote(item.nodeid)} --vaeaudit-update=new"
    reason = (
        f"{baseline.origin} has no entry for this test, score, device class and dtype. Create it: {create}, and commit"
    )
    if settled(item.config, "baseline_ref") is not None:
        reason += "; it counts once it is at that revision"
    if on_ci():
        return _record(entry, kept, None, "INVALID", "new", reason)
    return _record(entry, kept, None, "PASS", "new", reason)


def _warn_of_environment(item: pytest.Item, baseline: Baseline, old: Entry, new: Entry) -> None:
    """Once a session: the figures were recorded elsewhere."""
    __tracebackhide__ = True
    fields = differing(old["versions"], new["versions"])
    if fields and _WARNED not in item.config.stash:
        item.config.stash[_WARNED] = True
        warn(item, f"{baseline.origin} was recorded in another environment: {fields}")


def _record(entry: Entry, kept: Kept, old: Entry | None, outcome: str, change: str, reason: str) -> Record:
    return {
        "test": entry["test"], "kind": "regression", "score": entry["score"], "outcome": outcome, "change": change,
        "headline": _line(entry, old, outcome), "reason": reason, "value": entry["value"], "low": entry["low"],
        "high": entry["high"], "n": entry["n"], "unit": entry["unit"], "margin": _margin(entry, old), "cached": kept.cached,
        "preset": kept.report.provenance.preset, "seed": entry["seed"],
        "recorded": None if old is None else {end: old[end] for end in ("value", "low", "high", "n", "slack")},
        "entry": entry if outcome == "PASS" else None, "health": health_of(kept),
    }  # fmt: skip


def _line(entry: Entry, old: Entry | None, outcome: str) -> str:
    from vaeaudit.verdict import counted

    name, digits = entry["score"].removeprefix("encoder."), digits_needed(old, entry)
    was = "no baseline" if old is None else f"baseline {_figure(old, digits)}{_slack(old, digits)}"
    return f"{name} {_figure(entry, digits)}, {was} {outcome} ({entry['n']} {counted(entry['score'])})"


def _figure(entry: Entry, digits: int) -> str:
    if entry["value"] is None:
        return "not measured"
    low, high = interval_of(entry)
    return f"{entry['value']:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"


def _slack(entry: Entry, digits: int) -> str:
    return f" with a slack of {entry['slack']:.{digits}g}" if entry["slack"] else ""


def _margin(entry: Entry, old: Entry | None) -> float | None:
    """How far the new interval's better end lies on the safe side of the old one's worse end, relative."""
    if old is None or entry["value"] is None:
        return None
    sign = 1.0 if entry["higher_is_better"] else -1.0
    better_end = max(sign * end for end in interval_of(entry))
    distance = better_end - (sign * worse_end(old) - old["slack"])
    return finite(distance / (abs(old["value"]) or 1.0))
