"""A command from its arguments to its exit status: errors are told in a line, and a crash never looks like a verdict."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable, Sequence

from rich.console import Console

from vaeaudit.commands.parser import argument_parser
from vaeaudit.commands.statuses import USAGE
from vaeaudit.errors import AuditError
from vaeaudit.interrupts import INTERRUPTED
from vaeaudit.report.words import clean


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; see `vaeaudit.cli.main`."""
    options = argument_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (AuditError, OSError) as error:
        said = "\n".join(map(clean, str(error).splitlines()))
        Console(stderr=True).print(f"vaeaudit: {said}", style="red", markup=False, highlight=False, soft_wrap=True)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # a crash is no verdict: it must not leave with the status of a failed bar
        traceback.print_exc()
        return USAGE
