"""Write the checks of docs/health.md from the catalogue, which reports quote too; what stands above them is left alone.

python scripts/write_health_page.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from vaeaudit.health import CHECKS, Check

PAGE = Path(__file__).parents[1] / "docs" / "health.md"
TITLE = "## The checks\n"
WIDTH = 128


def lines_of(name: str, check: Check) -> Iterator[str]:
    spoils = f"; where severe it spoils {check.spoils}." if check.spoils else "."
    yield from ("", f"### {name}", "", f"*{check.severity}*{spoils}", "")
    parts = ("measured", "threshold", "cause", "consequence", "remedy")
    for part in parts:
        text = f"- **{part.capitalize()}.** {getattr(check, part)}"
        yield textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def main() -> None:
    above, title, _ = PAGE.read_text(encoding="utf-8").partition(TITLE)
    checks = [line for name, check in CHECKS.items() for line in lines_of(name, check)]
    PAGE.write_text("\n".join([above + title.rstrip("\n"), *checks]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
