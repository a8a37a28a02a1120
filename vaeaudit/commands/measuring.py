"""The commands that measure, `demo` and `run`: the audit, its report, and the verdict on it.

Importing this imports torch; the parser does so when one of them was asked for.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from rich.console import Console

from vaeaudit import auditing, zoo
from vaeaudit.commands import audit_options, folder
from vaeaudit.commands.judging import judge
from vaeaudit.commands.progress import REPORT, Bar
from vaeaudit.commands.statuses import PASS
from vaeaudit.config import AuditFile, read_audit_file
from vaeaudit.files import alone_in
from vaeaudit.loading import load_data, load_model
from vaeaudit.processes.process_group import together
from vaeaudit.processes.ranks import Ranks
from vaeaudit.processes.torchrun import Attempt, placed, take_own_gpu
from vaeaudit.report.model import AuditReport
from vaeaudit.report.text.profile import print_profile
from vaeaudit.report.text.terminal import print_report
from vaeaudit.statistics import CONFIDENCE


def demo(options: argparse.Namespace, output: Path) -> int:
    """Audit a bundled model on bundled images."""
    settings = audit_options.asked(options)
    report = _audited(
        zoo.load(options.model), zoo.images(options.model), settings, output, Ranks(), quiet=options.quiet
    )
    if options.profile:
        print_profile(report)
    return PASS


def run(options: argparse.Namespace) -> int:
    """Audit what the file describes: by itself, or as one of the processes that torchrun has started for it."""
    with together() as ranks:
        file = read_audit_file(options.file)
        output = options.output or file.folder / file.output
        if ranks.size == 1:
            return _measured(file, output, options, ranks)
        return _measured_once(file, output, options, ranks)


def _measured_once(file: AuditFile, output: Path, options: argparse.Namespace, ranks: Ranks) -> int:
    """As `_measured`, unless torchrun starts the processes again because of the verdict they have reached."""
    take_own_gpu()
    attempt = Attempt.read()
    known = ranks.told_by_first(str(attempt.verdict_before(output)) if ranks.first else "")
    if known.isdecimal():
        if ranks.first:
            said = f"torchrun started an audit again that has its verdict: exit status {known}, as before"
            Console(stderr=True).print(said, highlight=False, soft_wrap=True)
        return int(known)
    status = _measured(file, output, options, ranks)
    if ranks.first:
        attempt.note(status, output)
    return status


def _measured(file: AuditFile, output: Path, options: argparse.Namespace, ranks: Ranks) -> int:
    """Measure, and print and judge in the first process; the exit status of all of them."""
    settings = audit_options.over_file(file.options, options)
    if ranks.size > 1:
        settings = placed(settings)
    report = _audited(load_model(file), load_data(file), settings, output, ranks, quiet=options.quiet)
    return int(ranks.told_by_first(str(_concluded(report, file, options)) if ranks.first else ""))


def _concluded(report: AuditReport, file: AuditFile, options: argparse.Namespace) -> int:
    if options.profile:
        print_profile(report)
    if file.bars and not options.quiet:
        Console().print()
    return judge(report, file.bars, options, options.file, confidence=file.confidence or CONFIDENCE)


def _audited(
    model: Any, data: Any, settings: dict[str, Any], output: Path, ranks: Ranks, *, quiet: bool
) -> AuditReport:
    """Audit with progress, save and print; finished measurements wait in the folder until the report is written.

    Of several processes the first one alone holds the folder, shows progress and writes the report; each keeps its own
    measurements there, which is the same folder or one on its machine's disk.
    """
    folder.check_room(output)
    report = _saved(model, data, settings, output, ranks, Bar(quiet=quiet or not ranks.first))
    if ranks.size > 1:
        ranks.meet()  # the report is written
        folder.let_go(output)
    if ranks.first and not quiet:
        print_report(report, saved=output)
    return report


def _saved(model: Any, data: Any, settings: dict[str, Any], output: Path, ranks: Ranks, bar: Bar) -> AuditReport:
    """The report, which the first process has saved; should it end early, it says what is kept."""
    kept = folder.partial(output)
    try:
        with alone_in(output) if ranks.first else contextlib.nullcontext(), bar:
            report = auditing.audit(model, data, checkpoint=kept, progress=bar.advance, ranks=ranks, **settings)
            if ranks.first:
                bar.advance(REPORT, 0, 1)
                folder.save(report, output)
    except KeyboardInterrupt:
        if ranks.first:
            bar.say_what_is_finished(output)
        raise
    except Exception:
        if ranks.first:
            bar.say_what_is_kept(output)
        raise
    return report
