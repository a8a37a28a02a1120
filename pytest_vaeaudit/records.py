"""What a verdict leaves behind, as builtin types: it travels on test reports, into JUnit and the summary."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_vaeaudit.store import Kept
    from vaeaudit import Verdict

WORST_FIRST = ("FAIL", "INVALID", "INCONCLUSIVE", "PASS")
"""Outcomes, as `vaeaudit.verdict` has them; named here too, since whoever sums up a session need not import the library."""
Record = dict[str, Any]
"""One verdict. Keys: test, kind (bar, regression or measurement), score, outcome, headline, reason, value, low, high, bar,
bar_kind, n, unit, confidence, looks, margin, cached, preset, seed, report (folder or None), health, and for a regression
entry and change."""


def of_verdict(test: str, verdict: Verdict, kept: Kept, folder: Path | None) -> Record:
    """The record of a bar's verdict, whose report lies in a folder; infinite ends of an interval and NaN become None."""
    estimate, provenance = verdict.estimate, kept.report.provenance
    return {
        "test": test, "kind": "bar", "score": verdict.score, "outcome": verdict.outcome, "headline": verdict.headline,
        "reason": verdict.reason, "value": finite(estimate.value), "low": finite(verdict.low), "high": finite(verdict.high),
        "bar": verdict.bar.value, "bar_kind": verdict.bar.kind, "n": estimate.n, "unit": estimate.unit,
        "confidence": verdict.confidence, "looks": verdict.looks, "margin": finite(verdict.margin),
        "cached": kept.cached, "preset": provenance.preset, "seed": provenance.seed, "report": text_of(folder),
        "health": health_of(kept),
    }  # fmt: skip


def of_no_measurement(test: str, reason: str) -> Record:
    """The record of a measurement that the clock ended."""
    return {
        "test": test, "kind": "measurement", "score": "", "outcome": "INCONCLUSIVE", "reason": reason,
        "headline": f"not measured INCONCLUSIVE ({reason})", "margin": None, "cached": False, "report": None, "health": [],
    }  # fmt: skip


def health_of(kept: Kept) -> list[str]:
    """Severity and name of every finding."""
    return [
        f"{finding.severity}{' (suppressed)' if finding.suppressed else ''}: {finding.name}"
        for finding in kept.report.health
    ]


def plain(record: Record) -> Record:
    """A record as nothing but builtin types, so that it travels anywhere.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    copied: Record = json.loads(json.dumps(record, allow_nan=False))
    return copied


def property_of(record: Mapping[str, Any]) -> tuple[str, str]:
    """Name and JSON text of a JUnit property."""
    left_out = ("test", "report", "entry")
    content = {key: value for key, value in record.items() if key not in left_out}
    name = "vaeaudit" if not record["score"] else f"vaeaudit.{record['score']}"
    return name, json.dumps(content, sort_keys=True, allow_nan=False)


def finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return float(value) if math.isfinite(value) else None


def text_of(path: Path | None) -> str | None:
    """A path as it travels."""
    return None if path is None else os.fspath(path)
