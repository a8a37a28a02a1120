"""Links from pages to files of the repository that are no pages: files are offered for download, folders are named.

GitHub shows the same pages with the same links, so they stay as they are written there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class NameFolders(SphinxTransform):
    """Take the link off every reference to a folder, which a site cannot show."""

    default_priority = 5

    def apply(self, **_: Any) -> None:
        """Leave the words of the link."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for link in list(self.document.findall(addnodes.pending_xref)):
            target = link.get("reftarget", "")
            if link.get("reftype") == "myst" and target and (here / target).is_dir():
                link.replace_self(nodes.inline("", "", *link.children))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_transform(NameFolders)
    return {"parallel_read_safe": True}
