"""A report in a notebook's cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from vaeaudit import AuditReport
from vaeaudit.health import Finding
from vaeaudit.report import words

MakeReport = Callable[..., AuditReport]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202e&"


class Page(HTMLParser):
    """Tags with their attributes, and text, of a fragment whose tags are all closed."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(fragment)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(report: AuditReport) -> Page:
    """What a notebook asks a report for."""
    return Page(report._repr_html_())


def test_every_score_stands_in_it_with_its_figure(make_report: MakeReport) -> None:
    report = make_report()
    text = shown(report).text
    assert report.name in text
    assert words.summary(report) in text
    for name, estimate in report.scores().items():
        assert words.label(name) in text
        assert words.figure(estimate) in text


def test_it_asks_for_nothing_from_outside_and_runs_nothing(make_report: MakeReport) -> None:
    page = shown(make_report())
    assert {tag for tag, _ in page.tags} <= {
        "div", "p", "strong", "em", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "ul", "li", "code",
    }  # fmt: skip
    assert {name for _, attributes in page.tags for name in attributes} <= {"class", "style", "scope"}


def test_it_takes_the_colours_of_the_notebook(make_report: MakeReport) -> None:
    styles = [attributes["style"] or "" for _, attributes in shown(make_report()).tags if "style" in attributes]
    said = {part.strip() for style in styles for part in style.split(";") if "color" in part or "background" in part}
    assert said == {"color: inherit", "background: transparent"}


def test_text_from_outside_stays_text(make_report: MakeReport) -> None:
    finding = Finding(name=HOSTILE, severity="warning", message=HOSTILE, remedy=HOSTILE)
    report = make_report(name=HOSTILE, health=(finding,))
    provenance = dataclasses.replace(report.provenance, preset=HOSTILE)
    report = dataclasses.replace(
        report, provenance=provenance, hinge=dataclasses.replace(report.hinge, unit=HOSTILE)
    )  # fmt: skip
    page = shown(report)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert(1)</script>") == 6
    assert "\u202e" not in page.text


def test_what_is_not_to_be_relied_upon_is_said_in_words(make_report: MakeReport) -> None:
    finding = Finding(name="blind_inputs", severity="invalid", message="Blind.", remedy="See.", affects=("hinge",))
    assert "(unreliable)" not in shown(make_report()).text
    text = shown(make_report(health=(finding,))).text
    assert text.count("(unreliable)") == 1
    assert "invalid blind_inputs: Blind. Remedy: See." in text
    assert "invalid (suppressed) blind_inputs" in shown(
        make_report(health=(dataclasses.replace(finding, suppressed=True),))
    ).text  # fmt: skip


def test_a_hinge_that_is_a_bound_is_shown_as_one(make_report: MakeReport) -> None:
    assert "≥ " in shown(make_report(pairs=10, censored=8)).text


@pytest.mark.parametrize(
    "options", [{"sections": False, "health": ()}, {"pairs": 3, "excluded": 3}], ids=["bare", "none"]
)
def test_a_report_of_little_is_shown_too(make_report: MakeReport, options: dict[str, object]) -> None:
    text = shown(make_report(gallery=False, **options)).text
    assert "Hinge" in text
    assert ("nothing was found that speaks against" in text) == ("health" in options)
    assert ("Pullback scores" in text) == ("sections" not in options)
