"""Markup, control characters and writing that runs backwards in names reach neither the page nor the terminal."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import unicodedata
from collections.abc import Callable

import pytest
from rich.console import Console

from vaeaudit import AuditReport
from vaeaudit.health import Finding
from vaeaudit.report.pages.html import render
from vaeaudit.report.text.terminal import print_report

MakeReport = Callable[..., AuditReport]
NAMES = {
    "markup": '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}{% raw %} '
    "[bold red]VAE[/bold red][link=https://x.invalid]y[/link]",
    "controls": "VAE\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u2066\u200f\r\nPASS hinge\x0b\x85\u2028 \x00\ud800",
    "long": "V" * 100_000,
}


class Tags(html.parser.HTMLParser):
    """The tags of a page, and what its attributes do."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers, self.sources = 0, 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += sum(name.startswith("on") for name, _ in attrs)
        self.sources += sum(name == "src" and not (value or "").startswith("data:") for name, value in attrs)


def _hostile(report: AuditReport, text: str) -> AuditReport:
    """A report that says a text wherever it says anything that came from outside."""
    finding = Finding(name=text, severity="warning", message=text, remedy=text, affects=(text,))
    provenance = dataclasses.replace(
        report.provenance, preset=text, settings={text: text}, environment={text: text}, weights=text, data=text, source=text
    )  # fmt: skip
    return dataclasses.replace(report, name=text, health=(finding,), provenance=provenance)


def _tags(page: str) -> tuple[int, int, int]:
    tags = Tags()
    tags.feed(page)
    return tags.scripts, tags.handlers, tags.sources


@pytest.fixture(scope="module")
def plain_tags(make_report: MakeReport) -> tuple[int, int, int]:
    """Those of a page whose names are plain."""
    return _tags(render(_hostile(make_report(pairs=4, strengths=5, event=(1, 4, 4)), "VAE")))


@pytest.mark.parametrize("kind", NAMES)
def test_a_page_has_no_tags_but_its_own(make_report: MakeReport, plain_tags: tuple[int, int, int], kind: str) -> None:
    report = make_report(pairs=4, strengths=5, event=(1, 4, 4))
    page = render(_hostile(report, NAMES[kind]))
    assert _tags(page) == plain_tags
    assert not [c for c in page if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(page) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200f")
    assert "49" not in page.partition("</title>")[0]


@pytest.mark.parametrize("kind", NAMES)
def test_a_terminal_shows_printable_characters_only(make_report: MakeReport, kind: str) -> None:
    report = _hostile(make_report(pairs=4, strengths=5, event=(1, 4, 4)), NAMES[kind])
    for console in (Console(file=io.StringIO(), width=80), Console(file=io.StringIO(), width=80, color_system=None)):
        print_report(report, console)
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert not [c for c in shown if not c.isprintable() and c != "\n"]
        if kind == "markup":
            assert "[bold red]VAE" in shown
