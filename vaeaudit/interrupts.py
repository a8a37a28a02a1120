"""Ctrl-C while packages are imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status of a command that a Ctrl-C ended, as shells have it."""


@contextmanager
def leave_at_once() -> Iterator[None]:
    """Let a Ctrl-C inside end the process with status 130, without a word.

    Raised as an exception into a large package that is being imported, it can be swallowed or turned
    into another error, and leaves half a module behind. Nothing is written yet that could be lost.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody has own plans for it, or it is ignored
        return
    try:
        before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    except ValueError:
        yield  # only the main thread gets a Ctrl-C
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
