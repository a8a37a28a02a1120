"""Text of one's own in markdown, set as a report sets its tables and figures; HTML in it is shown, not obeyed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from vaeaudit.errors import DataError

Colour = Literal["accent", "second", "third", "fourth", "fifth", "sixth", "bad", "warn", "muted"]
"""A colour of the pages' style sheet."""
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_INTERVAL = re.compile(r"(\S+) (\[[^\[\]]+\].*)")
_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")
_MARKUP = re.compile(r"[\\`*\[\]~$]|(?<![^\W_])_|_(?![^\W_])|<(?=[a-zA-Z/!?])|&(?=#?\w+;)")
"""What begins or ends markup in the middle of a line, GitHub's and MyST's own included; more is left as it reads best."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Cells as a table of markdown below its caption.

    Args:
        head: one cell above each column.
        rows: as many cells each, of inline markdown; a line break counts as a space.
        caption: a sentence without its full stop.

    Raises:
        DataError: a row of another length, whose last cells markdown would leave out.
    """
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise DataError(f"row {number} of the table {caption!r} has {len(row)} cells below {len(head)} heads")
    lines = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in (head, ["---"] * len(head), *rows))
    return f"{caption}:\n\n{lines}"


def _cell(text: str) -> str:
    return " ".join(text.splitlines()).replace("|", r"\|")


def unmarked(text: str) -> str:
    """Text that is no markdown, such as a title, as one line of markdown that shows it as it is."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def bullets(items: Sequence[str]) -> str:
    """Sentences as a list of markdown."""
    return "\n".join(f"- {item}" for item in items)


def line(text: str) -> Markup:
    """One line of markdown, without a paragraph around it."""
    return Markup(_MARKDOWN.renderInline(text))


def rendered(text: str, colours: Mapping[str, Colour] | None = None) -> Markup:
    """Blocks of markdown: tables scroll and are named by the paragraph above, an interval stands below its figure.

    Args:
        text: CommonMark, and tables.
        colours: of words that stand alone in bold, such as verdicts.
    """
    return Markup(_MARKDOWN.renderer.render(list(_dressed(text, colours or {})), _MARKDOWN.options, {}))


def _dressed(text: str, colours: Mapping[str, Colour]) -> Iterator[Token]:
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
            _typeset(token, colours)
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


def _typeset(token: Token, colours: Mapping[str, Colour]) -> None:
    """True minus signs before numbers, and the colours of words in bold."""
    children = token.children or []
    for child in children:
        if child.type == "text":
            child.content = _MINUS.sub("\N{MINUS SIGN}", child.content)
    for opening, inside in pairwise(children):
        if opening.type == "strong_open" and inside.content in colours:
            opening.attrSet("style", f"color: var(--{colours[inside.content]})")


def _html(source: Markup) -> Token:
    return Token("html_block", "", 0, content=str(source))
