"""Finished measurements on disk, so that a killed run loses only what was under way."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.files import write_atomically

Arrays = dict[str, NDArray[Any]]


class Checkpoint:
    """A folder of finished measurements, keyed by all that determines them.

    Args:
        folder: where they lie; None keeps nothing.
        key: settings, weights, data and versions; measurements of another key are measured anew.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, key: Mapping[str, object]) -> None:
        self.folder = None if folder is None else Path(folder)
        self.key = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()

    def measured(self, name: str, measure: Callable[[], Arrays]) -> Arrays:
        """A finished measurement, or a new one, which is then kept."""
        if self.folder is None:
            return measure()
        path = self.folder / f"{name}.npz"
        found = self._read(path)
        if found is not None:
            return found
        arrays = measure()
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {**arrays, "key": np.array(self.key)}
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **kept))
        return arrays

    def _read(self, path: Path) -> Arrays | None:
        """A truncated, foreign or outdated file counts as absent."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                if str(file["key"]) != self.key:
                    return None
                return {name: file[name] for name in file.files if name != "key"}
        except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zlib.error, zipfile.BadZipFile):
            return None
