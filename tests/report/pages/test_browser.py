"""Pages in a real headless browser: by keyboard, in the dark, on a narrow screen, without scripts, with 1,000 pairs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vaeaudit.report.comparing.comparison import compare_all
from vaeaudit.report.comparing.leaderboard import leaderboard, read_reports
from vaeaudit.report.pages.comparison import render_comparison
from vaeaudit.report.pages.html import render
from vaeaudit.report.pages.leaderboard import render_leaderboard

from ..conftest import INVALID, WARNING, MakeReport

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = ("report", "comparison", "leaderboard")
NAMED_ROLES = {"button", "slider", "searchbox", "link", "region", "table", "image", "DisclosureTriangle"}
LEAST_CONTRAST = 4.5
CONTRASTS = """() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour.rgb;
    }
    throw new Error("no background");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const text = luminance(parse(element.closest("svg") ? style.fill : style.color).rgb);
    const back = luminance(behind(element));
    found.push([(Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05), walker.currentNode.data.trim()]);
  }
  return found;
}"""
Opened = Callable[..., Any]


def _required() -> bool:
    return os.environ.get("VAEAUDIT_REQUIRE_BROWSER") == "1"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, started once; without it these tests skip, unless VAEAUDIT_REQUIRE_BROWSER=1."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = f"no browser: none of {', '.join(NAMES)} is on the PATH"
        pytest.fail(reason) if _required() else pytest.skip(reason)
    if _required():
        from playwright import sync_api
    else:
        sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page of each kind, and one of 1,000 pairs; the names are hostile."""
    root = tmp_path_factory.mktemp("pages")
    report = make_report(
        name="<img src=x onerror=alert(1)>", pairs=30, censored=2, excluded=1, health=(WARNING, INVALID)
    )
    other = make_report(name="other", pairs=30, shift=0.2)
    (root / "report.html").write_text(render(report))
    compared = [other, make_report(pairs=30), report]
    (root / "comparison.html").write_text(render_comparison(compared, compare_all(compared)))
    for name, saved in {"one": report, "two": other, "three": make_report(pairs=30)}.items():
        saved.save(root / "reports" / name, page=False)
    board = leaderboard(*read_reports(root / "reports"))
    (root / "leaderboard.html").write_text(render_leaderboard(board, root / "reports", root))
    (root / "many.html").write_text(render(make_report(pairs=1000, sections=False, censored=40, excluded=3)))
    return root


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Opened]:
    """Opens a page by its name, and notes in `page.faults` whatever it complains about or asks the network for."""
    contexts = []

    def open_(name: str, *, width: int = 1100, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        address = (folder / f"{name}.html").as_uri()
        page.on("request", lambda request: request.url in (address,) or _note(page.faults, request.url))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()


def _note(faults: list[str], url: str) -> None:
    if not url.startswith("data:"):
        faults.append(url)


@pytest.mark.parametrize("name", [*PAGES, "many"])
def test_a_page_loads_without_complaint_and_asks_for_nothing(opened: Opened, name: str) -> None:
    page = opened(name)
    assert page.faults == []
    assert page.locator("h1").count() == 1


def test_a_script_that_got_into_the_page_does_not_run(opened: Opened, folder: Path) -> None:
    source = (folder / "report.html").read_text()
    injected = source.replace(
        "</main>", "<script>document.title = 'owned'</script><img src=x onerror='document.title=1'></main>"
    )
    (folder / "injected.html").write_text(injected)
    page = opened("injected")
    assert page.title().startswith("<img src=x onerror=alert(1)>")
    assert page.locator(".live").count() == 6


def _shift(film: Any) -> float:
    return float(film.evaluate("e => new DOMMatrix(getComputedStyle(e).transform).e"))


def test_arrow_keys_move_a_slider_its_pictures_and_what_it_says(opened: Opened) -> None:
    page = opened("report")
    viewer = page.locator(".viewer").first
    slider, reading, films = viewer.get_by_role("slider"), viewer.locator(".reading"), viewer.locator(".film img")
    side = films.first.evaluate("e => e.parentElement.getBoundingClientRect().width")
    slider.focus()
    for key, place in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 4)):
        slider.press(key)
        said = viewer.locator(".frames li").nth(place).text_content()
        assert said.startswith("C = ")
        assert (slider.get_attribute("aria-valuetext"), reading.text_content()) == (said, said)
        for film in films.all():
            assert _shift(film) == pytest.approx(-place * side)
            assert film.get_attribute("alt").endswith(said)
    assert films.count() == 4


def test_a_slider_starts_where_the_curve_saturates(opened: Opened, make_report: MakeReport) -> None:
    report = make_report(name="plain", pairs=30, censored=2, excluded=1)
    assert report.gallery is not None
    page = opened("report")
    for pair in report.gallery.pairs:
        distortion = report.curves.distortion[pair][report.gallery.strengths][::-1]
        hinge = report.curves.hinge[pair]
        expected = next((i for i, x in enumerate(distortion) if x >= hinge), len(distortion) - 1)
        assert page.locator(f"#pair-{pair} input").input_value() == str(expected)


def _column(page: Any, place: int) -> list[str]:
    texts: list[str] = page.locator("#pair-table tbody tr").evaluate_all(
        "(rows, place) => rows.map(r => r.cells[place].dataset.key ?? r.cells[place].textContent)", place
    )
    return texts


def test_a_table_of_a_thousand_pairs_is_sorted_by_keyboard_and_missing_figures_stay_last(opened: Opened) -> None:
    page = opened("many")
    head = page.locator("#pair-table thead th", has_text="AUDDC")
    place = head.evaluate("e => e.cellIndex")
    for key, said, turned in (("Enter", "ascending", 1), ("Space", "descending", -1)):
        head.get_by_role("button").press(key)
        assert head.get_attribute("aria-sort") == said
        keys = _column(page, place)
        figures = [float(one) for one in keys if one.replace(".", "").isdigit()]
        assert len(keys) == 1000
        assert figures == sorted(figures)[::turned]
        assert not any(one.replace(".", "").isdigit() for one in keys[len(figures) :])
        assert len(figures) == 997
    assert page.locator("#pair-table [aria-sort]").count() == 1


def test_a_filter_keeps_what_it_asks_for_and_says_how_many(opened: Opened) -> None:
    page = opened("many")
    field = page.get_by_role("searchbox", name="Show pairs with")
    visible = page.locator("#pair-table tbody tr:visible")
    field.fill("hinge < 0.4, label = 7")
    keys = visible.evaluate_all(
        "rows => rows.map(r => [Number(r.cells[6].dataset.key ?? r.cells[6].textContent), r.cells[3].textContent])"
    )
    assert keys
    assert all(hinge < 0.4 and label == "7" for hinge, label in keys)
    assert page.locator("#pairs ~ .filter [role=status]").text_content() == f"{len(keys)} of 1000 rows"
    field.fill("excluded")
    assert visible.count() == 3
    field.fill("colour < 3")
    assert page.locator("#pairs ~ .filter [role=status]").text_content() == "No column is called colour."
    field.fill("")
    assert visible.count() == 1000


def test_a_pair_leads_to_its_pictures(opened: Opened) -> None:
    page = opened("report")
    page.locator("#pair-table a", has_text="28").click()
    assert page.locator("#pair-28").evaluate("e => e.getBoundingClientRect().top >= 0")
    assert page.url.endswith("#pair-28")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_text_stands_out_from_its_background(opened: Opened, name: str, scheme: str) -> None:
    page = opened(name, color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [one for one in found if one[0] < LEAST_CONTRAST] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_screen_needs_no_scrolling_sideways(opened: Opened, name: str) -> None:
    page = opened(name, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for viewer in page.locator(".viewer").all()[:2]:
        assert viewer.evaluate("e => e.querySelector('table').scrollWidth <= e.clientWidth")


@pytest.mark.parametrize("name", PAGES)
def test_every_control_picture_and_landmark_has_a_name(opened: Opened, name: str) -> None:
    page = opened(name)
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes if not node["ignored"]
    ]
    known = {role for role, _ in roles}
    assert {"region", "table", "button" if name != "comparison" else "searchbox", "main"} <= known
    assert [role for role, said in roles if role in NAMED_ROLES and not said] == []
    if name == "report":
        sliders = [said for role, said in roles if role == "slider"]
        assert len(sliders) == len(set(sliders)) == 6


@pytest.mark.parametrize("name", PAGES)
def test_all_controls_are_reached_by_tab_and_show_it(opened: Opened, name: str) -> None:
    page = opened(name)
    controls = page.locator("a:visible, button:visible, input:visible, summary:visible").count()
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        place, outline = page.evaluate(
            "() => [[...document.querySelectorAll('a, button, input, summary')].indexOf(document.activeElement),"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
        if place in reached or page.evaluate("document.activeElement === document.body"):
            break
        reached |= {place} - {-1}
    assert len(reached) == controls


def test_without_scripts_the_page_says_and_shows_the_same(opened: Opened) -> None:
    page = opened("report", java_script_enabled=False)
    assert page.locator("input:visible").count() == 0
    assert page.locator("#pair-table tbody tr:visible").count() == 30
    viewer = page.locator(".viewer").first
    assert viewer.locator(".frames li:visible").count() == 5
    film, still = (viewer.locator(where).first.bounding_box() for where in (".film img", "td > img"))
    assert film["width"] == pytest.approx(5 * still["width"])


def test_on_paper_no_control_is_left_and_no_table_is_cut(opened: Opened) -> None:
    page = opened("report", width=720)
    page.emulate_media(media="print")
    assert page.locator("input:visible").count() == 0
    assert page.locator(".reading:visible").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert page.locator(".tall").evaluate("e => e.scrollHeight <= e.clientHeight + 1")


def test_a_thousand_pairs_make_a_page_of_bounded_size(opened: Opened, folder: Path) -> None:
    page = opened("many")
    assert page.locator("#pair-table tbody tr").count() == 1000
    assert page.evaluate("document.querySelectorAll('*').length") < 20_000
    assert (folder / "many.html").stat().st_size < 2_000_000
