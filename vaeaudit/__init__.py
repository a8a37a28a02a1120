"""How easily can an autoencoder be fooled? Attacks, pullback geometry, intervals, verdicts.

Names are imported when they are first asked for: reading a report or naming a bar does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaeaudit import adapters, attacks, certificates, effects, extensions, geometry, hookspecs, remedies, zoo
    from vaeaudit.adapters import wrap
    from vaeaudit.auditing import audit, plan
    from vaeaudit.autoencoder import Autoencoder
    from vaeaudit.correlation import Correlation, rank_correlation
    from vaeaudit.errors import (
        AuditError,
        DataError,
        EncoderOutputError,
        FallbackWarning,
        GradientError,
        ModelError,
        OptionError,
        PackageError,
        PluginError,
        RanksError,
        ReportError,
        StorageError,
    )
    from vaeaudit.measurements.of_attack import curves_of_attack
    from vaeaudit.paired import PairedDifference, gap_at, paired_difference
    from vaeaudit.planning import Plan
    from vaeaudit.processes.process_group import together
    from vaeaudit.report.model import AuditReport, load
    from vaeaudit.statistics import Estimate
    from vaeaudit.tradeoff import HingeFit, auddc, fit_hinge
    from vaeaudit.verdict import Bar, Verdict, at_least, at_most

__all__ = [
    "AuditError",
    "AuditReport",
    "Autoencoder",
    "Bar",
    "Correlation",
    "DataError",
    "EncoderOutputError",
    "Estimate",
    "FallbackWarning",
    "GradientError",
    "HingeFit",
    "ModelError",
    "OptionError",
    "PackageError",
    "PairedDifference",
    "Plan",
    "PluginError",
    "RanksError",
    "ReportError",
    "StorageError",
    "Verdict",
    "adapters",
    "at_least",
    "at_most",
    "attacks",
    "auddc",
    "audit",
    "certificates",
    "curves_of_attack",
    "effects",
    "extensions",
    "fit_hinge",
    "gap_at",
    "geometry",
    "hookspecs",
    "load",
    "paired_difference",
    "plan",
    "rank_correlation",
    "remedies",
    "together",
    "wrap",
    "zoo",
]

_ROOMS = {
    "adapters.wrapping": ("wrap",),
    "auditing": ("audit", "plan"),
    "autoencoder": ("Autoencoder",),
    "correlation": ("Correlation", "rank_correlation"),
    "errors": (
        "AuditError", "DataError", "EncoderOutputError", "FallbackWarning", "GradientError", "ModelError", "OptionError",
        "PackageError", "PluginError", "RanksError", "ReportError", "StorageError",
    ),
    "measurements.of_attack": ("curves_of_attack",),
    "paired": ("PairedDifference", "gap_at", "paired_difference"),
    "planning": ("Plan",),
    "processes.process_group": ("together",),
    "report.model": ("AuditReport", "load"),
    "statistics": ("Estimate",),
    "tradeoff": ("HingeFit", "auddc", "fit_hinge"),
    "verdict": ("Bar", "Verdict", "at_least", "at_most"),
}  # fmt: skip
"""Where each name lives. No module is called like a function here: importing it would hide the function."""
_HOME = {name: module for module, names in _ROOMS.items() for name in names}
_MODULES = (
    "adapters", "attacks", "certificates", "effects", "extensions", "geometry", "hookspecs", "remedies", "zoo",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"vaeaudit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'vaeaudit' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"vaeaudit.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
