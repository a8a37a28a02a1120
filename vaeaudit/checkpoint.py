"""Finished measurements, row by row, so that a killed run loses only what was under way and a larger one measures only what is new."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.arrays import read_arrays, write_arrays
from vaeaudit.errors import FallbackWarning, StorageError
from vaeaudit.files import make_folder
from vaeaudit.parallel import spread
from vaeaudit.processes.ranks import Ranks, digest
from vaeaudit.processes.sharing import holdings, packed, unpacked

Arrays = dict[str, NDArray[Any]]
Memory = dict[tuple[str, str], Arrays]
"""Arrays of a row, by the key of its measurement and its own."""
_KEY, _ROWS = "key", "rows"
_TRIES = 3
"""Of a write into a folder that another process, which has finished, may just have removed."""


class Checkpoint:
    """Rows of measurements, in memory and in a folder, keyed by all that determines them.

    A row is what was measured at one pair or one image. Its key says nothing of how many others are
    measured with it, so that a measurement of more of them takes over those that are finished.

    Several processes may share a folder: each file is written whole and named after its rows, and who measures
    the same writes the same. Processes that share an audit measure a share of the rows each, keep what they have
    measured themselves, and hand it on to the others.

    Args:
        folder: where they lie, one file a chunk; None keeps them in memory only.
        key: weights, code, settings and versions; rows of another key are measured anew.
        memory: of an earlier checkpoint of the same process.
        ranks: the processes that share the audit; None is this one alone.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, key: Mapping[str, object], memory: Memory | None = None,
        ranks: Ranks | None = None,
    ) -> None:  # fmt: skip
        self.folder = None if folder is None else Path(folder)
        self.key = key
        self.memory: Memory = {} if memory is None else memory
        self.ranks = Ranks() if ranks is None else ranks
        self._unreadable: set[Path] = set()

    def measured(
        self, name: str, rows: Sequence[str], *measures: Callable[[NDArray[np.int64]], Arrays], size: int,
        settings: Mapping[str, object], progress: Callable[[int, int], None],
    ) -> Arrays:  # fmt: skip
        """Finished rows and new ones, in the order asked for; new ones are kept chunk by chunk.

        Args:
            name: of the measurement.
            rows: a key for each row: what it was measured at.
            *measures: called with the positions of a few rows; an array of what it returns has one entry a
                row, or belongs to the first of the rows alone. Several measure at the same time, each in its own
                thread, and what they return must not depend on which of them is called.
            size: most rows to measure at once.
            settings: what else determines the rows, beside the checkpoint's key.
            progress: called as `progress(finished, total)`.

        Raises:
            StorageError: the folder cannot be written to; said before anything is measured, where that is known.
        """
        key = digest({**self.key, "measurement": name, "of": settings})
        if not all(self._holds(key, rows)):
            self._read_folder(name, key)
        before = holdings(self.ranks, name, digest([key, rows]), self._holds(key, rows), len(measures))
        missing = before.missing
        if len(missing) and self.folder is not None:
            make_folder(self.folder)
        size = min(size, max(1, math.ceil(len(missing) / before.workers)))
        chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
        found = len(rows) - len(missing)
        progress(found, len(rows))
        # closed, threads leave the model
        with contextlib.closing(spread(self.ranks.claimed(chunks), measures)) as parts:
            for chunk, arrays in parts:
                self._keep(name, key, [rows[i] for i in chunk], arrays)
                progress(found + self.ranks.finished(len(chunk)), len(rows))
        if before.uneven:
            self._exchange(key, rows, before.owed(self._holds(key, rows)))
            progress(len(rows), len(rows))
        return _joined([self.memory[key, row] for row in rows])

    def _holds(self, key: str, rows: Sequence[str]) -> list[bool]:
        return [(key, row) in self.memory for row in rows]

    def _exchange(self, key: str, rows: Sequence[str], owed: NDArray[np.int64]) -> None:
        """Hand on the rows that are owed, and remember those of the others; each keeps files of its own alone."""
        for parcel in self.ranks.meet(packed(owed, [self.memory[key, rows[i]] for i in owed])):
            for position, arrays in unpacked(parcel).items():
                self.memory[key, rows[position]] = arrays

    def _keep(self, name: str, key: str, rows: Sequence[str], arrays: Arrays) -> None:
        """Rows are remembered first, so that a disk that is full costs this process nothing."""
        self._remember(key, rows, arrays)
        if self.folder is None:
            return
        kept = {**arrays, _KEY: np.array(key), _ROWS: np.array(rows)}
        path = self.folder / f"{name}-{key[:8]}-{digest(rows)[:8]}.npz"
        try:
            _write(path, kept)
        except StorageError as error:
            raise StorageError(
                f"{error}. What was finished before is safe in {self.folder}: mend that, "
                "and the same call goes on from there; or name another folder"
            ) from error

    def _remember(self, key: str, rows: Sequence[str], arrays: Arrays) -> None:
        for i, row in enumerate(rows):
            self.memory[key, row] = {name: array[i] for name, array in arrays.items() if i < len(array)}

    def _read_folder(self, name: str, key: str) -> None:
        for path in sorted(self.folder.glob(f"{name}-{key[:8]}-*.npz")) if self.folder else ():
            if path not in self._unreadable:
                self._read(path, key)

    def _read(self, path: Path, key: str) -> None:
        """The rows of a file; a damaged one is left aside, and one of another key is not meant."""
        try:
            arrays = read_arrays(path)
            said, rows = arrays.pop(_KEY), _names(arrays.pop(_ROWS), arrays)
        except FileNotFoundError:
            return  # another process has finished and removed it
        except (OSError, ValueError, KeyError) as error:
            self._unreadable.add(path)
            warnings.warn(
                f"{path} cannot be read ({error}): its measurements are made again, those in other files are kept",
                FallbackWarning,
                stacklevel=2,
            )
            return
        if str(said) == key:
            self._remember(key, rows, arrays)


def _write(path: Path, arrays: Arrays) -> None:
    for left in reversed(range(_TRIES)):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_arrays(path, arrays)
        except StorageError as error:
            if not left or not isinstance(error.__cause__, FileNotFoundError):
                raise
        else:
            return


def _names(rows: NDArray[Any], arrays: Arrays) -> list[str]:
    """The keys of a file's rows.

    Raises:
        ValueError: they are not text, or no array has an entry for each.
    """
    lengths = [array.shape[0] if array.ndim else -1 for array in arrays.values()]
    if rows.ndim != 1 or rows.dtype.kind != "U" or min(lengths, default=-1) < 0 or max(lengths) != len(rows):
        raise ValueError("it does not hold rows of measurements")
    return [str(row) for row in rows]


def _joined(rows: Sequence[Arrays]) -> Arrays:
    """Rows stacked; what only the first of them have, of these."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.stack([row[name] for row in rows if name in row]) for name in names}
