"""A page about a paper: written once, as blocks of markdown, charts and viewers, and put out as markdown and as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from vaeaudit.report.pages.document import Section as HtmlSection
from vaeaudit.report.pages.document import document
from vaeaudit.report.pages.viewers import Viewer

from .charts import Chart
from .keeping import put_text

Block = str | Chart | Viewer
"""A string is markdown. A viewer, pictures with a slider, is in the HTML page alone."""
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_INTERVAL = re.compile(r"(\S+) (\[[^\[\]]+\].*)")
_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")
_COLOURS = {
    "holds": "third", "holds partly": "warn", "not settled": "warn", "cannot be told here": "warn",
    "does not hold": "bad", "does not hold here": "bad",
}  # fmt: skip
"""Of verdicts, as the page's style sheet names them."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What stands under one heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page in the order in which it is read; `lead` are paragraphs of markdown."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]

    @property
    def charts(self) -> list[Chart]:
        """Every chart on the page."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Chart)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Cells as a table of markdown below its caption, a sentence without its full stop."""
    lines = [head, ["---"] * len(head), *rows]
    cells = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    return f"{caption}:\n\n{cells}"


def bullets(items: Sequence[str]) -> str:
    """Sentences as a list of markdown."""
    return "\n".join(f"- {item}" for item in items)


def written(page: Page, folder: Path, name: str) -> list[Path]:
    """Write the page and its charts into a folder; returns the files, markdown and HTML first."""
    files = {f"{name}.md": as_markdown(page), f"{name}.html": as_html(page)}
    files |= {f"{chart.name}.svg": chart.file for chart in page.charts}
    return [put_text(folder / file, text) for file, text in files.items()]


def as_markdown(page: Page) -> str:
    """The page in GitHub's markdown, its charts beside it."""
    blocks = [f"# {page.title}", *page.lead]
    for section in page.sections:
        blocks += [f"## {section.title}", *map(_as_markdown, section.blocks)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _as_markdown(block: Block) -> str:
    if isinstance(block, Chart):
        return f"![{block.description}]({block.name}.svg)\n\n*{block.title}*"
    return block if isinstance(block, str) else ""


def as_html(page: Page) -> str:
    """The page as one file, its charts and pictures inside."""
    sections = [
        HtmlSection(title=section.title, parts=[_as_html(block) for block in section.blocks])
        for section in page.sections
    ]
    return document(page.title, [Markup(_MARKDOWN.renderInline(line)) for line in page.lead], sections)


def _as_html(block: Block) -> Markup | Viewer:
    if isinstance(block, Viewer):
        return block
    if isinstance(block, Chart):
        scroll = '<figure><div class="scroll" tabindex="0" role="region" aria-label="{}">{}</div><figcaption>{}</figcaption></figure>'
        return Markup(scroll).format(block.title, block.element, block.title)
    return Markup(_MARKDOWN.renderer.render(list(_dressed(block)), _MARKDOWN.options, {}))


def _dressed(text: str) -> Iterator[Token]:
    """Tokens of markdown: tables that scroll and name their heads, intervals below figures, verdicts in colour."""
    said, column, in_table = "", 0, False
    for token in _MARKDOWN.parse(text):
        if token.type == "table_open":
            in_table = True
            token.attrSet("class", "dense")
            opening = '<div class="scroll" tabindex="0" role="region" aria-label="{}">'
            yield _html(Markup(opening).format(said.rstrip(":") or "Table"))
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("td_open", "td_close") and column == 0:
            token.tag = "th"
        if token.type in ("th_open", "td_open") and token.tag == "th":
            token.attrSet("scope", "col" if token.type == "th_open" else "row")
        column += token.type == "td_close"
        interval = _cut_interval(token) if in_table else None
        if token.type == "inline":
            said = token.content
            _typeset(token)
        yield token
        if interval:
            yield _html(Markup('<span class="interval">{}</span>').format(_MINUS.sub("\N{MINUS SIGN}", interval)))
        if token.type == "table_close":
            in_table = False
            yield _html(Markup("</div>"))


def _cut_interval(token: Token) -> str | None:
    """Take the interval off a cell's figure, to be set below it; None where there is none."""
    children = token.children or []
    found = _INTERVAL.fullmatch(token.content) if len(children) == 1 else None
    if found is None:
        return None
    children[0].content = found[1]
    return found[2]


def _typeset(token: Token) -> None:
    """True minus signs before numbers, verdicts in their colours."""
    children = token.children or []
    for child in children:
        if child.type == "text":
            child.content = _MINUS.sub("\N{MINUS SIGN}", child.content)
    for opening, inside in pairwise(children):
        if opening.type == "strong_open" and inside.content in _COLOURS:
            opening.attrSet("style", f"color: var(--{_COLOURS[inside.content]})")


def _html(source: Markup) -> Token:
    return Token("html_block", "", 0, content=str(source))
