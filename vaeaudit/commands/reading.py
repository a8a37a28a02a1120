"""The commands that read one saved report, `check` and `show`, and `schema`, which says how a report is written."""

from __future__ import annotations

import argparse
import sys

from vaeaudit.commands.judging import judge
from vaeaudit.commands.statuses import PASS
from vaeaudit.errors import OptionError
from vaeaudit.report.model import HTML_NAME, JSON_NAME, load
from vaeaudit.report.schema import schema_text
from vaeaudit.report.text.terminal import print_page, print_report


def check(options: argparse.Namespace) -> int:
    """Hold a saved report against bars.

    Raises:
        OptionError: there is no bar, there are two for a score, or one makes no sense.
    """
    if not options.bars:
        raise OptionError("check expects at least one --at-least or --at-most, such as --at-least hinge=0.3")
    bars = dict(options.bars)
    if len(bars) < len(options.bars):
        raise OptionError("check expects one bar a score; check a second bar on the same score by itself")
    file = options.report / JSON_NAME if options.report.is_dir() else options.report
    return judge(load(file), bars, options, file, confidence=options.confidence)


def show(options: argparse.Namespace) -> int:
    """Print a saved report, and name its page if it has one."""
    folder = options.report if options.report.is_dir() else options.report.parent
    print_report(load(options.report))
    if (folder / HTML_NAME).exists():
        print_page(folder / HTML_NAME)
    return PASS


def schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema of report.json."""
    sys.stdout.write(schema_text())
    return PASS
