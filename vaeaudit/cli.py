"""The command line: `vaeaudit demo`, `run`, `check` and `compare`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vaeaudit import zoo
from vaeaudit.audit import audit, version
from vaeaudit.config import OUTPUT, read_audit_file
from vaeaudit.errors import AuditError, OptionError
from vaeaudit.report.comparison import compare
from vaeaudit.report.model import AuditReport, load
from vaeaudit.report.terminal import print_comparison, print_report, verdict_lines
from vaeaudit.spec import PRESETS
from vaeaudit.verdict import Bar, Outcome, Verdict

PASS, FAIL, USAGE, INCONCLUSIVE, INVALID, INTERRUPTED = 0, 1, 2, 3, 4, 130
_EXITS: tuple[tuple[Outcome, int], ...] = (("FAIL", FAIL), ("INVALID", INVALID), ("INCONCLUSIVE", INCONCLUSIVE))
_PATIENCE = 2.0
PARTIAL = "partial"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: all bars passed, or none were asked for; 1: a bar failed; 2: usage or bad input;
    3: inconclusive; 4: a measurement is invalid; 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (AuditError, OSError) as error:
        Console(stderr=True).print(f"vaeaudit: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vaeaudit", description="How easily can an autoencoder be fooled?")
    parser.add_argument("--version", action="version", version=f"vaeaudit {version('vaeaudit')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="audit a bundled model on bundled images")
    demo.add_argument("--model", choices=zoo.names(), default=zoo.names()[0], help="default: %(default)s")
    demo.set_defaults(command=_demo, preset="standard", output=Path("vaeaudit-demo"))

    run = commands.add_parser("run", help="audit the model that a file describes")
    run.add_argument("file", type=Path, metavar="audit.toml")
    run.set_defaults(command=_run)

    for command in (demo, run):
        command.add_argument("--preset", choices=PRESETS, help="how much to measure (default: standard)")
        command.add_argument("--device", help='such as "cuda"; default: where the model lives')
        command.add_argument("--seed", type=int, help="default: 0")
        command.add_argument(
            "--output", type=Path, metavar="DIR", help=f"folder of the report (default: {OUTPUT} or the file's)"
        )
        command.add_argument("--quiet", action="store_true", help="no progress, no table; only verdicts")

    check = commands.add_parser("check", help="hold a saved report against bars")
    check.add_argument("report", type=Path, metavar="report.json")
    for kind in ("at_least", "at_most"):
        flag = f"--{kind.replace('_', '-')}"
        check.add_argument(flag, dest="bars", action="append", type=_bar(kind), metavar="SCORE=NUMBER", default=[])
    check.set_defaults(command=_check)

    comparison = commands.add_parser("compare", help="which of two models is easier to fool")
    comparison.add_argument("old", type=Path, metavar="old/report.json")
    comparison.add_argument("new", type=Path, metavar="new/report.json")
    comparison.set_defaults(command=_compare)
    return parser


def _bar(kind: Any) -> Callable[[str], tuple[str, Bar]]:
    def parse(text: str) -> tuple[str, Bar]:
        score, equals, number = text.partition("=")
        try:
            if not equals:
                raise ValueError
            return score.strip(), Bar(kind, float(number))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected SCORE=NUMBER such as hinge=0.3, got {text!r}") from error

    return parse


def _demo(options: argparse.Namespace) -> int:
    given = {key: value for key in ("preset", "device", "seed") if (value := getattr(options, key)) is not None}
    report = _audited(zoo.load(options.model), zoo.images(options.model), given, options.output, quiet=options.quiet)
    if not options.quiet:
        print_report(report, saved=options.output)
    return PASS


def _run(options: argparse.Namespace) -> int:
    file = read_audit_file(options.file)
    asked = {key: value for key in ("preset", "device", "seed") if (value := getattr(options, key)) is not None}
    output = options.output or file.folder / file.output
    report = _audited(
        file.load_model(), file.load_data(), {**file.options, **asked}, output, quiet=options.quiet
    )  # fmt: skip
    if not options.quiet:
        print_report(report, saved=output)
    return _judge(report, dict(file.bars)) if file.bars else PASS


def _check(options: argparse.Namespace) -> int:
    if not options.bars:
        raise OptionError("check expects at least one --at-least or --at-most, such as --at-least hinge=0.3")
    return _judge(load(options.report), dict(options.bars))


def _judge(report: AuditReport, bars: dict[str, Bar]) -> int:
    verdicts = report.check(**bars)
    console = Console()
    for line in verdict_lines(verdicts):
        console.print(line, soft_wrap=True)
    return exit_status(verdicts)


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """The worst of several verdicts: FAIL before INVALID before INCONCLUSIVE before PASS."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((status for outcome, status in _EXITS if outcome in outcomes), PASS)


def _compare(options: argparse.Namespace) -> int:
    print_comparison(compare(load(options.old), load(options.new)))
    return PASS


def _audited(model: Any, data: Any, options: dict[str, Any], output: Path, *, quiet: bool) -> AuditReport:
    """Audit with progress; finished measurements wait in the output folder until the report is written."""
    partial = output / PARTIAL
    bar = _Bar(quiet=quiet)
    try:
        with bar:
            report = audit(model, data, checkpoint=partial, progress=bar.advance, **options)
            report.save(output)
    except KeyboardInterrupt:
        bar.say_what_is_finished(partial)
        raise SystemExit(INTERRUPTED) from None
    return report


class _Bar:
    """One progress bar a measurement, on a terminal only, and only once two seconds have passed."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True)
        self.wanted = self.console.is_terminal and not quiet
        self.started = time.monotonic()
        self.finished: dict[str, tuple[int, int]] = {}
        self.tasks: dict[str, TaskID] = {}
        columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=self.console, transient=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def advance(self, measurement: str, finished: int, total: int) -> None:
        """Note how much of a measurement is finished."""
        self.finished[measurement] = finished, total
        if not self.wanted or time.monotonic() - self.started < _PATIENCE:
            return
        self.progress.start()
        for name, (done, all_) in self.finished.items():
            if name not in self.tasks:
                self.tasks[name] = self.progress.add_task(name, total=all_)
            self.progress.update(self.tasks[name], completed=done, total=all_)

    def say_what_is_finished(self, partial: Path) -> None:
        """After Ctrl-C: what is safe, where, and how to go on."""
        self.console.print("Interrupted.", style="yellow")
        for name, (done, total) in self.finished.items():
            self.console.print(f"  {name}: {done} of {total} finished")
        if partial.exists():
            self.console.print(
                f"Finished measurements are kept in {partial}; the same command goes on from there.", soft_wrap=True
            )
        else:
            self.console.print("Nothing was finished yet.")


def console_main() -> None:
    """Entry point of the `vaeaudit` command."""
    sys.exit(main())
