"""What a session's verdicts come to: the terminal section, the folder of reports, the baseline. Never in a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_vaeaudit.options import folder_of, settled

if TYPE_CHECKING:
    from pytest_vaeaudit.records import Record

TRAVELLING = "vaeaudit"
"""Attribute of a test report on which the records of its verdicts travel, from workers too."""
_COLOURS = {"PASS": "green", "FAIL": "red", "INVALID": "purple", "INCONCLUSIVE": "yellow"}


class Ledger:
    """Collects the records of all tests, and writes what is to be written when the session ends.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.tests: dict[str, list[Record]] = {}
        self.passed: set[str] = set()
        self.notes: list[str] = []

    @property
    def records(self) -> list[Record]:
        """Of all tests, the worst margin first."""
        from pytest_vaeaudit.summary import worst_first

        return worst_first(record for records in self.tests.values() for record in records)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the records that came with a report; a rerun's replace those of the attempt before."""
        if (records := getattr(report, TRAVELLING, None)) is not None:
            self.tests[report.nodeid] = records
        if report.when == "call" and report.outcome == "passed" and not hasattr(report, "wasxfail"):
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the summary, and the baseline if everything passed; what cannot be written fails the session."""
        records = self.records
        if not records:
            return
        from vaeaudit import ReportError

        folder = folder_of(self.config, "report")
        try:
            if folder is not None:
                self._write_summary(folder, records)
            self._add_step_summary(folder, records)
            self._update_baseline(records, exitstatus)
        except (OSError, ReportError) as error:
            self.notes.append(f"vaeaudit: {error}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One section, if anything was audited."""
        records = self.records
        if not records or terminalreporter.verbosity < -1:
            return
        from pytest_vaeaudit.summary import terminal_lines

        terminalreporter.write_sep("=", "vaeaudit")
        for text, outcome in terminal_lines(records, verbose=terminalreporter.verbosity > 0):
            terminalreporter.write_line(text, **({_COLOURS[outcome]: True} if outcome else {}))
        for note in self.notes:
            terminalreporter.write_line(note)

    def _write_summary(self, folder: Path, records: list[Record]) -> None:
        from pytest_vaeaudit.summary import markdown
        from vaeaudit.files import write_atomically

        plain = [{key: value for key, value in record.items() if key != "entry"} for record in records]
        content = json.dumps({"schema": 1, "verdicts": plain}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "summary.json", lambda file: file.write(content.encode()))
        write_atomically(folder / "summary.md", lambda file: file.write(markdown(records, folder).encode()))
        self.notes.append(f"Reports: {folder / 'summary.md'}")

    def _add_step_summary(self, folder: Path | None, records: list[Record]) -> None:
        from pytest_vaeaudit.summary import markdown
        from vaeaudit.report.exports.github import add_summary, asked_summary

        path = asked_summary(folder_of(self.config, "summary"))
        if path is not None:
            add_summary(path, markdown(records, folder or self.config.rootpath))

    def _update_baseline(self, records: list[Record], exitstatus: int) -> None:
        from pytest_vaeaudit.baseline import read_baseline, updated, write_baseline

        update = settled(self.config, "update")
        compared = [record for record in records if record.get("change")]
        better = [record for record in compared if record["change"] == "better"]
        path = folder_of(self.config, "baseline")
        if not compared or path is None:
            return
        if update in ("none", "new") and better:
            self.notes.append(f"{_count(better, 'figure')} improved: record with pytest --vaeaudit-update=improved")
        if update == "none":
            return
        if exitstatus != pytest.ExitCode.OK:
            self.notes.append(f"{path.name} was not written: only a run in which everything passes writes it")
            return
        before = read_baseline(path).entries
        after = updated(before, [record for record in compared if record["test"] in self.passed], update)
        changed = [key for key in after if after[key] != before.get(key)]
        if changed:
            write_baseline(path, after)
            self.notes.append(f"{path.name}: {_count(changed, 'entry', 'entries')} recorded; commit the file")


def _count(things: list[Any], one: str, many: str = "") -> str:
    return f"{len(things)} {one if len(things) == 1 else many or one + 's'}"
