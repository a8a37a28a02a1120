"""The page is complete, self-contained, safe and accessible."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from vaeaudit.report.meanings import MEANINGS
from vaeaudit.report.pages import charts
from vaeaudit.report.pages.html import render
from vaeaudit.report.words import number

from ..conftest import INVALID, NO_FIGURE, WARNING, MakeReport

DRAWN = charts._drawn
EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "br", "img", "link", "input", "hr"}
VARIANTS: dict[str, dict[str, Any]] = {
    "usual": {},
    "troubled": {"censored": 13, "excluded": 2, "health": (WARNING, INVALID)},
    "bare": {"pairs": 3, "sections": False, "gallery": False, "health": ()},
    "signals": {"event": (50,), "strengths": 3},
    "colour": {"event": (3, 8, 8)},
    "empty": {"pairs": 4, "excluded": 4, "strengths": 1},
    "single": {"pairs": 1, "strengths": 1, "hinge": NO_FIGURE, "gallery": False},
}


class Page(HTMLParser):
    """Elements of a page in order, with their attributes and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += " "
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data

    def named(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(params=VARIANTS, scope="module")
def page(request: pytest.FixtureRequest, make_report: MakeReport) -> Page:
    return Page(render(make_report(**VARIANTS[request.param])))


@pytest.fixture(autouse=True)
def blank_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes most of the time; `page` has been drawn before, and what charts show is tested in `test_plots.py`."""
    monkeypatch.setattr(charts, "_drawn", lambda *_: "<svg></svg>")


def test_every_element_is_closed_where_it_belongs(page: Page) -> None:
    assert (page.open, page.unbalanced) == ([], [])


def test_ids_are_unique_and_references_lead_to_them(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]
    references += [a["href"].removeprefix("#") for a in page.named("a", "use") if "href" in a]
    assert len(references) >= 8
    assert set(references) <= set(ids)


def test_headings_skip_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_pictures_and_charts_have_alternative_text(page: Page) -> None:
    assert all(attributes.get("alt") for attributes in page.named("img"))
    assert page.named("svg")
    assert all(a.get("role") == "img" and a.get("aria-label") for a in page.named("svg"))


def test_tables_have_captions_and_header_cells_scopes(page: Page) -> None:
    assert len(page.named("caption")) == len(page.named("table")) > 0
    assert all(attributes.get("scope") in {"row", "col"} for attributes in page.named("th"))


def test_nothing_is_loaded_and_no_script_runs_but_the_pages_own(page: Page) -> None:
    assert page.named("link", "iframe", "object", "base") == []
    assert page.named("script") == [{}]
    for _, attributes in page.elements:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png"))


def test_the_policy_names_the_digest_of_the_pages_own_script_and_no_source(make_report: MakeReport) -> None:
    source = render(make_report(name="</script><script>alert(1)</script>"))
    script = source.partition("<script>")[2].partition("</script>")[0]
    assert "enliven" in script
    policy = next(a["content"] for a in Page(source).named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_no_missing_figure_shows_through(page: Page) -> None:
    assert not re.search(r"\b(nan|inf|None|undefined)\b", page.text)


def test_strings_from_outside_are_escaped_everywhere(make_report: MakeReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "_drawn", DRAWN)
    finding = dataclasses.replace(WARNING, name=EVIL, message=EVIL, remedy=EVIL)
    report = make_report(name=EVIL, health=(finding,))
    provenance = dataclasses.replace(
        report.provenance,
        preset=EVIL,
        settings={EVIL: EVIL, "x": [EVIL]},
        environment={EVIL: EVIL},
        seconds={EVIL: 1.0},
    )
    scores = dataclasses.replace(report.encoder, metric=EVIL)  # type: ignore[type-var]
    hinge = dataclasses.replace(report.hinge, unit=EVIL)
    source = render(dataclasses.replace(report, provenance=provenance, encoder=scores, hinge=hinge))
    page = Page(source)
    assert page.named("script") == [{}]
    assert page.unbalanced == []
    assert page.text.count("<script>alert(1)</script>") >= 12


def test_headline_figures_stand_with_interval_sample_and_direction(make_report: MakeReport) -> None:
    report = make_report()
    hinge = dataclasses.replace(report.hinge, value=0.4321, low=0.4012, high=0.4689)
    text = Page(render(dataclasses.replace(report, hinge=hinge))).text
    assert "Hinge 0.432 distortion 0.401 to 0.469 50 pairs ↑ higher is more robust" in text
    assert "has to cover 43.2 % of the distance" in text


def test_the_frames_of_a_pair_run_from_little_distortion_to_much(make_report: MakeReport) -> None:
    source = render(make_report(pairs=12))
    viewers = source.split('class="viewer"')[1:]
    assert len(viewers) == 6
    for viewer in viewers[:3]:
        frames = re.findall(r"<li>C = [^,]+, distortion ([\d.]+), gap [\d.]+</li>", viewer)
        assert [float(x) for x in frames] == sorted(map(float, frames))
        assert len(frames) == 5
        assert re.findall(r'<th scope="col">([^<]+)', viewer)[:4] == ["Original", "Difference", "Adversarial", "Target"]
        assert 'max="4"' in viewer


def test_a_viewer_of_an_image_names_the_attack_that_was_the_worst_of_all(make_report: MakeReport) -> None:
    report = make_report()
    assert report.worst_case is not None
    figures = report.worst_case.damage.figures.copy()
    figures[2, 1] = 99.0
    family = dataclasses.replace(report.worst_case.damage, figures=figures)
    source = render(dataclasses.replace(report, worst_case=dataclasses.replace(report.worst_case, damage=family)))
    first = source.split('id="image-1"')[1]
    frames = re.findall(r"<li>(L2 budget [^<]+)</li>", first)[:3]
    assert frames[0] == "L2 budget 0.28, moved by 1.01, worst attack random_search"
    assert [frame.endswith("random_search") for frame in frames] == [True] * 3
    alone = render(dataclasses.replace(report, worst_case=None))
    assert "L2 budget 0.28, moved by 1.01</li>" in alone


def test_a_table_says_what_local_geometry_predicts_and_leaves_to_better_attacks(make_report: MakeReport) -> None:
    report = make_report()
    source = render(report)
    text = Page(source).text
    assert "Does local geometry predict the attack?" in text
    body = source.split('id="local"')[1].split("<tbody>")[1].split("</tbody>")[0]
    rows = [row for row in body.split("</tr>") if "<tr>" in row]
    assert report.local is not None
    assert len(rows) == len(report.local.radii)
    assert [row.count('class="interval"') for row in rows] == [4, 4, 6, 6, 6]
    doubted = report.local.distrusted(lambda score: score == "round_trip")
    assert Page(render(dataclasses.replace(report, local=doubted))).text.count("unreliable") == 2 * 5 + 3


def _pair_rows(source: str) -> list[list[str]]:
    body = source.split('id="pair-table"')[1].split("<tbody>")[1].split("</tbody>")[0]
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in body.split("</tr>")
        if "<tr>" in row
    ]


def test_the_pairs_run_from_the_easiest_to_the_excluded(make_report: MakeReport) -> None:
    report = make_report(pairs=12, excluded=2, censored=2)
    hinges = [row[6] for row in _pair_rows(render(report))]
    assert hinges[-2:] == ["excluded", "excluded"]
    assert sum(hinge.startswith("≥ ") for hinge in hinges) == 2
    figures = [float(hinge.removeprefix("≥ ")) for hinge in hinges[:-2]]
    assert figures == sorted(figures)


def test_a_row_holds_the_figures_of_its_pair(make_report: MakeReport) -> None:
    report = make_report(pairs=12)
    curves = report.curves
    row = next(row for row in _pair_rows(render(report)) if row[0] == "7")
    assert row[:5] == ["7", "7", "4", "7", "4"]
    assert row[5] == number(float(curves.spans[7]))
    assert row[6:12] == [
        number(float(values[7]))
        for values in (curves.hinge, curves.auddc, curves.floor, curves.linearity, curves.reach,
                       curves.reconstruction_error)
    ]  # fmt: skip
    assert row[12] == f"{100 * curves.converged[7].mean():.0f} %"


def test_a_report_without_labels_and_distances_has_no_columns_for_them(make_report: MakeReport) -> None:
    report = make_report(pairs=12)
    bare = dataclasses.replace(report, curves=dataclasses.replace(report.curves, labels=None, spans=None))
    source = render(bare)
    assert len(_pair_rows(source)[0]) == 10
    assert "Target label" not in source
    assert "(label" not in source
    assert "original = 7" in source


def test_only_pairs_with_pictures_lead_to_them(make_report: MakeReport) -> None:
    links = re.findall(r'<th scope="row"><a href="#(pair-\d+)">', render(make_report(pairs=12)))
    assert sorted(links) == ["pair-10", "pair-11", "pair-9"]


def test_the_glossary_explains_every_score_and_what_a_small_hinge_is_not(make_report: MakeReport) -> None:
    text = Page(render(make_report())).text
    assert all(meaning.says in text for meaning in MEANINGS.values())
    assert "normalised by the model's own reach" in text


def test_the_run_can_be_repeated_from_the_page(make_report: MakeReport) -> None:
    report = make_report(seed=7)
    text = Page(render(report)).text
    source = report.provenance
    for value in (source.preset, "seed 7", source.weights, source.data, *source.environment.values()):
        assert value in text
    assert all(f"{key} {value}" in text for key, value in source.settings.items())


def test_findings_show_severity_in_words_and_their_remedy(make_report: MakeReport) -> None:
    text = Page(render(make_report(health=(WARNING, INVALID)))).text
    assert text.index("Invalid gradient_masked") < text.index("Warning attack_not_converged")
    assert WARNING.remedy in text
    assert "2 health findings to read before quoting a figure" in text


def test_unreliable_figures_are_marked_and_only_they(make_report: MakeReport) -> None:
    assert "unreliable" not in Page(render(make_report())).text
    text = Page(render(make_report(health=(INVALID,)))).text
    assert text.count("unreliable") == 10  # the hinge, eight scores of the encoder, the explanation


def test_what_was_not_measured_is_said(make_report: MakeReport) -> None:
    text = Page(render(make_report(sections=False, gallery=False))).text
    assert "Damage was not measured." in text
    assert "No pullback spectrum was computed." in text
    assert "local geometry" not in text
    assert "This report holds no pictures." in text


def test_negative_figures_have_a_true_minus_sign(make_report: MakeReport) -> None:
    report = make_report()
    assert report.encoder is not None
    determinant = dataclasses.replace(report.encoder.log_pseudo_determinant, value=-3.25, low=-4.0, high=-2.0)
    scores = dataclasses.replace(report.encoder, log_pseudo_determinant=determinant)
    assert "−3.25 −4.00 to −2.00" in Page(render(dataclasses.replace(report, encoder=scores))).text
