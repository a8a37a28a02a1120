"""Files of arrays: written whole or not at all, and read without executing or believing anything in them."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.files import write_atomically

_ROOM, _EXPANSION = 2**28, 100
"""Arrays may unpack to so many bytes, or so many times what their file takes on the disk."""
_LONGEST_REASON = 500
"""Characters of what is said of a damaged file; zipfile quotes from it whatever the file calls a name."""


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False) -> None:
    """Write an .npz file of numbers and text atomically, as `read_arrays` reads it.

    Args:
        path: where it shall lie; its folder exists.
        arrays: by name.
        compressed: whether to take time for less room.

    Raises:
        StorageError: the disk is full, the folder is gone or may not be written.
        ValueError: an array holds objects, which reading would have to execute.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"{name} expects numbers or text, got objects ({array.dtype}); name a dtype for it")
    # numpy 2.1 takes `allow_pickle` for the name of one more array
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez

    def fill(file: IO[bytes]) -> None:
        with _Forbearing(file) as archive:
            save(archive, **arrays)
        if archive.failure is not None:
            raise archive.failure

    write_atomically(path, fill)


class _Forbearing(io.RawIOBase):
    """A file to be filled that keeps its first failure for later, and after it, or once it is closed, takes all and writes none.

    An archive writes its end when it is closed, and again tries to when it is forgotten: on a full disk, or after a Ctrl-C,
    it would complain once more, where nobody can catch that.

    Args:
        file: what to write to; it is not closed with this.

    Attributes:
        failure: the first; None if there was none.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._place = 0
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._tried(lambda: self._file.write(data), size)
        self._place += size
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = self._tried(lambda: self._file.seek(offset, whence), offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Nothing: whoever opened the file does so."""

    def _tried(self, work: Callable[[], int], otherwise: int) -> int:
        if self.failure is None and not self.closed:
            try:
                return work()
            except OSError as error:
                self.failure = error
        return otherwise


def read_arrays(
    path: Path, *, wanted: Collection[str] | None = None, most: int | None = None
) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by name. Objects are refused, for reading them would execute what the file says.

    What the file declares is held against its size before anything is unpacked.

    Args:
        path: of the file.
        wanted: names to read, others are left; None reads all.
        most: bytes that they may unpack to; None allows what numbers can be expected to.

    Raises:
        OSError: there is no such file, or it cannot be opened.
        ValueError: it is cut short, damaged, or not of numbers and text.
    """
    with path.open("rb") as raw:
        try:
            with zipfile.ZipFile(raw) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                chosen = {name: info for name, info in members.items() if wanted is None or name in wanted}
                _check_unpacked(chosen.values(), os.fstat(raw.fileno()).st_size, most)
                return {name: _member(archive, info) for name, info in chosen.items()}
        except Exception as error:  # zipfile and numpy have a dozen kinds for a damaged file
            raise ValueError((str(error) or type(error).__name__)[:_LONGEST_REASON]) from error


def _check_unpacked(members: Collection[zipfile.ZipInfo], on_disk: int, most: int | None) -> None:
    unpacked = sum(info.file_size for info in members)
    allowed = max(_ROOM, _EXPANSION * on_disk) if most is None else most
    if unpacked > allowed:
        raise ValueError(f"its {on_disk:,} bytes unpack to {unpacked:,}, and at most {allowed:,} are read")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        shape, dtype = _header(file)
        # names of no letters take no bytes, and still memory once they are Python's
        declared = math.prod(shape) * max(dtype.itemsize, 1)
        if declared > info.file_size:
            raise ValueError(
                f"{info.filename} declares an array {shape} of {declared:,} bytes, and has {info.file_size:,}"
            )
    with archive.open(info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # at its end, the checksum is looked at
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array in version {version} of numpy's format, expected 1.0 or 2.0")
    shape, _, dtype = readers[version](file)
    return shape, dtype
