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
        _say(str(error))
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as left:  # with whatever status: 0 would be a pass, and 1 a failed bar
        if not isinstance(left.__context__, BrokenPipeError):  # so rich leaves where nobody reads on, as before `head`
            _say(
                f"SystemExit({left.code!r}) ended the command before its verdict; take the call that raises it, such as "
                "sys.exit(), out of the model, the data or the plugin"
            )
        return USAGE
    except Exception:  # a crash is no verdict: it must not leave with the status of a failed bar
        traceback.print_exc()
        return USAGE


def _say(error: str) -> None:
    said = "\n".join(map(clean, error.splitlines()))
    Console(stderr=True).print(f"vaeaudit: {said}", style="red", markup=False, highlight=False, soft_wrap=True)
