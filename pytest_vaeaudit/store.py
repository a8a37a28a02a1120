"""Measurements that are kept: in memory for this session, in pytest's cache for later ones and other workers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_vaeaudit.errors import OutOfTimeError, warn_not_kept

if TYPE_CHECKING:
    from vaeaudit import AuditReport

ROWS = "rows"
KEPT = 100
"""Models whose measurements stay in the cache; of more, the longest unused go."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A report, and where it came from.

    Attributes:
        report: the measurement.
        cached: whether it was measured earlier, for another test or in another session.
        folder: where it lies; None without a cache.
    """

    report: AuditReport
    cached: bool
    folder: Path | None


class Store:
    """Reports by all that determines them: never verdicts, so a changed bar measures nothing anew.

    Args:
        folder: of the cache; None keeps reports in memory only.
        refresh: measure once anew what the folder holds.
    """

    def __init__(self, folder: Path | None, *, refresh: bool = False) -> None:
        self.folder = folder
        self.refresh = refresh
        self._memory: dict[tuple[str, int], Kept] = {}
        self._run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex

    def measured(
        self, identity: Mapping[str, Any], pairs: int, measure: Callable[[Path | None], AuditReport], deadline: float
    ) -> Kept:
        """The report of that identity and number of pairs: kept, or measured now.

        Args:
            identity: all that determines it, as builtin types.
            pairs: number of pairs.
            measure: called with a folder for unfinished measurements.
            deadline: on the monotonic clock, until when another worker that measures the same is waited for.

        Raises:
            OutOfTimeError: another worker was still measuring it at the deadline.
        """
        key = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:20]
        if found := self._memory.get((key, pairs)):
            return found
        kept = self._on_disk(key, identity, pairs, measure, deadline) if self.folder else self._new(measure, None, None)
        self._memory[key, pairs] = Kept(report=kept.report, cached=True, folder=kept.folder)
        return kept

    def _on_disk(
        self,
        key: str,
        identity: Mapping[str, Any],
        pairs: int,
        measure: Callable[[Path | None], AuditReport],
        deadline: float,
    ) -> Kept:
        assert self.folder is not None
        home = self.folder / key
        with self._alone(key, deadline):
            with contextlib.suppress(OSError):  # a cache that cannot be written may still be read
                self._enter(home)
            place = home / f"{pairs}-pairs"
            if (found := _read(place)) and _is_of(found, identity, pairs):
                return Kept(report=found, cached=True, folder=place)
            return self._new(measure, home / ROWS, place)

    def _enter(self, home: Path) -> None:
        """Make a model's folder, or mark it as in use; empty it once a run, whichever worker comes first, to refresh."""
        if self.refresh and not (home / self._run).exists():
            shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, exist_ok=True)
        if self.refresh:
            (home / self._run).touch()
        os.utime(home)

    def _new(self, measure: Callable[[Path | None], AuditReport], rows: Path | None, place: Path | None) -> Kept:
        """Measure; a cache that cannot be written, or is full, costs no verdict and nothing that was measured."""
        from vaeaudit.errors import StorageError

        try:
            report = measure(rows)
        except StorageError as error:
            warn_not_kept(error)
            return Kept(report=measure(None), cached=False, folder=None)
        if place is not None:
            try:
                report.save(place, page=False)
            except OSError as error:
                warn_not_kept(error)
                place = None
        return Kept(report=report, cached=False, folder=place)

    @contextlib.contextmanager
    def _alone(self, key: str, deadline: float) -> Iterator[None]:
        """Only one process measures one thing; the others wait and read."""
        import filelock

        assert self.folder is not None
        lock = filelock.FileLock(self.folder / f"{key}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=-1.0 if deadline == float("inf") else max(deadline - time.monotonic(), 0.0))
        except filelock.Timeout as error:
            raise OutOfTimeError from error
        except (OSError, NotImplementedError) as error:  # no permission, or a file system without locks
            warn_not_kept(error)
        try:
            yield
        finally:
            lock.release()

    def prune(self) -> None:
        """Let go of what was not used for longest."""
        if self.folder is None or not self.folder.is_dir():
            return
        import filelock

        with contextlib.suppress(OSError):  # another session may be pruning too
            homes = [path for path in self.folder.iterdir() if path.is_dir()]
            for home in sorted(homes, key=lambda path: path.stat().st_mtime)[:-KEPT]:
                lock = filelock.FileLock(self.folder / f"{home.name}.lock", timeout=0)
                # what another session measures right now is not unused
                with contextlib.suppress(filelock.Timeout, NotImplementedError), lock:
                    shutil.rmtree(home, ignore_errors=True)


def _read(place: Path) -> AuditReport | None:
    """A kept report; one that is missing, cut short or of another version counts as absent."""
    if not place.is_dir():
        return None
    from vaeaudit import ReportError, load
    from vaeaudit.report.migration import is_brought_up

    try:
        report = load(place)
    except ReportError:
        return None
    return None if is_brought_up(report.health) else report


def _is_of(report: AuditReport, identity: Mapping[str, Any], pairs: int) -> bool:
    """Whether a kept report says of itself that it is what is looked for; a folder may have been moved by hand."""
    provenance = report.provenance
    said = {"weights": provenance.weights, "seed": provenance.seed, "preset": provenance.preset}
    return len(report.curves.originals) == pairs and all(identity.get(key, said[key]) == said[key] for key in said)
