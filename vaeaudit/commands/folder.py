"""The folder of a report: whether there is room, the finished measurements that wait in it, and the report at last."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from vaeaudit.errors import OptionError
from vaeaudit.report.model import AuditReport

_ROOM = 2**24
"""Bytes that must fit into it before anything is measured."""


def partial(output: Path) -> Path:
    """Where finished measurements wait until the report is written."""
    return output / "partial"


def check_room(output: Path) -> None:
    """Say now, not after minutes of measuring, that the report cannot be written.

    Raises:
        OptionError: the folder cannot be made or written to, or its disk is full.
    """
    existing = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        raise OptionError(
            f"no report can be written to {output}: {error.strerror}; choose another folder with --output"
        ) from error


def save(report: AuditReport, output: Path) -> None:
    """Save, then let go of the finished measurements; a Ctrl-C while files are written does not lose the report."""
    try:
        report.save(output)
    except KeyboardInterrupt:
        report.save(output)
        shutil.rmtree(partial(output), ignore_errors=True)
        raise
    shutil.rmtree(partial(output), ignore_errors=True)


def let_go(output: Path) -> None:
    """Remove finished measurements that lie on the disk of a machine that has no report."""
    shutil.rmtree(partial(output), ignore_errors=True)
    with contextlib.suppress(OSError):  # it holds the report
        output.rmdir()
