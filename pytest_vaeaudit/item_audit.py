"""One audit inside one test: its verdicts recorded, and turned into what the test comes to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_vaeaudit import regressions
from pytest_vaeaudit.errors import OutOfTimeError, warn
from pytest_vaeaudit.ledger import TRAVELLING
from pytest_vaeaudit.messages import background, explain, wrapped
from pytest_vaeaudit.records import Record, of_no_measurement, of_verdict, plain, property_of, text_of
from pytest_vaeaudit.session import Session, session_of
from pytest_vaeaudit.store import Kept
from pytest_vaeaudit.trial import Decision, Trial

if TYPE_CHECKING:
    from vaeaudit import AuditReport, Bar

RECORDS = pytest.StashKey[list[Record]]()
"""What the verdicts of an item left behind; set while it runs."""
_NAME_LENGTH = 80


class ItemAudit:
    """One audit of one test.

    Args:
        item: the test.
        trial: the audit.
        number: which audit of the test it is, from 1.
    """

    def __init__(self, item: pytest.Item, trial: Trial, number: int = 1) -> None:
        self.item = item
        self.trial = trial
        self.number = number
        self._published: AuditReport | None = None

    @property
    def session(self) -> Session:
        """What the tests share."""
        return session_of(self.item.config)

    def measured(self) -> Kept:
        """The first measurement; a test whose clock runs out before it is done ends here."""
        __tracebackhide__ = True
        try:
            kept = self.trial.measured()
        except OutOfTimeError:
            self._end_without_measurement()
        self.hand_out(kept)
        return kept

    def hand_out(self, kept: Kept) -> None:
        """Tell hooks of a report, and write it where the session collects reports."""
        self.item.ihook.pytest_vaeaudit_report(
            config=self.item.config, item=self.item, report=kept.report, cached=kept.cached
        )
        self._publish(kept)

    def require(self, bars: Mapping[str, Bar], confidence: float | None = None) -> Kept:
        """Hold the audit against bars, and end the test unless they are passed.

        Raises:
            AssertionError: a bar failed, the measurement is invalid, or it stayed inconclusive.
        """
        __tracebackhide__ = True
        try:
            decision = self.trial.decide(bars, self.trial.settings["confidence"] if confidence is None else confidence)
        except OutOfTimeError:
            self._end_without_measurement()
        if len(decision.looks) > 1:
            self.hand_out(decision.kept)
        page = self._page(decision.kept) if decision.outcome != "PASS" else self._folder()
        for verdict in decision.verdicts:
            self._record(of_verdict(self.item.nodeid, verdict, decision.kept, page))
        self._end(decision, page)
        return decision.kept

    def require_no_regression(self, scores: Sequence[str]) -> None:
        """Hold scores against the baseline, and end the test if one regressed.

        Raises:
            AssertionError: a score regressed, has no entry (in CI), or cannot be compared.
        """
        __tracebackhide__ = True
        kept = self.trial.measured()
        slack = self.trial.settings["slack"]
        records = regressions.held_against_baseline(self.item, self.session, kept, scores, slack=slack)
        earlier: list[Record] = self.item.stash.setdefault(RECORDS, [])
        regressions.check_alone(records, earlier)
        faults = regressions.faults_of(records)
        page = self._page(kept) if faults else self._folder()
        for record in records:
            self._record({**record, "report": text_of(page)})
        if faults:
            worst = next(record["score"] for record in records if record["outcome"] != "PASS")
            raise AssertionError("\n".join([*faults, *background(kept, worst, _html(page))]))

    def _end(self, decision: Decision, page: Path | None) -> None:
        __tracebackhide__ = True
        if decision.outcome == "PASS":
            return
        message = explain(decision, _html(page))
        policy = self.trial.settings["inconclusive"]
        if decision.outcome != "INCONCLUSIVE" or policy == "fail":
            raise AssertionError(message)
        if policy == "skip":
            pytest.skip(message.splitlines()[0])
        headlines = [verdict.headline for verdict in decision.verdicts if verdict.outcome == "INCONCLUSIVE"]
        warn(self.item, "; ".join(headlines))

    def _end_without_measurement(self) -> NoReturn:
        __tracebackhide__ = True
        limit = self.trial.settings["time_limit"]
        reason = f"the time limit of {limit:g} s ended the measurement"
        record = of_no_measurement(self.item.nodeid, reason)
        self._record(record)
        if self.trial.settings["inconclusive"] == "skip":
            pytest.skip(record["headline"])
        remedy = "Allow more time (time_limit), or measure less (preset, pairs)."
        if self.session.store.folder is not None:
            remedy = f"Whatever was finished is in the cache, and the next run goes on from there. {remedy}"
        raise AssertionError("\n".join([record["headline"], *wrapped(remedy)])) from None

    def _record(self, record: Record) -> None:
        record = plain(record)
        self.item.stash.setdefault(RECORDS, []).append(record)
        self.item.user_properties.append(property_of(record))
        self.item.ihook.pytest_vaeaudit_verdict(config=self.item.config, item=self.item, verdict=record)

    def _publish(self, kept: Kept) -> None:
        """Write the report, page and all, into the session's folder of reports."""
        folder = self._folder()
        if folder is not None and self._published is not kept.report:
            kept.report.save(folder)
            self._published = kept.report

    def _folder(self) -> Path | None:
        reports = self.session.reports
        return None if reports is None else reports / folder_name(self.item.nodeid, self.number)

    def _page(self, kept: Kept) -> Path | None:
        """Folder with the HTML report of a measurement that somebody has to look at; None without cache and report folder."""
        folder = self._folder() or kept.folder
        if folder is not None and folder == kept.folder:
            kept.report.save(folder)
        return folder


def folder_name(test: str, number: int = 1) -> str:
    """A folder's name for an audit of a test: readable, safe, and different for different tests."""
    plain = re.sub(r"[^\w.-]+", "-", test).strip("-.")
    digest = hashlib.sha256(test.encode()).hexdigest()[:8]
    name = plain if len(plain) <= _NAME_LENGTH and plain == test else f"{plain[-_NAME_LENGTH:]}-{digest}"
    return name if number == 1 else f"{name}-{number}"


def _html(folder: Path | None) -> Path | None:
    page = None if folder is None else folder / "report.html"
    return page if page is not None and page.exists() else None


def attach(report: pytest.TestReport, item: pytest.Item) -> None:
    """Let the records of an item travel with its report, and show them in pytest-html's table."""
    records = item.stash.get(RECORDS, [])
    setattr(report, TRAVELLING, list(records))
    _shorten(report, records)
    if records and report.when == "call" and item.config.pluginmanager.hasplugin("html"):
        from pytest_html import extras

        shown = [extras.text("\n".join(record["headline"] for record in records), name="vaeaudit")]
        pages = dict.fromkeys(Path(record["report"]) / "report.html" for record in records if record["report"])
        shown += [extras.url(str(page), name="vaeaudit report") for page in pages if page.exists()]
        report.extras = [*getattr(report, "extras", []), *shown]  # type: ignore[attr-defined]


def _shorten(report: pytest.TestReport, records: Sequence[Record]) -> None:
    """Where pytest and CI annotations want one line about a failure, give them the verdict alone."""
    if (crash := getattr(report.longrepr, "reprcrash", None)) is not None:
        first = crash.message.partition("\n")[0]
        if any(record["headline"] in first for record in records):
            crash.message = first
