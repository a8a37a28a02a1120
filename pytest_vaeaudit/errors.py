"""What the plugin warns of, and what ends a measurement early."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from vaeaudit import AuditError


class VaeAuditWarning(UserWarning):
    """Something about an audit that a reader of the session's outcome has to know."""


class OutOfTimeError(Exception):
    """The wall-clock limit of a test ended its measurement; never a pass and never a fail."""


def warn(item: pytest.Item, text: str) -> None:
    """Warn at a test's own place; where warnings are errors, without frames of the plugin."""
    __tracebackhide__ = True
    try:
        item.warn(VaeAuditWarning(text))
    except VaeAuditWarning as error:
        raise error.with_traceback(None) from None


def warn_not_kept(error: Exception) -> None:
    """Warn that a measurement has to be made again in the next session."""
    warnings.warn(VaeAuditWarning(f"measurements cannot be kept for the next session: {error}"), stacklevel=2)


def stripped(error: AuditError) -> AuditError:
    """An error without frames of the library, which tell a test's author nothing; of its cause the user's code stays."""
    import vaeaudit

    cause, home = error.__cause__, Path(vaeaudit.__file__).parent
    frames = None if cause is None else cause.__traceback__
    while frames is not None and Path(frames.tb_frame.f_code.co_filename).is_relative_to(home):
        frames = frames.tb_next
    error.__cause__ = None if cause is None or frames is None else cause.with_traceback(frames)
    return error.with_traceback(None)
