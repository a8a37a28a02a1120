"""The commands of the command line: `vaeaudit demo`, `run`, `check`, `show` and `compare`."""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vaeaudit import zoo
from vaeaudit.errors import AuditError, OptionError
from vaeaudit.files import alone_in
from vaeaudit.interrupts import INTERRUPTED, leave_at_once
from vaeaudit.report.comparison import compare
from vaeaudit.report.model import FOLDER_NAME, HTML_NAME, AuditReport, load
from vaeaudit.report.profile import print_profile
from vaeaudit.report.terminal import print_comparison, print_page, print_report, verdict_lines
from vaeaudit.report.words import clean
from vaeaudit.spec import PRESETS
from vaeaudit.statistics import CONFIDENCE
from vaeaudit.verdict import Bar, Outcome, Verdict

PASS, FAIL, USAGE, INCONCLUSIVE, INVALID = 0, 1, 2, 3, 4
_EXITS: tuple[tuple[Outcome, int], ...] = (("FAIL", FAIL), ("INVALID", INVALID), ("INCONCLUSIVE", INCONCLUSIVE))
EXITS = "exit status: 0 pass, 1 fail, 2 usage or bad input, 3 inconclusive, 4 invalid, 130 interrupted"
PARTIAL = "partial"
REPORT = "report"
DEMO_OUTPUT = "vaeaudit-demo"
_PATIENCE = 2.0
_ROOM = 2**24
"""Bytes that must fit into the output folder before anything is measured."""


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; see `vaeaudit.cli.main`."""
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vaeaudit", description="How easily can an autoencoder be fooled?")
    parser.add_argument("--version", action="version", version=f"vaeaudit {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = zoo.names()
    demo = commands.add_parser(
        "demo", help="audit a bundled model on bundled images", epilog="models:\n  " + "\n  ".join(models),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    demo.add_argument("--model", choices=models, default=models[0], metavar="NAME", help="default: %(default)s")
    demo.set_defaults(command=_demo)
    _add_audit_options(demo, output=DEMO_OUTPUT)

    run = commands.add_parser("run", help="audit the model that a file describes", epilog=EXITS)
    run.add_argument("file", type=Path, metavar="audit.toml")
    run.set_defaults(command=_run)
    _add_audit_options(run, output=f"the file's, or {FOLDER_NAME} beside it")

    check = commands.add_parser("check", help="hold a saved report against bars", epilog=EXITS)
    check.add_argument("report", type=Path, metavar="report.json")
    _add_bar(check, "at_least", "where higher is more robust, such as hinge=0.3")
    _add_bar(check, "at_most", "where lower is, such as condition_number=200")
    check.add_argument(
        "--confidence", type=float, default=CONFIDENCE, metavar="C",
        help="of each verdict, above 0.5 and below 1 (default: %(default)s)",
    )  # fmt: skip
    check.set_defaults(command=_check, bars=[])

    show = commands.add_parser("show", help="print a saved report")
    show.add_argument("report", type=Path, metavar="report.json")
    show.set_defaults(command=_show)

    comparison = commands.add_parser("compare", help="which of two models is easier to fool")
    comparison.add_argument("old", type=Path, metavar="old/report.json")
    comparison.add_argument("new", type=Path, metavar="new/report.json")
    comparison.set_defaults(command=_compare)
    return parser


def _version() -> str:
    try:
        return metadata.version("vaeaudit")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _add_audit_options(command: argparse.ArgumentParser, *, output: str) -> None:
    command.add_argument("--preset", choices=PRESETS, help="how much to measure (default: standard)")
    command.add_argument("--device", help='such as "cuda"; default: where the model lives')
    command.add_argument(
        "--devices", type=_devices, metavar="all|A,B", help='several instead, such as "cuda:0,cuda:1", or all GPUs'
    )
    command.add_argument(
        "--precision",
        choices=("bfloat16", "tf32"),
        help="in which the attack looks for starting points; default: the model's",
    )
    command.add_argument(
        "--suppress",
        action="append",
        metavar="CHECK",
        help="health check to set aside; its finding is told as suppressed",
    )
    command.add_argument("--seed", type=int, help="default: 0")
    command.add_argument("--output", type=Path, metavar="DIR", help=f"folder of the report (default: {output})")
    command.add_argument("--quiet", action="store_true", help="no progress, no table; only verdicts")
    command.add_argument("--profile", action="store_true", help="print where the time went")


def _devices(text: str) -> str | list[str]:
    return "all" if text == "all" else [name.strip() for name in text.split(",")]


def _add_bar(command: argparse.ArgumentParser, kind: Literal["at_least", "at_most"], help_: str) -> None:
    def parse(text: str) -> tuple[str, Bar]:
        score, equals, number = text.partition("=")
        try:
            if not equals:
                raise ValueError
            return score.strip(), Bar(kind, float(number))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected SCORE=NUMBER such as hinge=0.3, got {text!r}") from error

    flag = f"--{kind.replace('_', '-')}"
    command.add_argument(flag, dest="bars", action="append", type=parse, metavar="SCORE=NUMBER", help=help_)


def _import_the_rest() -> None:
    """What only a measurement needs, torch above all, while nothing can be lost by leaving."""
    with leave_at_once():
        importlib.import_module("vaeaudit.auditing")
        importlib.import_module("vaeaudit.loading")


def _demo(options: argparse.Namespace) -> int:
    _import_the_rest()
    output = options.output or Path(DEMO_OUTPUT)
    report = _audited(zoo.load(options.model), zoo.images(options.model), _asked(options), output, quiet=options.quiet)
    if options.profile:
        print_profile(report)
    return PASS


def _run(options: argparse.Namespace) -> int:
    _import_the_rest()
    from vaeaudit.config import read_audit_file
    from vaeaudit.loading import load_data, load_model

    file = read_audit_file(options.file)
    output = options.output or file.folder / file.output
    settings = _settings(file.options, options)
    report = _audited(load_model(file), load_data(file), settings, output, quiet=options.quiet)
    if options.profile:
        print_profile(report)
    if not file.bars:
        return PASS
    if not options.quiet:
        Console().print()
    return _judge(report, dict(file.bars), confidence=file.confidence or CONFIDENCE)


def _settings(said: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What the file says, and before that the command line; one device there leaves no room for several here."""
    asked, places = _asked(options), {"device", "devices"}
    kept = {key: value for key, value in said.items() if not (key in places and places & asked.keys())}
    return {**kept, **asked}


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about the audit; it goes before the file and the defaults."""
    return {
        key: value
        for key in ("preset", "device", "devices", "precision", "seed", "suppress")
        if (value := getattr(options, key)) is not None
    }


def _check(options: argparse.Namespace) -> int:
    if not options.bars:
        raise OptionError("check expects at least one --at-least or --at-most, such as --at-least hinge=0.3")
    bars = dict(options.bars)
    if len(bars) < len(options.bars):
        raise OptionError("check expects one bar a score; check a second bar on the same score by itself")
    return _judge(load(options.report), bars, confidence=options.confidence)


def _show(options: argparse.Namespace) -> int:
    folder = options.report if options.report.is_dir() else options.report.parent
    print_report(load(options.report))
    if (folder / HTML_NAME).exists():
        print_page(folder / HTML_NAME)
    return PASS


def _judge(report: AuditReport, bars: dict[str, Bar], *, confidence: float = CONFIDENCE) -> int:
    verdicts = report.check(confidence=confidence, looks=1, **bars)
    console = Console()
    for line, verdict in zip(verdict_lines(verdicts), verdicts, strict=True):
        console.print(line, soft_wrap=True)
        if names := report.suppressed(verdict.score):
            console.print(f"             suppressed: {', '.join(names)}", soft_wrap=True, highlight=False)
    return exit_status(verdicts)


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """The worst of several verdicts: FAIL before INVALID before INCONCLUSIVE before PASS."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((status for outcome, status in _EXITS if outcome in outcomes), PASS)


def _compare(options: argparse.Namespace) -> int:
    print_comparison(compare(load(options.old), load(options.new)))
    return PASS


def _audited(model: Any, data: Any, options: dict[str, Any], output: Path, *, quiet: bool) -> AuditReport:
    """Audit with progress and print; finished measurements wait in the output folder until the report is written."""
    from vaeaudit.auditing import audit

    _check_room(output)
    bar = _Bar(quiet=quiet)
    try:
        with alone_in(output), bar:
            report = audit(model, data, checkpoint=output / PARTIAL, progress=bar.advance, **options)
            bar.advance(REPORT, 0, 1)
            _save(report, output)
    except KeyboardInterrupt:
        bar.say_what_is_finished(output)
        raise
    except Exception:
        bar.say_what_is_kept(output)
        raise
    if not quiet:
        print_report(report, saved=output)
    return report


def _check_room(output: Path) -> None:
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


def _save(report: AuditReport, output: Path) -> None:
    """Save, then let go of the finished measurements; a Ctrl-C while files are written does not lose the report."""
    try:
        report.save(output)
    except KeyboardInterrupt:
        report.save(output)
        shutil.rmtree(output / PARTIAL, ignore_errors=True)
        raise
    shutil.rmtree(output / PARTIAL, ignore_errors=True)


class _Bar:
    """One progress bar a measurement, on a terminal only, and only once two seconds have passed."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            SpinnerColumn(finished_text=" "), console=self.console, transient=True,
        )  # fmt: skip
        self.timer = threading.Timer(_PATIENCE, self.progress.start)
        self.wanted = self.console.is_interactive and self.console.file.isatty() and not quiet

    def __enter__(self) -> _Bar:
        if self.wanted:
            self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            self.timer.cancel()
            self.timer.join()
            self.progress.stop()

    def advance(self, measurement: str, finished: int, total: int) -> None:
        """Note how much of a measurement is finished; one that begins again gets a bar of its own."""
        rounds = [task for task in self.progress.tasks if task.fields["measurement"] == measurement]
        if rounds and finished >= rounds[-1].completed:
            task = rounds[-1].id
        else:
            title = f"{measurement} {len(rounds) + 1}" if rounds else measurement
            task = self.progress.add_task(title, total=total, measurement=measurement)
        self.progress.update(task, completed=finished)

    def say_what_is_finished(self, output: Path) -> None:
        """After Ctrl-C: what is safe, where, and how to go on."""
        self.console.print("Interrupted.", style="yellow")
        for task in self.progress.tasks:
            if task.description == REPORT and not (output / PARTIAL).exists():
                self._say(f"Everything was measured; the report lies in {output}.")
                return
            self._say(f"  {task.description}: {task.completed:.0f} of {task.total or 0:.0f} finished")
        if not self.say_what_is_kept(output):
            self._say("Nothing was finished yet.")

    def say_what_is_kept(self, output: Path) -> bool:
        """Where finished measurements lie, if there are any."""
        partial = output / PARTIAL
        kept = any(partial.glob("*.npz"))
        if kept:
            self._say(f"Finished measurements are kept in {partial}; the same command goes on from there.")
        return kept

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
