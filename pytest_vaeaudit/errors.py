"""What the plugin warns of, and what ends a measurement early."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


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
