"""The report that a test is handed: an `AuditReport` whose bars go by the session's rules."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_vaeaudit.errors import stripped
from vaeaudit import AuditError, AuditReport, OptionError

if TYPE_CHECKING:
    from pytest_vaeaudit.item_audit import ItemAudit
    from vaeaudit import Bar


class AuditedReport(AuditReport):
    """An audit's report in a test; attributes as `vaeaudit.AuditReport`."""

    _audit: ItemAudit | None = None

    @classmethod
    def of(cls, report: AuditReport, audit: ItemAudit) -> AuditedReport:
        """The report, with the test that it is to be judged in."""
        audited = cls(**{field.name: getattr(report, field.name) for field in dataclasses.fields(report)})
        object.__setattr__(audited, "_audit", audit)
        return audited

    def require(self, *, confidence: float | None = None, **bars: Bar) -> None:
        """Fail the test unless every bar is passed: `require(hinge=at_least(0.3), condition_number=at_most(200))`.

        A bar that the measurement leaves open first has it extended, within the budget.

        Args:
            confidence: probability with which each verdict is right; None is the marker's, or the session's.
            bars: by score; a score with a dot in its name goes in by `**{"decoder.trace": at_most(3)}`.

        Raises:
            AssertionError: a bar failed, could not be settled, or the measurement is invalid.
            OptionError: an unknown score, a bar of the wrong direction, or one that so few pairs can never pass.
        """
        __tracebackhide__ = True
        try:
            self._judged_in.require(bars, confidence)
        except AuditError as error:
            raise stripped(error) from error.__cause__

    def require_no_regression(self, *scores: str) -> None:
        """Fail the test if a score is clearly worse than the committed baseline says.

        Args:
            scores: which; by default hinge, auddc and damage.

        Raises:
            AssertionError: a score regressed, has no entry in the baseline (in CI), or cannot be compared.
            OptionError: an unknown score, or one that has no direction.
        """
        __tracebackhide__ = True
        try:
            self._judged_in.require_no_regression(scores)
        except AuditError as error:
            raise stripped(error) from error.__cause__

    @property
    def _judged_in(self) -> ItemAudit:
        if self._audit is None:
            raise OptionError(
                "this copy of a report has left its test; require bars of the report that vae_audit returned"
            )
        return self._audit

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is a plain report: it has left the test."""
        return _plain, ({field.name: getattr(self, field.name) for field in dataclasses.fields(AuditReport)},)


def _plain(fields: dict[str, Any]) -> AuditReport:
    return AuditReport(**fields)
