"""Pages of one's own text look and behave like a report's."""

from __future__ import annotations

from markupsafe import Markup

from vaeaudit.report.pages.document import Section, document
from vaeaudit.report.pages.viewers import Column, Viewer

VIEWER = Viewer(
    name="pair-1", caption="Pair 1", control="Strength", frames=("weak", "strong"), first=1,
    columns=(Column(title="Original", above=Markup("<i>above</i>"), below=Markup("")),),
)  # fmt: skip


def test_text_is_escaped_and_markup_taken_as_it_is() -> None:
    page = document("A & B", ["x < y", Markup("<b>bold</b>")], [Section(title="<S>", parts=["1 < 2", Markup("<hr>")])])
    for part in ("<h1>A &amp; B</h1>", "x &lt; y", "<b>bold</b>", ">&lt;S&gt;</h2>", "1 &lt; 2", "<hr>"):
        assert part in page
    assert "<nav" not in page


def test_pictures_have_a_slider_that_a_keyboard_reaches_and_that_waits_for_its_script() -> None:
    page = document("T", [], [Section(title="S", parts=[VIEWER])])
    assert '<input type="range" id="pair-1-control" min="0" max="1" step="1" value="1"' in page
    assert '<label for="pair-1-control">Strength</label>' in page
    assert '<div class="control" hidden>' in page
    assert "<li>weak</li><li>strong</li>" in page, "without its script all is said"
    assert "<i>above</i>" in page


def test_a_long_page_has_contents_that_lead_to_every_section() -> None:
    page = document("T", [], [Section(title=f"Part {i}", parts=[]) for i in range(3)])
    for i in range(1, 4):
        assert f'href="#part-{i}"' in page
        assert f'id="part-{i}"' in page
