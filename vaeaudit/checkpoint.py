"""Finished measurements, row by row, so that a killed run loses only what was under way and a larger one measures only what is new."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.files import write_atomically
from vaeaudit.parallel import spread

Arrays = dict[str, NDArray[Any]]
Memory = dict[tuple[str, str], Arrays]
"""Arrays of a row, by the key of its measurement and its own."""
_KEY, _ROWS = "key", "rows"


class Checkpoint:
    """Rows of measurements, in memory and in a folder, keyed by all that determines them.

    A row is what was measured at one pair or one image. Its key says nothing of how many others are
    measured with it, so that a measurement of more of them takes over those that are finished.

    Args:
        folder: where they lie, one file a chunk; None keeps them in memory only.
        key: weights, code, settings and versions; rows of another key are measured anew.
        memory: of an earlier checkpoint of the same process.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, key: Mapping[str, object], memory: Memory | None = None
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.key = key
        self.memory: Memory = {} if memory is None else memory

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
        """
        key = hashlib.sha256(_text({**self.key, "measurement": name, "of": settings}).encode()).hexdigest()
        if any((key, row) not in self.memory for row in rows):
            self._read_folder(name, key)
        missing = [i for i, row in enumerate(rows) if (key, row) not in self.memory]
        size = min(size, max(1, math.ceil(len(missing) / len(measures))))
        chunks = [np.array(missing[start : start + size]) for start in range(0, len(missing), size)]
        finished = len(rows) - len(missing)
        progress(finished, len(rows))
        with contextlib.closing(spread(chunks, measures)) as parts:  # closed, threads no longer touch the model
            for chunk, arrays in parts:
                self._keep(name, key, [rows[i] for i in chunk], arrays)
                finished += len(chunk)
                progress(finished, len(rows))
        return _joined([self.memory[key, row] for row in rows])

    def _keep(self, name: str, key: str, rows: list[str], arrays: Arrays) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = {**arrays, _KEY: np.array(key), _ROWS: np.array(rows)}
            path = self.folder / f"{name}-{key[:8]}-{hashlib.sha256(_text(rows).encode()).hexdigest()[:8]}.npz"
            write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **kept))
        self._remember(key, rows, arrays)

    def _remember(self, key: str, rows: Sequence[str], arrays: Arrays) -> None:
        for i, row in enumerate(rows):
            self.memory[key, row] = {name: array[i] for name, array in arrays.items() if i < len(array)}

    def _read_folder(self, name: str, key: str) -> None:
        for path in sorted(self.folder.glob(f"{name}-{key[:8]}-*.npz")) if self.folder else ():
            self._read(path, key)

    def _read(self, path: Path, key: str) -> None:
        """A truncated, foreign or outdated file counts as absent."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                if str(file[_KEY]) == key:
                    arrays = {name: file[name] for name in file.files if name not in (_KEY, _ROWS)}
                    self._remember(key, file[_ROWS].tolist(), arrays)
        except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zlib.error, zipfile.BadZipFile):
            return


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _joined(rows: Sequence[Arrays]) -> Arrays:
    """Rows stacked; what only the first of them have, of these."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.stack([row[name] for row in rows if name in row]) for name in names}
