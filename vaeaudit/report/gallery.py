"""The pictures of a report, which are kept in a file of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import ReportError
from vaeaudit.files import read_arrays, write_arrays

Integers = NDArray[np.int64]
_OWNER = "report"
"""Name of the array that says which report.json the pictures belong to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Pictures of a few pairs at a few strengths (paper A, figure 2).

    Attributes:
        pairs: which pairs, indices into `Curves.originals`, `(shown,)`.
        strengths: which strengths, indices into `Curves.strengths`, `(columns,)`.
        bounds: lower and upper end of the input space.
        originals, targets, original_reconstructions, target_reconstructions: `(shown, *event)`.
        adversarials, reconstructions: `(shown, columns, *event)`.
    """

    pairs: Integers
    strengths: Integers
    bounds: tuple[float, ...]
    originals: NDArray[np.float32]
    targets: NDArray[np.float32]
    original_reconstructions: NDArray[np.float32]
    target_reconstructions: NDArray[np.float32]
    adversarials: NDArray[np.float32]
    reconstructions: NDArray[np.float32]


def save_gallery(gallery: Gallery | None, path: Path, owner: str) -> None:
    """Write the pictures atomically, with the digest of the report they belong to."""
    fields = (
        {} if gallery is None else {f.name: np.asarray(getattr(gallery, f.name)) for f in dataclasses.fields(gallery)}
    )
    write_arrays(path, {_OWNER: np.array(owner), **fields}, compressed=True)


def load_gallery(path: Path, owner: str) -> Gallery | None:
    """The pictures of the report of that digest; None if there are none or they are another's.

    Raises:
        ReportError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        arrays = read_arrays(path)
        if str(arrays.pop(_OWNER, "")) != owner or not arrays:
            return None
        return _gallery(arrays)
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(f"{path} cannot be read: {error}; delete it to load the report without pictures") from error


def _gallery(arrays: dict[str, NDArray[Any]]) -> Gallery:
    """The pictures, if they are numbers and as many as they should be.

    Raises:
        ValueError: they are not.
        KeyError: some are missing.
    """
    fields: dict[str, Any] = {f.name: arrays[f.name] for f in dataclasses.fields(Gallery)}
    shown, columns, event = (fields[name].shape for name in ("pairs", "strengths", "originals"))
    expected = {"pairs": shown[:1], "strengths": columns[:1], "bounds": (2,)}
    for name, array in fields.items():
        wide = (*shown[:1], *columns[:1]) if name in ("adversarials", "reconstructions") else shown[:1]
        wanted = expected.get(name, (*wide, *event[1:]))
        kinds = "iu" if name in ("pairs", "strengths") else "f"
        if array.shape != wanted or array.dtype.kind not in kinds:
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}, expected numbers of shape {wanted}"
            )
    return Gallery(**{**fields, "bounds": tuple(map(float, fields["bounds"]))})
