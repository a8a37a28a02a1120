"""Pages: templates filled in, that need nothing from outside and run no script but their own."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from vaeaudit.report import words

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
"""Styles stand in attributes of charts; of scripts only the page's own runs, whatever else should get into the page."""


def page(template: str, **values: Any) -> str:
    """A template of this package, filled in; what is not markup is escaped."""
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    filled = environment().get_template(template).render(script=Markup(script), policy=_POLICY.format(digest), **values)
    return words.printable(filled)


@cache
def environment() -> jinja2.Environment:
    """Where the templates of this package are found; what is not markup is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("vaeaudit.report.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _script() -> str:
    return (resources.files("vaeaudit.report.pages") / "templates" / "page.js").read_text(encoding="utf-8")
