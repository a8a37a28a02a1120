"""An article of one's own: written once, in markdown, charts and pictures, and put out as markdown and as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, get_args

from markupsafe import Markup

from vaeaudit.errors import OptionError, brief
from vaeaudit.files import make_folder, write_atomically
from vaeaudit.report.pages.charts import Chart
from vaeaudit.report.pages.document import Section, document
from vaeaudit.report.pages.markdown import Colour, line, rendered, unmarked
from vaeaudit.report.pages.viewers import Viewer


@dataclass(frozen=True, kw_only=True)
class Article:
    """What is to be read, from top to bottom.

    Attributes:
        title: the heading.
        lead: paragraphs of markdown below it.
        sections: what follows; their text is markdown (`table` and `bullets` of `markdown` write some). Viewers, pictures
            with a slider, and `Markup` are in the page alone. Charts and viewers have names of their own.
        colours: of words in bold, such as verdicts.

    Raises:
        OptionError: charts or viewers that share a name, or a colour that pages do not have.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    colours: Mapping[str, Colour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = (part for section in self.sections for part in section.parts if isinstance(part, (Chart, Viewer)))
        names = [part.name.replace(".", "-") for part in parts]  # as in the ids of the page
        if shared := {name for name in names if names.count(name) > 1}:
            raise OptionError(f"charts and viewers expect names of their own, got {', '.join(sorted(shared))} twice")
        for colour in self.colours.values():
            if colour not in get_args(Colour):
                raise OptionError(f"colours expects {', '.join(get_args(Colour))}, got {brief(colour)}")

    @property
    def charts(self) -> list[Chart]:
        """Every chart, from top to bottom."""
        return [part for section in self.sections for part in section.parts if isinstance(part, Chart)]

    def markdown(self) -> str:
        """In GitHub's markdown, its charts in files beside it."""
        blocks = [f"# {unmarked(self.title)}", *self.lead]
        for section in self.sections:
            blocks += [f"## {unmarked(section.title)}", *map(_as_markdown, section.parts)]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def html(self) -> str:
        """As one file that needs nothing from outside, charts and pictures inside."""
        sections = [
            replace(section, parts=[self._as_html(part) for part in section.parts]) for section in self.sections
        ]
        return document(self.title, [line(paragraph) for paragraph in self.lead], sections)

    def _as_html(self, part: str | Markup | Chart | Viewer) -> Markup | Chart | Viewer:
        return part if isinstance(part, (Markup, Chart, Viewer)) else rendered(part, self.colours)

    def save(self, folder: str | os.PathLike[str], name: str) -> list[Path]:
        """Write it and its charts into a folder; returns the files, markdown and HTML first.

        Raises:
            StorageError: the folder cannot be written to.
        """
        files = {f"{name}.md": self.markdown(), f"{name}.html": self.html()}
        files |= {f"{chart.name}.svg": chart.file for chart in self.charts}
        place = Path(folder)
        make_folder(place)
        for file, text in files.items():
            write_atomically(place / file, partial(_put, text))
        return [place / file for file in files]


def _as_markdown(part: str | Markup | Chart | Viewer) -> str:
    if isinstance(part, Chart):
        return f"![{unmarked(part.description)}]({part.name}.svg)\n\n*{unmarked(part.title)}*"
    return "" if isinstance(part, (Markup, Viewer)) else part


def _put(text: str, file: IO[bytes]) -> None:
    file.write(text.encode())
