"""The parser: every command with its arguments, and the function that carries it out."""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from vaeaudit import zoo
from vaeaudit.commands import audit_options, comparing, judging, reading
from vaeaudit.commands.statuses import EXITS
from vaeaudit.interrupts import leave_at_once
from vaeaudit.report.model import FOLDER_NAME

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEMO_OUTPUT = "vaeaudit-demo"


def argument_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it returns holds, as `command`, the function to call with it."""
    parser = argparse.ArgumentParser(prog="vaeaudit", description="How easily can an autoencoder be fooled?")
    parser.add_argument("--version", action="version", version=f"vaeaudit {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_demo, _add_run, _add_check, _add_show, _add_compare, _add_leaderboard, _add_schema):
        add(commands)
    return parser


def _version() -> str:
    try:
        return metadata.version("vaeaudit")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _add_demo(commands: Commands) -> None:
    models = zoo.names()
    demo = commands.add_parser(
        "demo", help="audit a bundled model on bundled images", epilog="models:\n  " + "\n  ".join(models),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    demo.add_argument("--model", choices=models, default=models[0], metavar="NAME", help="default: %(default)s")
    audit_options.add(demo, output=DEMO_OUTPUT)
    demo.set_defaults(command=_demo)


def _add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="audit the model that a file describes", epilog=EXITS)
    run.add_argument("file", type=Path, metavar="audit.toml")
    judging.add_places(run)
    audit_options.add(run, output=f"the file's, or {FOLDER_NAME} beside it")
    run.set_defaults(command=_run)


def _demo(options: argparse.Namespace) -> int:
    with leave_at_once():  # torch is imported, and nothing can be lost yet
        from vaeaudit.commands.measuring import demo
    return demo(options, options.output or Path(DEMO_OUTPUT))


def _run(options: argparse.Namespace) -> int:
    with leave_at_once():
        from vaeaudit.commands.measuring import run
    return run(options)


def _add_check(commands: Commands) -> None:
    check = commands.add_parser("check", help="hold a saved report against bars", epilog=EXITS)
    check.add_argument("report", type=Path, metavar="report.json")
    judging.add_bars(check)
    judging.add_places(check)
    check.set_defaults(command=reading.check)


def _add_show(commands: Commands) -> None:
    show = commands.add_parser("show", help="print a saved report")
    show.add_argument("report", type=Path, metavar="report.json")
    show.set_defaults(command=reading.show)


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser("compare", help="which of two models is easier to fool")
    compare.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="two or more; all against the first")
    compare.add_argument("--html", type=Path, metavar="FILE", help="write them side by side as a page")
    compare.set_defaults(command=comparing.compare)


def _add_leaderboard(commands: Commands) -> None:
    board = commands.add_parser("leaderboard", help="rank the models of a folder of reports")
    board.add_argument("folder", type=Path, metavar="FOLDER", help="it and the folders below it are searched")
    board.add_argument("--by", default="hinge", metavar="SCORE", help="score that ranks (default: %(default)s)")
    board.add_argument("--html", type=Path, metavar="FILE", help="write the leaderboard as a page")
    board.set_defaults(command=comparing.rank)


def _add_schema(commands: Commands) -> None:
    schema = commands.add_parser("schema", help="print the JSON Schema of report.json")
    schema.set_defaults(command=reading.schema)
