"""Hooks that a conftest.py or a plugin may implement; specifications only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_vaeaudit.measuring import Auditor
    from vaeaudit import AuditReport


@pytest.hookspec(firstresult=True)
def pytest_vaeaudit_auditor(config: pytest.Config) -> Auditor | None:
    """What measures instead of vaeaudit itself: a remote machine, or a stand-in in tests."""


@pytest.hookspec(firstresult=True)
def pytest_vaeaudit_fingerprint(config: pytest.Config, model: Any) -> str | None:
    """What identifies a model's weights, where they cannot be found behind it; the first answer counts."""


@pytest.hookspec
def pytest_vaeaudit_environment(config: pytest.Config) -> Mapping[str, str] | None:
    """Further versions that figures depend on, by name; kept in the baseline, and another value measures anew."""


@pytest.hookspec(firstresult=True)
def pytest_vaeaudit_device(config: pytest.Config, item: pytest.Item) -> str | None:
    """Where to measure, if neither test nor command line nor ini file says; the first answer counts."""


@pytest.hookspec
def pytest_vaeaudit_verdict(config: pytest.Config, item: pytest.Item, verdict: Mapping[str, Any]) -> None:
    """Called with every verdict, as builtin types (see `pytest_vaeaudit.records`), where the test runs."""


@pytest.hookspec
def pytest_vaeaudit_report(config: pytest.Config, item: pytest.Item, report: AuditReport, cached: bool) -> None:
    """Called with every report that a test is handed, and whether it was measured earlier."""
