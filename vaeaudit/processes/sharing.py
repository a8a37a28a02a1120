"""Rows of a measurement among the processes of an audit: who holds which, and parcels of those that others lack."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import RanksError
from vaeaudit.processes.ranks import Ranks

Arrays = dict[str, NDArray[Any]]
_OF = "rows of "


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """Who holds which rows before anything is measured.

    Attributes:
        rank: of this process.
        held: `(ranks, rows)`.
        workers: that measure, of all processes.
    """

    rank: int
    held: NDArray[np.bool_]
    workers: int

    @property
    def missing(self) -> NDArray[np.int64]:
        """Rows that nobody holds, ascending."""
        return np.flatnonzero(~self.held.any(0))

    @property
    def uneven(self) -> bool:
        """Whether somebody lacks a row, now or once those that are missing were measured somewhere."""
        return len(self.held) > 1 and not bool(self.held.all())

    def owed(self, now: Sequence[bool]) -> NDArray[np.int64]:
        """Rows that this process hands on: those it has measured since, and those it is the first to hold.

        Args:
            now: which rows it holds, `(rows,)`.
        """
        measured = np.asarray(now, dtype=bool) & ~self.held[self.rank]
        to_share = self.held.any(0) & ~self.held.all(0) & (self.held.argmax(0) == self.rank)
        return np.flatnonzero(measured | to_share)


def holdings(ranks: Ranks, name: str, rows: str, held: Sequence[bool], workers: int) -> Holdings:
    """Ask all processes what they hold.

    Args:
        ranks: the processes.
        name: of the measurement.
        rows: a digest of all that determines its rows, and of which they are.
        held: which of them this process holds, `(rows,)`.
        workers: that measure in this process.

    Raises:
        RanksError: they are not at the same rows.
    """
    said = {"name": name, "rows": rows, "held": np.packbits(held).tobytes().hex(), "workers": workers}
    heard: list[dict[str, Any]] = [json.loads(text) for text in ranks.meet(json.dumps(said).encode())]
    for rank, other in enumerate(heard):
        if (other["name"], other["rows"]) != (name, rows):
            raise RanksError(
                f"rank {ranks.rank} is at the measurement {name!r} and rank {rank} at {other['name']!r}, of other rows; "
                "they would measure different audits. Run all processes on machines of one kind, with the same "
                "versions and numbers of threads"
            )
    masks = [np.unpackbits(np.frombuffer(bytes.fromhex(other["held"]), np.uint8), count=len(held)) for other in heard]
    return Holdings(
        rank=ranks.rank, held=np.stack(masks).astype(bool), workers=sum(other["workers"] for other in heard)
    )


def packed(positions: NDArray[np.int64], rows: Sequence[Arrays]) -> bytes:
    """Rows as the bytes of an .npz file; nothing for no rows.

    Args:
        positions: of the rows, `(count,)`.
        rows: arrays by name; some names may be in a few rows only.
    """
    if not rows:
        return b""
    parcel: Arrays = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        having = [i for i, row in enumerate(rows) if name in row]
        parcel[name] = np.stack([rows[i][name] for i in having])
        parcel[_OF + name] = positions[having]
    buffer = io.BytesIO()
    np.savez(buffer, **parcel)  # type: ignore[arg-type]  # numpy 2.1 takes `allow_pickle` for the name of one more array
    return buffer.getvalue()


def unpacked(parcel: bytes) -> dict[int, Arrays]:
    """Rows of a parcel by their positions; objects are refused, for reading them would execute what they say."""
    found: dict[int, Arrays] = {}
    if not parcel:
        return found
    with np.load(io.BytesIO(parcel), allow_pickle=False) as arrays:
        for name in arrays.files:
            if not name.startswith(_OF):
                values = arrays[name]
                for place, position in enumerate(arrays[_OF + name]):
                    found.setdefault(int(position), {})[name] = values[place]
    return found
