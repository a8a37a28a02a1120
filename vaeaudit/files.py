"""Files that readers see old or new, never half, and that are read without executing or believing anything in them."""

from __future__ import annotations

import contextlib
import io
import math
import os
import secrets
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import StorageError

_SCRAP = ".vaeaudit-part"
"""Ends the names of files that are being written, and of what a killed process left of them."""
_SCRAP_SECONDS = 3600.0
_LOCK = ".vaeaudit-lock"
_ROOM, _EXPANSION = 2**28, 100
"""Arrays may unpack to so many bytes, or so many times what their file takes on the disk."""
_LONGEST_REASON = 500
"""Characters of what is said of a damaged file; zipfile quotes from it whatever the file calls a name."""


def write_atomically(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file beside its place, let the disk have it, and move it there.

    Whenever the process is killed or the power fails, the old file or the new one lies there whole.

    Args:
        path: where it shall lie; its folder exists.
        write: called with a binary file to fill.

    Raises:
        StorageError: the disk is full, the folder is gone or may not be written.
    """
    try:
        _write_and_move(path, write)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}; what lay there before is as it was"
        ) from error


def _write_and_move(path: Path, write: Callable[[Any], object]) -> None:
    scrap = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_SCRAP}")
    try:
        with scrap.open("xb") as file:  # unlike tempfile's, its mode follows the umask and the folder's defaults
            write(file)
            file.flush()
            os.fsync(file.fileno())
        scrap.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            scrap.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    _sweep(path.parent)


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
    packed = io.BytesIO()  # an archive that a full disk cuts short would complain once more when it is forgotten
    save(packed, **arrays)
    write_atomically(path, lambda file: file.write(packed.getbuffer()))


def _sync_folder(folder: Path) -> None:
    """Let the disk have the folder's new entry, where folders can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half written; what another one writes right now is younger."""
    with contextlib.suppress(OSError):
        for scrap in folder.glob(f".*{_SCRAP}"):
            if scrap.stat().st_mtime < time.time() - _SCRAP_SECONDS:
                scrap.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there, and see that files can be made in it.

    Raises:
        StorageError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room?")
    except OSError as error:
        raise StorageError(f"nothing can be written to the folder {folder}: {error.strerror or error}") from error


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes that ask for it in the same way; a killed process lets go of it.

    Nothing is left behind: neither the lock, nor the folder if it was made here and is empty.

    Raises:
        StorageError: the folder cannot be written to, or another process holds it.
    """
    import filelock

    found = folder.exists()
    make_folder(folder)
    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise StorageError(
            f"another process is writing to {folder}; wait until it has finished, or choose another folder"
        ) from error
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if lock.is_locked:
                (folder / _LOCK).unlink(missing_ok=True)
            if not found:
                folder.rmdir()
        lock.release()


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
