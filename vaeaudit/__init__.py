"""How easily can an autoencoder be fooled? Attacks, pullback geometry, intervals, verdicts.

Names are imported when they are first asked for: reading a report or naming a bar does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaeaudit import attacks, certificates, effects, geometry, remedies, zoo
    from vaeaudit.adapters import wrap
    from vaeaudit.auditing import audit, plan
    from vaeaudit.autoencoder import Autoencoder
    from vaeaudit.errors import (
        AuditError,
        DataError,
        EncoderOutputError,
        FallbackWarning,
        GradientError,
        ModelError,
        OptionError,
        ReportError,
        StorageError,
    )
    from vaeaudit.planning import Plan
    from vaeaudit.report.model import AuditReport, load
    from vaeaudit.statistics import Estimate
    from vaeaudit.tradeoff import HingeFit, auddc, fit_hinge
    from vaeaudit.verdict import Bar, Verdict, at_least, at_most

__all__ = [
    "AuditError",
    "AuditReport",
    "Autoencoder",
    "Bar",
    "DataError",
    "EncoderOutputError",
    "Estimate",
    "FallbackWarning",
    "GradientError",
    "HingeFit",
    "ModelError",
    "OptionError",
    "Plan",
    "ReportError",
    "StorageError",
    "Verdict",
    "at_least",
    "at_most",
    "attacks",
    "auddc",
    "audit",
    "certificates",
    "effects",
    "fit_hinge",
    "geometry",
    "load",
    "plan",
    "remedies",
    "wrap",
    "zoo",
]

_ROOMS = {
    "adapters": ("wrap",),
    "auditing": ("audit", "plan"),
    "autoencoder": ("Autoencoder",),
    "errors": (
        "AuditError", "DataError", "EncoderOutputError", "FallbackWarning", "GradientError", "ModelError", "OptionError",
        "ReportError", "StorageError",
    ),
    "planning": ("Plan",),
    "report.model": ("AuditReport", "load"),
    "statistics": ("Estimate",),
    "tradeoff": ("HingeFit", "auddc", "fit_hinge"),
    "verdict": ("Bar", "Verdict", "at_least", "at_most"),
}  # fmt: skip
"""Where each name lives. No module is called like a function here: importing it would hide the function."""
_HOME = {name: module for module, names in _ROOMS.items() for name in names}
_MODULES = ("attacks", "certificates", "effects", "geometry", "remedies", "zoo")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"vaeaudit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'vaeaudit' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"vaeaudit.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
