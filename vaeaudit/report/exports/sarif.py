"""Verdicts and health findings as SARIF 2.1.0, the format in which GitHub's code scanning takes alerts.

Of the format only what GitHub reads is written (its page "SARIF support for code scanning"): rules with texts of their
own, and for every result a rule, a level, a place in the repository and a fingerprint that stays from run to run. Every
result says whether it is suppressed, since a run has to say it of all or of none (SARIF 2.1.0, 3.27.23).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from vaeaudit.files import make_folder, write_atomically
from vaeaudit.health import CHECKS, Finding
from vaeaudit.report import words
from vaeaudit.report.meanings import MEANINGS
from vaeaudit.report.model import AuditReport
from vaeaudit.score_names import short_name
from vaeaudit.verdict import Verdict

SPECIFICATION = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
Object = dict[str, Any]
_LONGEST_ID = 255
"""What GitHub takes."""
_LEVELS = {
    "FAIL": "error", "INVALID": "error", "INCONCLUSIVE": "warning", "invalid": "error", "warning": "warning", "info": "note",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file that results are shown at.

    Attributes:
        uri: relative to the working directory, which in CI is the repository's root; absolute if it lies elsewhere.
        lines: its lines; empty for a file whose lines say nothing of single bars.
    """

    uri: str
    lines: tuple[str, ...] = ()

    def region(self, score: str = "") -> Object:
        """The line that sets a score's bar; the first where there is none, or for no score."""
        bar = re.compile(rf"""\s*(["']?)({re.escape(score)}|{re.escape(short_name(score))})\1\s*=""")
        number = next((i for i, line in enumerate(self.lines, 1) if score and bar.match(line)), 1)
        width = len(self.lines[number - 1]) if self.lines else 1
        return {"startLine": number, "startColumn": 1, "endLine": number, "endColumn": max(width, 1) + 1}


def place_of(path: Path) -> Place:
    """The place of a file: an audit.toml with its lines, or a report."""
    resolved = path.resolve()
    try:
        uri = quote(PurePath(resolved.relative_to(Path.cwd())).as_posix())
    except ValueError:
        uri = resolved.as_uri()
    lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".toml" else []
    return Place(uri=uri, lines=tuple(lines))


def sarif(report: AuditReport, verdicts: Sequence[Verdict], place: Place) -> Object:
    """A SARIF log of all verdicts but PASS, and of all health findings.

    Args:
        report: the report.
        verdicts: of its bars.
        place: where the results are shown.
    """
    failed = [verdict for verdict in verdicts if not verdict]
    findings = words.worst_first(report.health)
    rules = {rule["id"]: rule for rule in (*map(_bar_rule, failed), *map(_health_rule, findings))}
    results = [*(_of_verdict(verdict, place) for verdict in failed), *(_of_finding(one, place) for one in findings)]
    results = _fingerprinted(results, place.uri)
    driver = {"name": "vaeaudit", "rules": list(rules.values())}
    return {"$schema": SPECIFICATION, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def write_sarif(path: Path, log: Object) -> None:
    """Write a SARIF log atomically.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(path.parent)
    content = json.dumps(log, indent=1, allow_nan=False) + os.linesep
    write_atomically(path, lambda file: file.write(content.encode()))


def _bar_rule(verdict: Verdict) -> Object:
    score, name = words.label(verdict.score), verdict.score.rpartition(".")[2]
    meaning = MEANINGS.get(name)
    said = " ".join((meaning.says, meaning.caution)).strip() if meaning else f"The score {name}."
    advice = (
        "FAIL: the score surely misses its bar. INVALID: a health finding forbids to rely on the score; see it. "
        "INCONCLUSIVE: its bounds lie on both sides of the bar; measure more pairs."
    )
    return _rule(_bar_id(verdict), f"{score} does not surely clear its bar", said, advice)


def _health_rule(finding: Finding) -> Object:
    check = CHECKS.get(finding.name)
    said = f"{check.measured} {check.threshold}" if check else "A health check of the audit."
    consequence = finding.consequence or (check.consequence if check else "")
    advice = " ".join(text for text in (consequence, finding.remedy) if text)
    return _rule(_health_id(finding), f"Health check {words.clean(finding.name)}", said, advice)


def _bar_id(verdict: Verdict) -> str:
    return f"bar/{words.clean(verdict.score)}"[:_LONGEST_ID]


def _health_id(finding: Finding) -> str:
    return f"health/{words.clean(finding.name)}"[:_LONGEST_ID]


def _rule(identifier: str, title: str, said: str, advice: str) -> Object:
    texts = {"shortDescription": title, "fullDescription": said, "help": advice}
    return {
        "id": identifier,
        **{key: {"text": words.clean(text) or title} for key, text in texts.items()},
        "properties": {"tags": ["robustness", identifier.partition("/")[0]]},
    }


def _of_verdict(verdict: Verdict, place: Place) -> Object:
    region = place.region(verdict.score)
    return _result(_bar_id(verdict), _LEVELS[verdict.outcome], str(verdict), place.uri, region)


def _of_finding(finding: Finding, place: Place) -> Object:
    result = _result(_health_id(finding), _LEVELS[finding.severity], finding.message, place.uri, place.region())
    reason = {"kind": "external", "justification": "suppressed by whoever asked for the audit"}
    return {**result, "suppressions": [reason] if finding.suppressed else []}


def _result(identifier: str, level: str, message: str, uri: str, region: Object) -> Object:
    return {
        "ruleId": identifier,
        "level": level,
        "message": {"text": words.clean(message) or identifier},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
        "suppressions": [],
    }


def _fingerprinted(results: Iterable[Object], uri: str) -> list[Object]:
    """The results with fingerprints: of rule and file, and which of its rule's results in that file each is."""
    told: Counter[str] = Counter()
    found = []
    for result in results:
        identifier = result["ruleId"]
        told[identifier] += 1
        digest = hashlib.sha256(f"{identifier}\n{uri}".encode()).hexdigest()[:16]
        found.append({**result, "partialFingerprints": {"primaryLocationLineHash": f"{digest}:{told[identifier]}"}})
    return found
