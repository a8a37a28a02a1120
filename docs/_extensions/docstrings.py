"""Docstrings as they are written: bars are mathematics (`|d|` of a vector), which reStructuredText takes for substitutions."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE_OR_BAR = re.compile(r"(`[^`]*`)|\|")


def escape_bars(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Escape every bar outside code, in place."""
    text = _CODE_OR_BAR.sub(lambda found: found[1] or r"\|", "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", escape_bars)
    return {"parallel_read_safe": True}
