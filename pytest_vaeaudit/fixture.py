"""The `vae_audit` fixture: audit a model in a test."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_vaeaudit.item_audit import ItemAudit
from pytest_vaeaudit.marks import Asked, faults_of_options, read_marks
from pytest_vaeaudit.options import IN_TESTS
from pytest_vaeaudit.session import session_of
from pytest_vaeaudit.trial import Trial, settings_of

if TYPE_CHECKING:
    from pytest_vaeaudit.audited import AuditedReport


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
    """

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.audits = 0

    def __repr__(self) -> str:
        return "vae_audit"

    def __call__(self, model: Any, images: Any, **options: Any) -> AuditedReport:
        """See `VaeAudit`."""
        __tracebackhide__ = True
        from vaeaudit import AuditError

        try:
            return self._audited(model, images, options)
        except AuditError as error:  # the frames inside the library tell a test's author nothing
            raise error.with_traceback(None) from error.__cause__

    def _audited(self, model: Any, images: Any, options: Mapping[str, Any]) -> AuditedReport:
        __tracebackhide__ = True
        from pytest_vaeaudit.audited import AuditedReport

        options = {name: int(value) if _whole(value) else value for name, value in options.items()}
        _check_options(options)
        asked = self._asked()
        self.audits += 1
        config = self.item.config
        settings = settings_of(config, options, asked.options)
        if settings["device"] is None:
            settings["device"] = config.hook.pytest_vaeaudit_device(config=config, item=self.item)
        audit = ItemAudit(self.item, start(config, self.item.nodeid, model, images, settings), self.audits)
        if asked.bars:
            audit.trial.check_possible(asked.bars, settings["confidence"])
        kept = audit.measured()
        if asked.bars:
            kept = audit.require(asked.bars)
        return AuditedReport.of(kept.report, audit)

    def _asked(self) -> Asked:
        """What the markers say, those that a hook added after collection too."""
        from vaeaudit import OptionError

        try:
            return read_marks(self.item)
        except ValueError as error:
            raise OptionError(str(error)) from None


def start(config: pytest.Config, test: str, model: Any, images: Any, settings: Mapping[str, Any]) -> Trial:
    """Plan an audit for a test.

    Raises:
        AuditError: model, images or settings that cannot be audited.
    """
    session = session_of(config)
    return Trial(
        auditor=session.auditor, store=session.store, model=model, images=images, settings=settings,
        scope=test.partition("::")[0], weights=session.weights(model), environment=session.environment,
    )  # fmt: skip


def _whole(value: object) -> bool:
    """Whether a value is a whole number of any kind, numpy's too."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


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
