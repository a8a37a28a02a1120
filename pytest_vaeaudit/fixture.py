"""The `vae_audit` fixture: audit a model in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_vaeaudit.errors import stripped
from pytest_vaeaudit.item_audit import ItemAudit
from pytest_vaeaudit.marks import Asked, faults_of_options, read_marks
from pytest_vaeaudit.options import IN_TESTS, plain
from pytest_vaeaudit.session import session_of
from pytest_vaeaudit.store import Kept
from pytest_vaeaudit.trial import Trial, settings_of

if TYPE_CHECKING:
    from pytest_vaeaudit.audited import AuditedReport
    from vaeaudit import Bar


class VaeAudit(Protocol):
    """What the `vae_audit` fixture is."""

    def __call__(self, model: Any, images: Any, **options: Any) -> AuditedReport:
        """Audit a model; measured once, and shared by the tests of a file and by reruns.

        Args:
            model: whatever `vaeaudit.audit` takes.
            images: whatever `vaeaudit.audit` takes.
            options: preset, device, pairs, seed, confidence, max_pairs, max_evaluations, time_limit, inconclusive, slack,
                strengths, divergence, penalty; they go before the marker's and the session's.

        Returns:
            The report, with `require` and `require_no_regression`.

        Raises:
            AssertionError: a bar of the test's marker was not passed.
            AuditError: the model, the images or an option cannot be audited.
        """


class Auditing:
    """Audits for one test.

    Args:
        item: the test.

    Attributes:
        audits: how many were measured.
        unmet: first lines about bars of the marker that were not passed.
    """

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.audits = 0
        self.unmet: list[str] = []

    def __repr__(self) -> str:
        return "vae_audit"

    def __call__(self, model: Any, images: Any, **options: Any) -> AuditedReport:
        """See `VaeAudit`."""
        __tracebackhide__ = True
        from vaeaudit import AuditError

        try:
            return self._audited(model, images, options)
        except AuditError as error:
            raise stripped(error) from error.__cause__

    def _audited(self, model: Any, images: Any, options: Mapping[str, Any]) -> AuditedReport:
        __tracebackhide__ = True
        from pytest_vaeaudit.audited import AuditedReport

        options = plain(options)
        _check_options(options)
        asked = self._asked()
        settings = settings_of(self.item.config, options, asked.options)
        audit = ItemAudit(self.item, start(self.item, self.item.nodeid, model, images, settings), self.audits + 1)
        if asked.bars:
            audit.trial.check_possible(asked.bars, settings["confidence"])
        kept = audit.measured()
        self.audits += 1
        if asked.bars:
            kept = self._cleared(audit, asked.bars)
        return AuditedReport.of(kept.report, audit)

    def _cleared(self, audit: ItemAudit, bars: Mapping[str, Bar]) -> Kept:
        """Hold an audit against the marker's bars; a test cannot swallow what they come to."""
        __tracebackhide__ = True
        try:
            return audit.require(bars)
        except AssertionError as error:
            self.unmet.append(str(error).partition("\n")[0])
            raise

    def _asked(self) -> Asked:
        """What the markers say, those that a hook added after collection too."""
        from vaeaudit import OptionError

        try:
            return read_marks(self.item)
        except ValueError as error:
            raise OptionError(str(error)) from None


def start(item: pytest.Item, test: str, model: Any, images: Any, settings: dict[str, Any]) -> Trial:
    """Plan an audit for a test.

    Args:
        item: the test.
        test: node id of it, or of the audit file it belongs to.
        model: the user's.
        images: the user's.
        settings: every option, settled.

    Raises:
        AuditError: model, images or settings that cannot be audited.
    """
    session = session_of(item.config)
    if settings["device"] is None and settings["devices"] is None:
        settings["device"] = item.ihook.pytest_vaeaudit_device(config=item.config, item=item)
    fingerprint = item.ihook.pytest_vaeaudit_fingerprint(config=item.config, model=model)
    return Trial(
        auditor=session.auditor, store=session.store, model=model, images=images, settings=settings,
        scope=test.partition("::")[0], fingerprint=fingerprint, environment=session.environment,
    )  # fmt: skip


def _check_options(options: Mapping[str, Any]) -> None:
    from vaeaudit import OptionError

    unknown = [name for name in options if name not in IN_TESTS]
    if unknown:
        raise OptionError(
            f"vae_audit has no option {unknown[0]!r}; choose one of {', '.join(IN_TESTS)} "
            "(bars go into .require(...) or the marker)"
        )
    given = {
        name: value for name, value in options.items() if not (name == "pairs" and not isinstance(value, (int, bool)))
    }
    if faults := list(faults_of_options(given)):
        raise OptionError("\n".join(faults))
