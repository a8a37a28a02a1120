"""Assert an autoencoder's robustness in a test: the pytest plugin of vaeaudit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_vaeaudit.audited import AuditedReport
    from pytest_vaeaudit.errors import VaeAuditWarning
    from pytest_vaeaudit.fixture import VaeAudit
    from pytest_vaeaudit.measuring import Auditor, Plan

__all__ = ["AuditedReport", "Auditor", "Plan", "VaeAudit", "VaeAuditWarning"]

_HOMES = {
    "AuditedReport": "audited",
    "Auditor": "measuring",
    "Plan": "measuring",
    "VaeAudit": "fixture",
    "VaeAuditWarning": "errors",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that an idle session pays nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
