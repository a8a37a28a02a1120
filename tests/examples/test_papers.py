"""A page about a paper says the same in markdown and in HTML, and what was kept is not made again."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from torch import nn

from vaeaudit.report.pages.viewers import Viewer


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    for part in ("charts", "claims", "keeping", "page"):
        module = importlib.import_module(f"examples.papers.{part}")
    return importlib.import_module(module.__package__ or "")


def test_a_page_says_the_same_in_both_forms(papers: ModuleType, tmp_path: Path) -> None:
    page = papers.page
    chart = papers.charts.drawn(
        "t.a-chart", "Seen < shown", 'A "line".', lambda axes: axes[0, 0].plot([0, 1]), columns=1, height=2
    )
    viewer = Viewer(name="pair-1", caption="Pair 1", control="Strength", columns=(), frames=("C = 1",), first=0)
    blocks = [
        "`x` and [z](u.md), -0.5 of a-b",
        page.table(["a|b", "c"], [["1 & 2", "-3 [-4, 5], n = 6"]], "Two"),
        chart,
        viewer,
    ]
    files = page.written(
        page.Page(title="T", lead=["See `t.json`."], sections=[page.Section(title="A < B", blocks=blocks)]),
        tmp_path,
        "t",
    )
    assert [file.name for file in files] == ["t.md", "t.html", "t.a-chart.svg"]
    assert files[0].read_text().split("\n\n") == [
        "# T", "See `t.json`.", "## A < B", "`x` and [z](u.md), -0.5 of a-b", "Two:",
        "| a/b | c |\n| --- | --- |\n| 1 & 2 | -3 [-4, 5], n = 6 |", '![A "line".](t.a-chart.svg)', "*Seen < shown*\n",
    ]  # fmt: skip
    html = files[1].read_text()
    for part in (
        "See <code>t.json</code>.", ">A &lt; B</h2>", '<a href="u.md">z</a>, −0.5 of a-b', 'aria-label="Two"',
        '<th scope="col">a/b</th>', '<th scope="row">1 &amp; 2</th>', '<td>−3<span class="interval">[−4, 5], n = 6</span></td>',
        "<figcaption>Seen &lt; shown</figcaption>", 'aria-label="A &quot;line&quot;."', 'id="pair-1-control"',
    ):  # fmt: skip
        assert part in html
    assert "`" not in html[: html.index("<script>")]


def test_markup_in_the_text_of_a_page_is_shown_and_not_obeyed(papers: ModuleType) -> None:
    page = papers.page
    hostile = "<img src=x onerror=alert(1)>"
    claim = papers.claims.Claim(says=hostile, verdict="holds", shown=hostile, source=hostile)
    blocks = [hostile, page.table([hostile], [[hostile]], hostile), papers.claims.listed([claim])]
    html = page.as_html(page.Page(title=hostile, lead=[hostile], sections=[page.Section(title=hostile, blocks=blocks)]))
    assert "<img" not in html


def test_claims_are_listed_with_their_verdicts_and_counted(papers: ModuleType) -> None:
    claims = papers.claims
    found = [
        claims.Claim(says="It is.", verdict="holds", shown="by 2 [1, 3]", source="the paper"),
        claims.Claim(says="It is not.", verdict="does not hold", shown="By 4."),
    ]
    assert claims.listed(found) == (
        "- **holds**: It is. (the paper)\n\n  By 2 [1, 3].\n- **does not hold**: It is not.\n\n  By 4."
    )
    assert claims.counted(found, ("holds", "not settled")) == "holds: 1, not settled: 0"
    page = papers.page
    html = page.as_html(
        page.Page(title="T", lead=[], sections=[page.Section(title="S", blocks=[claims.listed(found)])])
    )
    assert '<strong style="color: var(--third)">holds</strong>: It is. (the paper)' in html
    assert '<strong style="color: var(--bad)">does not hold</strong>' in html
    assert "interval" not in html[html.index("<main>") :], "an interval in a sentence stays in its line"


def test_a_chart_stands_alone_and_in_a_page(papers: ModuleType) -> None:
    def draw(axes: np.ndarray) -> None:
        for axis in axes[0]:
            axis.plot([1, 10, 100], [1, 2, 3], color=papers.charts.INK)
        papers.charts.logarithmic(axes[0, 1], "x")

    chart = papers.charts.drawn("name.part", "T", "D & d", draw, height=2)
    assert "<title>D &amp; d</title>" in chart.file
    assert papers.charts.COLOURS[papers.charts.INK] in chart.file
    assert "var(--ink)" in chart.element
    assert ">100</text>" in chart.element
    assert "mathdefault" not in chart.element
    assert chart == papers.charts.drawn("name.part", "T", "D & d", draw, height=2), "drawn again it is the same"


def test_what_is_kept_is_not_made_again(papers: ModuleType, tmp_path: Path) -> None:
    keeping, made = papers.keeping, []

    def trained() -> nn.Module:
        made.append("model")
        return nn.Linear(2, 1)

    def measured() -> dict[str, np.ndarray]:
        made.append("arrays")
        return {"x": np.arange(3)}

    def found() -> list[int]:
        made.append("json")
        return [1, 2]

    first = keeping.kept_model(nn.Linear(2, 1), tmp_path / "a" / "model.safetensors", trained)
    again = keeping.kept_model(nn.Linear(2, 1), tmp_path / "a" / "model.safetensors", trained)
    assert bool((first.weight == again.weight).all())
    assert not again.training
    for _ in range(2):
        assert keeping.kept_arrays(tmp_path / "b" / "x.npz", measured)["x"].tolist() == [0, 1, 2]
        assert keeping.kept_json(tmp_path / "c" / "x.json", found) == [1, 2]
    assert made == ["model", "arrays", "json"]


def test_a_measurement_that_is_interrupted_leaves_nothing_behind(papers: ModuleType, tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    for keep, file in (
        (papers.keeping.kept_arrays, tmp_path / "x.npz"),
        (papers.keeping.kept_json, tmp_path / "x.json"),
    ):
        with pytest.raises(KeyboardInterrupt):
            keep(file, interrupted)
    assert not list(tmp_path.iterdir())
