"""An article says the same in markdown and as a page, and shows the markup in its text instead of obeying it."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from vaeaudit import DataError, OptionError, StorageError
from vaeaudit.report.pages.article import Article
from vaeaudit.report.pages.charts import chart
from vaeaudit.report.pages.document import Section
from vaeaudit.report.pages.markdown import bullets, rendered, table
from vaeaudit.report.pages.viewers import Viewer


def _article() -> Article:
    drawn = chart("t.a-chart", "Seen < shown", 'A "line".', lambda axes: axes[0, 0].plot([0, 1]), height=2)
    viewer = Viewer(name="pair-1", caption="Pair 1", control="Strength", columns=(), frames=("C = 1",), first=0)
    cells = table(["a|b", "c"], [["1 & 2", "-3 [-4, 5], n = 6"]], "Two")
    parts = ["`x` and [z](u.md), -0.5 of a-b", cells, drawn, viewer, Markup("<hr>")]
    return Article(title="T", lead=["See `t.json`."], sections=[Section(title="A < B", parts=parts)])


def test_an_article_says_the_same_in_both_forms(tmp_path: Path) -> None:
    files = _article().save(tmp_path / "new", "t")
    assert [file.name for file in files] == ["t.md", "t.html", "t.a-chart.svg"]
    assert files[0].read_text().split("\n\n") == [
        "# T", "See `t.json`.", "## A < B", "`x` and [z](u.md), -0.5 of a-b", "Two:",
        "| a\\|b | c |\n| --- | --- |\n| 1 & 2 | -3 [-4, 5], n = 6 |", '![A "line".](t.a-chart.svg)', "*Seen < shown*\n",
    ]  # fmt: skip
    html = files[1].read_text()
    for part in (
        "See <code>t.json</code>.", ">A &lt; B</h2>", '<a href="u.md">z</a>, −0.5 of a-b', 'aria-label="Two"',
        '<th scope="col">a|b</th>', '<th scope="row">1 &amp; 2</th>', '<td>−3<span class="interval">[−4, 5], n = 6</span></td>',
        "<figcaption>Seen &lt; shown</figcaption>", 'aria-label="Seen &lt; shown"', 'aria-label="A &quot;line&quot;."',
        'id="pair-1-control"', "<hr>",
    ):  # fmt: skip
        assert part in html
    assert "`" not in html[: html.index("<script>")]


@pytest.mark.parametrize(
    "text",
    ["X in [0, 1] ]", "a] (b.svg) [c", "*a* _b_ __c__ snake_case", "`a` \\\\ \\]", "<b> &lt; 2 < 3", "two\n\nlines", "~~a~~ $b$"],
)  # fmt: skip
def test_titles_and_descriptions_are_no_markup_in_either_form(text: str) -> None:
    drawn = chart("t", text, text, lambda axes: None, height=1)
    article = Article(title=text, lead=[], sections=[Section(title=text, parts=[drawn])])
    shown = " ".join(text.split())
    title, section, image, caption = [
        token
        for token in MarkdownIt("gfm-like", {"linkify": False}).parse(article.markdown())
        if token.type == "inline"
    ]
    assert [_read(token.children) for token in (title, section, caption)] == [shown] * 3
    assert [token.type for token in caption.children or [] if token.nesting] == ["em_open", "em_close"]
    assert [token.type for token in image.children or []] == ["image"]
    assert _read((image.children or [])[0].children) == shown


def _read(tokens: list[Token] | None) -> str:
    return "".join(token.content for token in tokens or [])


def test_markup_in_text_is_shown_and_not_obeyed() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    parts = [hostile, table([hostile], [[hostile]], hostile), bullets([f"**{hostile}**"])]
    page = Article(title=hostile, lead=[hostile], sections=[Section(title=hostile, parts=parts)]).html()
    assert "<img" not in page
    assert "[x](javascript:alert(1))" in rendered("[x](javascript:alert(1))")


def test_words_in_bold_take_their_colours_and_an_interval_in_a_sentence_stays_in_its_line() -> None:
    text = rendered("- **fails**: by 2 [1, 3]\n- **fails** not, **holds**", {"fails": "bad"})
    assert text.count('<strong style="color: var(--bad)">fails</strong>') == 2
    assert "<strong>holds</strong>" in text
    assert "interval" not in text


def test_a_line_break_in_a_cell_does_not_end_its_row() -> None:
    assert table(["a", "b"], [["1\n2", "3"]], "T").splitlines()[-1] == "| 1 2 | 3 |"


@pytest.mark.parametrize("row", [["1"], ["1", "2", "3"]])
def test_a_row_that_its_heads_do_not_name_is_refused(row: list[str]) -> None:
    with pytest.raises(DataError, match=rf"row 2 .*{len(row)} cells below 2 heads"):
        table(["a", "b"], [["1", "2"], row], "T")


@pytest.mark.parametrize("other", ["t.a", "t-a"])
def test_charts_that_would_share_a_file_or_an_id_are_refused(other: str) -> None:
    drawn = [chart(name, "T", "D", lambda axes: None, height=1) for name in ("t.a", other)]
    with pytest.raises(OptionError, match="names of their own, got t-a twice"):
        Article(
            title="T",
            lead=[],
            sections=[Section(title=title, parts=[one]) for title, one in zip("ab", drawn, strict=True)],
        )


def test_a_colour_that_pages_do_not_have_is_refused() -> None:
    with pytest.raises(OptionError, match=r"colours expects accent, .* got 'red'"):
        Article(title="T", lead=[], sections=[], colours={"fails": "red"})  # type: ignore[dict-item]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="nothing can be written"):
        _article().save(tmp_path / "file", "t")
