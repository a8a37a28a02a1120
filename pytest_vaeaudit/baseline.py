"""The baseline: one committed JSON file of recorded figures, and what a later figure comes to beside them."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_vaeaudit.records import finite

if TYPE_CHECKING:
    from vaeaudit import AuditReport, Estimate

SCHEMA = 1
SCORES = ("hinge", "auddc", "damage")
"""What is held against the baseline where the test does not say: resistance as it was attacked."""
Entry = dict[str, Any]
Change = Literal["new", "worse", "better", "unchanged"]
_FIELDS = (
    "test", "score", "device", "dtype", "value", "low", "high", "n", "higher_is_better", "settings", "seed", "weights",
    "versions", "slack",
)  # fmt: skip
_NOT_COMPARED = ("dtype", "device_type", "threads", "platform")
"""In the key already, without influence, or different on every machine."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Recorded figures.

    Attributes:
        path: the file in the working tree.
        entries: by `key_of`.
        origin: the file or revision they come from, for messages.
    """

    path: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)
    origin: str


def read_baseline(path: Path, revision: str | None = None) -> Baseline:
    """Read the recorded figures from the file, or from a git revision of it.

    Where the revision knows no entry, the working tree's counts: a new test has no earlier bar.

    Raises:
        ReportError: the file is not a baseline, or git cannot read the revision.
    """
    here = _entries(path.read_bytes(), str(path)) if path.exists() else {}
    if revision is None:
        return Baseline(path=path, entries=here, origin=path.name)
    committed = _at_revision(path, revision)
    there = {} if committed is None else _entries(committed, f"{path.name} at {revision}")
    return Baseline(path=path, entries={**here, **there}, origin=f"{path.name} at {revision}")


def _entries(content: bytes, where: str) -> dict[str, Entry]:
    from vaeaudit import ReportError

    try:
        data = json.loads(content)
        schema = data["schema"]
        entries = dict(data["entries"].items()) if schema == SCHEMA else {}
        for entry in entries.values():
            _check_entry(entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{where} is not a vaeaudit baseline ({type(error).__name__}: {error}); "
            "restore it, or delete it and record anew with pytest --vaeaudit-update=new"
        ) from None
    if schema != SCHEMA:
        raise ReportError(f"{where} has schema {schema!r}, this version reads {SCHEMA}")
    return entries


def _check_entry(entry: Entry) -> None:
    """An entry that lacks a bound, or has one that nothing can be compared with, must not let a figure pass.

    Raises:
        ValueError: what is wrong.
        KeyError: a field is missing.
        TypeError: a figure is no number, or the entry no table.
    """
    if missing := [name for name in _FIELDS if name not in entry]:
        raise KeyError(f"an entry without {missing[0]}")
    low, value, high, slack = (entry[name] for name in ("low", "value", "high", "slack"))
    if not (-math.inf < low <= high < math.inf and math.isfinite(value) and 0 <= slack < math.inf):
        raise ValueError(f"figures {value} [{low}, {high}] with a slack of {slack}")
    if not isinstance(entry["higher_is_better"], bool):
        raise ValueError(f"higher_is_better is {entry['higher_is_better']!r}")
    if not all(isinstance(entry[name], dict) for name in ("settings", "versions")):
        raise ValueError("settings or versions that are no table")


def _at_revision(path: Path, revision: str) -> bytes | None:
    """The file's content at a revision; None if it did not exist there."""
    from vaeaudit import ReportError

    folder = next(parent for parent in path.parents if parent.is_dir())
    inside = os.path.relpath(path, folder)

    def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)

    try:
        repository = git("rev-parse", "--git-dir")
    except OSError as error:
        raise ReportError(f"the baseline at {revision} cannot be read: git cannot be run ({error})") from None
    if repository.returncode:
        said = repository.stderr.decode(errors="replace").strip()
        raise ReportError(f"the baseline at {revision} cannot be read from {folder}: {said}")
    known = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if known.returncode:
        raise ReportError(
            f"git knows no revision {revision!r} in {folder}; fetch it first (a shallow clone in CI lacks it)"
        )
    listed = git("ls-tree", "--name-only", known.stdout.decode().strip(), "--", inside)
    if listed.returncode or not listed.stdout.strip():
        return None
    found = git("show", f"{known.stdout.decode().strip()}:./{Path(inside).as_posix()}")
    if found.returncode:
        raise ReportError(f"git cannot show {inside} at {revision}: {found.stderr.decode(errors='replace').strip()}")
    return found.stdout


def key_of(entry: Mapping[str, Any]) -> str:
    """What an entry is found by: test, score, device class and dtype."""
    return " | ".join(str(entry[name]) for name in ("test", "score", "device", "dtype"))


def entry_of(
    test: str, score: str, estimate: Estimate, report: AuditReport, *, slack: float, environment: Mapping[str, str]
) -> Entry:
    """A score of a report as an entry.

    Args:
        test: node id.
        score: full name.
        estimate: the score.
        report: where it stands.
        slack: share of the figure by which a later one may be worse.
        environment: further versions.
    """
    provenance = report.provenance
    versions = {key: value for key, value in provenance.environment.items() if key not in _NOT_COMPARED}
    return {
        "test": test, "score": score, "device": provenance.environment.get("device_type", "unknown"),
        "dtype": provenance.environment.get("dtype", "unknown"), "value": finite(estimate.value), "low": finite(estimate.low),
        "high": finite(estimate.high), "n": estimate.n, "unit": estimate.unit, "higher_is_better": estimate.higher_is_better,
        "seed": provenance.seed, "settings": {"preset": provenance.preset, **provenance.settings},
        "weights": provenance.weights, "versions": {**versions, **environment},
        "slack": round(slack * abs(estimate.value), 12) if math.isfinite(estimate.value) else 0.0,
    }  # fmt: skip


def change_of(old: Entry, new: Entry) -> Change:
    """Whether the new interval lies wholly on one side of the old one, on the worse side beyond the slack."""
    sign = 1.0 if new["higher_is_better"] else -1.0
    old_ends = sorted(sign * old[end] for end in ("low", "high"))
    new_ends = sorted(sign * new[end] for end in ("low", "high"))
    if new_ends[1] < old_ends[0] - old["slack"]:
        return "worse"
    return "better" if new_ends[0] > old_ends[1] else "unchanged"


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Fields in which two settings or environments differ; empty if they agree."""
    new = json.loads(json.dumps(new))
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return ", ".join(f"{key} {old.get(key, 'unset')} -> {new.get(key, 'unset')}" for key in keys)


def updated(entries: Mapping[str, Entry], records: Iterable[Mapping[str, Any]], update: str) -> dict[str, Entry]:
    """Entries after a passing run.

    Args:
        entries: those in the working tree.
        records: of the run; the regressions among them hold an entry and how it changed.
        update: "new", "improved" (and new) or "all".
    """
    accepted = {"none": (), "new": ("new",), "improved": ("new", "better")}.get(
        update, ("new", "better", "worse", "unchanged")
    )
    merged = dict(entries)
    for record in records:
        if record.get("entry") and record["change"] in accepted:
            merged[key_of(record["entry"])] = record["entry"]
    return merged


def write_baseline(path: Path, entries: Mapping[str, Entry]) -> None:
    """Write the file: sorted, one entry a key, old or new but never half."""
    from vaeaudit.files import write_atomically

    data = {"schema": SCHEMA, "entries": dict(entries)}
    text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(text.encode()))
