"""The directive `{from-code}`: tables of the reference, written from the code that they describe at every build.

```{from-code} scores
```
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pytest_vaeaudit.options import OPTIONS, Option
from vaeaudit.commands.parser import argument_parser
from vaeaudit.report.meanings import MEANINGS
from vaeaudit.report.schema import json_schema
from vaeaudit.score_names import DIRECTIONS, RANGES, ROOMS, counted
from vaeaudit.spec import PRESETS, Spec

_DIRECTION = {True: "higher", False: "lower", None: "–"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars in a cell are escaped."""
    lines = [tuple(head), ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def scores() -> str:
    """Every score that can be asserted: of the whole model first, then those of a room, which are the same for all."""
    first = ROOMS[0] + "."
    names = [name for name in DIRECTIONS if "." not in name or name.startswith(first)]
    head = ("score", "what it says", "caution", "more robust if", "of each", "range")
    return table(head, (_score_row(name) for name in names))


def _score_row(name: str) -> tuple[str, ...]:
    shown = name.replace(f"{ROOMS[0]}.", "….")
    meaning = MEANINGS[name.rpartition(".")[2]]
    least, most = (f"{end:g}".replace("inf", "∞").replace("-", "−") for end in RANGES[name])
    return (
        f"`{shown}`",
        meaning.says,
        meaning.caution,
        _DIRECTION[DIRECTIONS[name]],
        counted(name)[:-1],
        f"{least}\xa0to\xa0{most}",
    )


def presets() -> str:
    """What each preset measures, from `Spec` and its docstring."""
    meanings = documented(Spec)
    rows = (
        (f"`{name}`", meanings[name], *(_shown(getattr(spec, name)) for spec in PRESETS.values()))
        for name in (field.name for field in dataclasses.fields(Spec))
        if any(getattr(spec, name) != "" for spec in PRESETS.values())
    )
    return table(("setting", "what it is", *(f"`{name}`" for name in PRESETS)), rows)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def documented(kind: type) -> dict[str, str]:
    """What the section "Attributes" of a docstring says of each."""
    lines = (kind.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith(" " * 12) and found:
            found[list(found)[-1]] += " " + line.strip()
        elif ": " in line:
            name, _, says = line.strip().partition(": ")
            found[name] = says
    return found


def options() -> str:
    """The pytest plugin's table of options."""
    rows = ((f"`{option.name}`", option.help, _values(option), _places(option)) for option in OPTIONS.values())
    return table(("option", "what it does", "values", "where"), rows)


def _values(option: Option) -> str:
    if option.flag:
        return "–"
    said = ", ".join(f"`{choice}`" for choice in option.choices) or option.kind.__name__.replace("object", "any")
    return said if option.default in (None, ()) else f"{said}; default: `{option.default}`"


def _places(option: Option) -> str:
    places = {
        "call, marker, audit file": option.test,
        "command line": option.session or option.flag,
        "ini file": option.session and not option.flag,
    }
    return ", ".join(place for place, there in places.items() if there)


def commands() -> str:
    """Every command's own help."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    return "\n\n".join(f"## vaeaudit {name}\n\n```text\n{one.format_help()}```" for name, one in subcommands())


def subcommands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser of every command, by its name."""
    for action in argument_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def schema() -> str:
    """The parts of report.json."""
    properties = json_schema()["properties"]
    rows = ((f"`{name}`", str(one.get("description", ""))) for name, one in properties.items())
    return table(("key", "what it holds"), rows)


WRITERS: dict[str, Callable[[], str]] = {
    "scores": scores,
    "presets": presets,
    "options": options,
    "commands": commands,
    "schema": schema,
}


class FromCode(SphinxDirective):
    """Write what the code says, and parse it as the page itself is."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Nodes of the text."""
        name = self.arguments[0]
        if name not in WRITERS:
            raise self.error(f"from-code expects one of {', '.join(WRITERS)}, got {name!r}")
        return self.parse_text_to_nodes(WRITERS[name](), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("from-code", FromCode)
    return {"parallel_read_safe": True}
