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
    "data", "versions", "slack",
)  # fmt: skip
_FEWEST_DIGITS, _ALL_DIGITS = 3, 17
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

    At a revision nothing of the working tree counts: a change that renames a test, or moves the file, has
    no bar there, and must not bring its own.

    Raises:
        ReportError: the file is not a baseline, or git cannot read the revision.
    """
    if revision is None:
        here = _entries(path.read_bytes(), str(path)) if path.exists() else {}
        return Baseline(path=path, entries=here, origin=path.name)
    committed = _at_revision(path, revision)
    there = {} if committed is None else _entries(committed, f"{path.name} at {revision}")
    return Baseline(path=path, entries=there, origin=f"{path.name} at {revision}")


def _entries(content: bytes, where: str) -> dict[str, Entry]:
    from vaeaudit import ReportError

    try:
        data = json.loads(content, object_pairs_hook=_without_duplicates)
        schema = data["schema"]
        entries = dict(data["entries"].items()) if schema == SCHEMA else {}
        for key, entry in entries.items():
            _check_entry(entry)
            if key != key_of(entry):
                raise ValueError(f"the entry {key!r} holds that of {key_of(entry)!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{where} is not a vaeaudit baseline ({type(error).__name__}: {error}); "
            "restore it, or delete it and record anew with pytest --vaeaudit-update=new"
        ) from None
    if schema != SCHEMA:
        raise ReportError(f"{where} has schema {schema!r}, this version reads {SCHEMA}")
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two equal keys, as a merge may leave them, none counts.

    Raises:
        ValueError: there are two.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found


def _check_entry(entry: Entry) -> None:
    """An entry that lacks a bound, or has one that nothing can be compared with, must not let a figure pass.

    Raises:
        ValueError: what is wrong.
        KeyError: a field is missing.
        TypeError: a figure is no number, or the entry no table.
    """
    if missing := [name for name in _FIELDS if name not in entry]:
        raise KeyError(f"an entry without {missing[0]}")
    value, slack, (low, high) = entry["value"], entry["slack"], interval_of(entry)
    if not (low <= high and math.isfinite(value) and math.isfinite(worse_end(entry)) and 0 <= slack < math.inf):
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
    from vaeaudit.score_names import direction_of

    provenance = report.provenance
    versions = {key: value for key, value in provenance.environment.items() if key not in _NOT_COMPARED}
    return {
        "test": test, "score": score, "device": provenance.environment.get("device_type", "unknown"),
        "dtype": provenance.environment.get("dtype", "unknown"), "value": finite(estimate.value), "low": finite(estimate.low),
        "high": finite(estimate.high), "n": estimate.n, "unit": estimate.unit, "higher_is_better": direction_of(score),
        "seed": provenance.seed, "settings": {"preset": provenance.preset, **provenance.settings},
        "weights": provenance.weights, "data": provenance.source, "versions": {**versions, **environment},
        "slack": round(slack * abs(estimate.value), 12) if math.isfinite(estimate.value) else 0.0,
    }  # fmt: skip


def interval_of(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Both ends of an entry's interval; an open one is infinite."""
    low, high = entry["low"], entry["high"]
    return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))


def worse_end(entry: Mapping[str, Any]) -> float:
    """The end of an entry's interval towards less robust: what a later figure is held against."""
    return interval_of(entry)[0 if entry["higher_is_better"] else 1]


def change_of(old: Entry, new: Entry) -> Change:
    """Whether the new interval lies wholly on one side of the old one, on the worse side beyond the slack."""
    sign = 1.0 if new["higher_is_better"] else -1.0
    old_ends = sorted(sign * end for end in interval_of(old))
    new_ends = sorted(sign * end for end in interval_of(new))
    if new_ends[1] < old_ends[0] - old["slack"]:
        return "worse"
    return "better" if new_ends[0] > old_ends[1] else "unchanged"


def is_open(old: Entry, new: Entry) -> bool:
    """Whether the new interval has no end that could ever lie on the worse side, and its figure lies there.

    So it is with a hinge of which many curves do not saturate: nothing bounds it above, and its figure is what it
    comes to at least. Were it let pass, no model could fail the comparison. Its worse end is not asked: of a model
    that is no worse it lies beyond the recorded one every other time, or by a last digit on another machine.
    """
    sign = 1.0 if new["higher_is_better"] else -1.0
    unbounded = max(sign * end for end in interval_of(new)) == math.inf
    return unbounded and sign * new["value"] < sign * worse_end(old) - old["slack"]


def digits_needed(old: Entry | None, new: Entry) -> int:
    """Significant digits, three or more, with which two rounded entries still come to what they come to."""
    if old is None or new["value"] is None:
        return _FEWEST_DIGITS
    change = change_of(old, new)
    enough = (n for n in range(_FEWEST_DIGITS, _ALL_DIGITS) if change_of(_rounded(old, n), _rounded(new, n)) == change)
    return next(enough, _ALL_DIGITS)


def _rounded(entry: Entry, digits: int) -> Entry:
    told = {name: entry[name] for name in ("low", "high", "slack")}
    return {**entry, **{name: None if end is None else float(f"{end:.{digits}g}") for name, end in told.items()}}


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
