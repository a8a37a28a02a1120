"""Files that readers see old or new, never half, and folders that one process holds at a time."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vaeaudit.errors import StorageError

_SCRAP = ".vaeaudit-part"
"""Ends the names of files that are being written, and of what a killed process left of them."""
_SCRAP_SECONDS = 3600.0
_LOCK = ".vaeaudit-lock"


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
