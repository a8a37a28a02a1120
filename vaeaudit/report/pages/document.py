"""Pages of one's own text, charts and pictures, in the manner of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vaeaudit.report import words
from vaeaudit.report.pages.charts import Chart
from vaeaudit.report.pages.page import page
from vaeaudit.report.pages.viewers import Viewer


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page under a heading.

    Attributes:
        title: the heading.
        parts: from top to bottom: markup as it is, text that is escaped, charts, and pictures with a slider.
    """

    title: str
    parts: Sequence[str | Markup | Chart | Viewer]


def document(title: str, lead: Sequence[str | Markup], sections: Sequence[Section]) -> str:
    """A page in one file that needs nothing from outside, and says all without its script.

    Args:
        title: heading of the page.
        lead: paragraphs below it; what is not `Markup` is escaped.
        sections: what follows, with a table of contents where there are more than two.
    """
    return page("document.html.j2", title=words.clean(title), lead=lead, sections=sections)
