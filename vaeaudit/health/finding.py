"""One finding: what speaks against trusting a measurement, and whether the user has set it aside."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vaeaudit.errors import OptionError
from vaeaudit.health.catalogue import CHECKS, DECLARED, check_named

Severity = Literal["info", "warning", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One health finding.

    Attributes:
        name: stable identifier, such as `attack_not_converged`.
        severity: `info` for the record, `warning` to read before quoting a figure, `invalid`
            where the scores it affects must not decide anything.
        message: what was seen, with its figures.
        remedy: what to do.
        affects: scores it makes untrustworthy, by full name or prefix (`encoder`); only for `invalid`.
        cause: what usually is behind it.
        consequence: what it does to the scores.
        suppressed: whether whoever asked for the audit set it aside: it is still told, and invalidates nothing.
    """

    name: str
    severity: Severity
    message: str
    remedy: str
    affects: tuple[str, ...] = ()
    cause: str = ""
    consequence: str = ""
    suppressed: bool = False

    def concerns(self, score: str) -> bool:
        """Whether this finding would make a score unfit for a verdict if it were not suppressed."""
        return self.severity == "invalid" and any(
            score == name or score.startswith(f"{name}.") for name in self.affects
        )

    def invalidates(self, score: str) -> bool:
        """Whether this finding makes a score unfit for a verdict."""
        return not self.suppressed and self.concerns(score)


def found(name: str, severity: Severity, message: str, affects: tuple[str, ...] = ()) -> Finding:
    """A finding of a check in the catalogue, which says what to do."""
    return Finding(name=name, severity=severity, message=message, remedy=check_named(name).remedy, affects=affects)


def described(findings: Iterable[Finding], suppress: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Findings with cause and consequence from the catalogue, those in `suppress` set aside."""
    return tuple(
        dataclasses.replace(
            finding, cause=check_named(finding.name).cause, consequence=check_named(finding.name).consequence,
            suppressed=finding.name in suppress,
        )
        for finding in findings
    )  # fmt: skip


def checked_names(suppress: object) -> tuple[str, ...]:
    """Names of health checks, each once, in the order of the catalogue.

    Raises:
        OptionError: no list of names, or one of them is no check's.
    """
    if isinstance(suppress, str) or not isinstance(suppress, Iterable):
        raise OptionError(f'suppress expects a list of names such as ("{next(iter(CHECKS))}",), got {suppress!r}')
    names, known = list(suppress), (*CHECKS, *DECLARED)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise OptionError(f"suppress: there is no health check {name!r}; choose of {', '.join(known)}")
    return tuple(name for name in known if name in names)
