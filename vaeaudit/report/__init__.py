"""The report: a model of plain values, and its JSON, HTML and terminal faces."""

from vaeaudit.report.model import AuditReport, load

__all__ = ["AuditReport", "load"]
