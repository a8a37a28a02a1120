"""How easily can an autoencoder be fooled? Attacks, pullback geometry, intervals, verdicts."""

from vaeaudit import attacks, geometry, zoo
from vaeaudit.adapters import wrap
from vaeaudit.audit import audit
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import (
    AuditError,
    DataError,
    EncoderOutputError,
    GradientError,
    ModelError,
    OptionError,
    ReportError,
)
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
    "GradientError",
    "HingeFit",
    "ModelError",
    "OptionError",
    "ReportError",
    "Verdict",
    "at_least",
    "at_most",
    "attacks",
    "auddc",
    "audit",
    "fit_hinge",
    "geometry",
    "load",
    "wrap",
    "zoo",
]
