"""Audit files as tests: every threshold of an `audit_*.toml` is an item."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_vaeaudit.errors import VaeAuditWarning
from pytest_vaeaudit.fixture import start
from pytest_vaeaudit.item_audit import ItemAudit
from pytest_vaeaudit.marks import faults_of_budget, faults_of_options
from pytest_vaeaudit.trial import Trial, settings_of

if TYPE_CHECKING:
    from vaeaudit import Bar
    from vaeaudit.config import AuditFile as Content


def _is_foreign(path: Path) -> bool:
    """Whether a file is valid TOML of somebody else's, that names neither a model nor data."""
    from vaeaudit import AuditError
    from vaeaudit.config import keys_of

    try:
        return not {"model", "data", "thresholds"} & keys_of(path)
    except AuditError:
        return False  # reading it as an audit file says what is wrong


class AuditFile(pytest.File):
    """An `audit_*.toml`, as `vaeaudit run` takes it."""

    content: Content
    _trial: Trial | None = None

    def collect(self) -> Iterator[AuditItem]:
        """One item a threshold.

        Raises:
            CollectError: the file cannot be read, or says something unknown.
        """
        from vaeaudit import AuditError
        from vaeaudit.config import read_audit_file

        if _is_foreign(self.path):
            return
        try:
            self.content = read_audit_file(self.path)
        except AuditError as error:
            raise self.CollectError(str(error)) from None
        faults = list(faults_of_options(self.content.options))
        if self.content.bars and not faults:
            faults = list(faults_of_budget(self.content.bars, self.settings()))
        if faults:
            raise self.CollectError("\n".join(f"{self.nodeid}: {fault}" for fault in faults))
        if not self.content.bars:
            self.warn(VaeAuditWarning(f"{self.nodeid} asserts nothing: it has no [thresholds]"))
        for score, bar in self.content.bars.items():
            item: AuditItem = AuditItem.from_parent(self, name=score)
            item.bar = bar
            yield item

    def settings(self) -> dict[str, Any]:
        """Every option of the audit; what the file says goes before the session's."""
        return settings_of(self.config, {"confidence": self.content.confidence}, self.content.options)

    def trial(self, item: AuditItem) -> Trial:
        """The audit, planned when the first of its items runs.

        Raises:
            AuditError: model or data cannot be loaded or audited.
        """
        from vaeaudit.loading import load_data, load_model

        if self._trial is None:
            model, images = load_model(self.content), load_data(self.content)
            self._trial = start(item, self.nodeid, model, images, self.settings())
        return self._trial


class AuditItem(pytest.Item):
    """One threshold of an audit file."""

    bar: Bar
    is_threshold = True

    def runtest(self) -> None:
        """Audit, or take the measurement of the file's other items, and hold it against the bar."""
        parent = self.parent
        assert isinstance(parent, AuditFile)
        audit = ItemAudit(self, parent.trial(self))
        audit.measured()
        audit.require({self.name: self.bar})

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message alone: there is no code of the user's to show."""
        from vaeaudit import AuditError

        if excinfo.errisinstance((AssertionError, AuditError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item stands."""
        return self.path, 0, f"{self.path.name}: {self.name}"
