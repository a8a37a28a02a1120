"""The command line's front door: it opens at once, and a Ctrl-C at any time leaves by it quietly."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from vaeaudit.interrupts import INTERRUPTED, leave_at_once


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: all bars passed, or none were asked for; 1: a bar failed; 2: usage or bad input;
    3: inconclusive; 4: a measurement is invalid; 130: interrupted.
    """
    try:
        with leave_at_once():
            from vaeaudit.commands.running import run_command
        return run_command(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def console_main() -> None:
    """Entry point of the `vaeaudit` command.

    What standard output cannot spell, such as the dash of a missing figure in a pipe of Latin-1, is a question mark there.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main())
