"""Measure the bundled models and put what comes out into the README: its table, its comparison, its picture.

    python scripts/readme.py [--chromium PATH]

Every figure in the README comes from here. The picture is a screenshot of the report page; it is
left alone where no Chromium is given or found.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import vaeaudit
from vaeaudit import Estimate, zoo

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {
    "hinge": "hinge",
    "auddc": "AUDDC",
    "reach": "reach",
    "damage_gain": "damage gain",
    "encoder.spectral_radius": "encoder spectral radius",
    "encoder.condition_number": "encoder condition number",
    "encoder.active_units": "active units",
}


def cell(estimate: Estimate) -> str:
    if estimate.statistic == "count":
        return f"{estimate.value:.0f}"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def comparison(reports: dict[str, vaeaudit.AuditReport]) -> str:
    lines = ["| model | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, report in reports.items():
        lines.append(f"| `{name}` | " + " | ".join(cell(report.score(score)) for score in COLUMNS) + " |")
    return "\n".join(lines)


def put(text: str, mark: str, content: str) -> str:
    replaced, count = re.subn(
        rf"<!-- {mark} -->.*?<!-- /{mark} -->",
        lambda _: f"<!-- {mark} -->\n{content}\n<!-- /{mark} -->",
        text,
        flags=re.DOTALL,
    )
    assert count == 1, f"the README has no place marked {mark}"
    return replaced


def picture(report: vaeaudit.AuditReport, chromium: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = report.save(Path(folder) / "report") / "report.html"
        subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
             f"--user-data-dir={folder}/profile", "--window-size=1000,2450", f"--screenshot={ROOT / 'docs' / 'report.png'}",
             page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    reports = {name: vaeaudit.audit(zoo.load(name), zoo.images(name)) for name in zoo.names()}
    first = next(iter(reports.values()))
    readme = ROOT / "README.md"
    text = put(readme.read_text(), "table", f"```text\n{str(first).rstrip()}\n```")
    readme.write_text(put(text, "zoo", comparison(reports)))
    if options.chromium:
        picture(first, options.chromium)


if __name__ == "__main__":
    main()
