"""The pictures of a report, which are kept in a file of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.arrays import read_arrays, write_arrays
from vaeaudit.errors import ReportError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Pictures = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
_OWNER = "report"
"""Name of the array that says which report.json the pictures belong to."""
_UNTARGETED = "untargeted"


@dataclass(frozen=True, kw_only=True, eq=False)
class BallPictures:
    """Pictures of a few images under the untargeted attack, the worst inside each ball.

    Attributes:
        images: index of each image among the audited ones, `(shown,)`.
        radii: L2 budgets in input units, ascending, `(budgets,)`.
        displacement: L2 distance the reconstruction was moved, input units, `(shown, budgets)`.
        originals, original_reconstructions: `(shown, *event)`.
        adversarials, reconstructions: `(shown, budgets, *event)`.
    """

    images: Integers
    radii: Floats
    displacement: Floats
    originals: Pictures
    original_reconstructions: Pictures
    adversarials: Pictures
    reconstructions: Pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Pictures of a few pairs at a few strengths (paper A, figure 2), and of a few images at the untargeted budgets.

    Attributes:
        pairs: which pairs, indices into `Curves.originals`, `(shown,)`.
        strengths: which strengths, indices into `Curves.strengths`, `(columns,)`.
        bounds: lower and upper end of the input space.
        originals, targets, original_reconstructions, target_reconstructions: `(shown, *event)`.
        adversarials, reconstructions: `(shown, columns, *event)`.
        untargeted: images under the untargeted attack; None in files that were written before they were kept.
    """

    pairs: Integers
    strengths: Integers
    bounds: tuple[float, ...]
    originals: Pictures
    targets: Pictures
    original_reconstructions: Pictures
    target_reconstructions: Pictures
    adversarials: Pictures
    reconstructions: Pictures
    untargeted: BallPictures | None = None


def save_gallery(gallery: Gallery | None, path: Path, owner: str) -> None:
    """Write the pictures atomically, with the digest of the report they belong to."""
    arrays = {} if gallery is None else _arrays_of(gallery)
    if gallery is not None and gallery.untargeted is not None:
        arrays |= {f"{_UNTARGETED}.{name}": array for name, array in _arrays_of(gallery.untargeted).items()}
    write_arrays(path, {_OWNER: np.array(owner), **arrays}, compressed=True)


def _arrays_of(part: Gallery | BallPictures) -> Arrays:
    names = (field.name for field in dataclasses.fields(part) if field.name != _UNTARGETED)
    return {name: np.asarray(getattr(part, name)) for name in names}


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


def _gallery(arrays: Arrays) -> Gallery:
    """The pictures, if they are numbers and as many as they should be.

    Raises:
        ValueError: they are not.
        KeyError: some are missing.
    """
    fields = _checked(
        Gallery, arrays, rows="pairs", columns="strengths", whole=("pairs", "strengths"),
        others={"bounds": (2,)}, wide=("adversarials", "reconstructions"),
    )  # fmt: skip
    prefix = f"{_UNTARGETED}."
    parts = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    untargeted = None if not parts else BallPictures(**_checked(
        BallPictures, parts, rows="images", columns="radii", whole=("images",),
        others={}, wide=("adversarials", "reconstructions"),
    ))  # fmt: skip
    return Gallery(**{**fields, "bounds": tuple(map(float, fields["bounds"])), "untargeted": untargeted})


def _checked(
    kind: type, arrays: Arrays, *, rows: str, columns: str, whole: tuple[str, ...],
    others: dict[str, tuple[int, ...]], wide: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    """Fields of a value from arrays by name, `wide` ones `(rows, columns, *event)`, all else `(rows, *event)`."""
    fields = {f.name: arrays[f.name] for f in dataclasses.fields(kind) if f.name != _UNTARGETED}
    shown, width, event = fields[rows].shape[:1], fields[columns].shape[:1], fields["originals"].shape[1:]
    expected = {**others, rows: shown, columns: width, "displacement": (*shown, *width)}
    for name, array in fields.items():
        wanted = expected.get(name, (*shown, *(width if name in wide else ()), *event))
        if array.shape != wanted or array.dtype.kind not in ("iu" if name in whole else "f"):
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}, expected numbers of shape {wanted}"
            )
    return fields
