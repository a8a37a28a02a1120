"""Health checks of plugins, which look at a report with all other findings in it."""

from __future__ import annotations

import copy

from vaeaudit import extensions, health
from vaeaudit.errors import OptionError, brief
from vaeaudit.extensions import Plugin
from vaeaudit.hookspecs import HealthCheck, Seen
from vaeaudit.report.model import AuditReport
from vaeaudit.score_names import ROOMS, full_name


def plugin_findings(report: AuditReport) -> list[health.Finding]:
    """What the checks of all plugins see; each looks at a copy, for arrays can be written to.

    Raises:
        PluginError: a check failed, or returned something else than what it saw.
    """
    return [finding for plugin, check in extensions.active().checks() for finding in _findings(report, plugin, check)]


def _findings(report: AuditReport, plugin: Plugin, check: HealthCheck) -> list[health.Finding]:
    name = plugin.named(check)
    with plugin.blamed(f"its check {name} looked at the report"):
        return [_finding(name, check, seen) for seen in check.look(copy.deepcopy(report))]


def _finding(name: str, check: HealthCheck, seen: Seen) -> health.Finding:
    if not isinstance(seen, Seen):
        raise OptionError(f"a check must return what it saw, each a vaeaudit.hookspecs.Seen, got {brief(seen)}")
    affects = tuple(score if score in ROOMS else full_name(score) for score in seen.affects)
    return health.Finding(
        name=name, severity=seen.severity, message=seen.message, remedy=check.about.remedy, affects=affects
    )
