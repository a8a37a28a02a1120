"""Every block is of a kind that is run, or says to the reader why it is not; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MOST_NOT_RUN = 4
"""Blocks that say why they are not run; one more needs a better reason than the last."""
RUN = {"python", "sh", "toml", "yaml"}
SHOWN = {"text", "{toctree}", "{eval-rst}", "{include}", "{from-code}"}
"""What a command prints, and what the site's generator reads."""


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_block_names_a_language_that_is_run() -> None:
    opening = re.compile(r"^ *(```+)(?P<language>[^\n`]*)\n.*?^ *\1 *$", re.MULTILINE | re.DOTALL)
    for page in pages():
        for block in opening.finditer(page.read_text(encoding="utf-8")):
            language = (block["language"].split() or [""])[0]
            assert language in RUN | SHOWN, (
                f"{page.relative_to(ROOT)}: nobody runs a block of {language or 'no language'!r}"
            )


def test_blocks_that_are_not_run_say_why_and_are_few(all_blocks: list[Any]) -> None:
    excused = {block.place: block.excuse for block in all_blocks if block.excuse}
    assert all(len(reason.split()) >= 3 for reason in excused.values()), excused
    assert len(excused) <= MOST_NOT_RUN, excused


def test_links_to_files_lead_to_files() -> None:
    link = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
    for page in pages():
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in link.findall(prose):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target} is not there"
