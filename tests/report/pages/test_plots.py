"""The charts draw what the report holds, in the page's colours, the same way every time."""

from __future__ import annotations

import dataclasses
import re
import warnings
import xml.etree.ElementTree as ET
from typing import Any

import matplotlib
import numpy as np
import pytest
from markupsafe import Markup

from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages import plots

from ..conftest import NO_FIGURE, MakeReport

ALL = (plots.tradeoff, plots.spectra, plots.damage)


def _tree(svg: Markup | None) -> ET.Element:
    assert svg is not None
    return ET.fromstring(str(svg).replace("<svg", '<svg xmlns:xlink="x"', 1))


def _words(svg: Markup | None) -> list[str]:
    return ["".join(element.itertext()).strip() for element in _tree(svg).iter("text")]


def _ids(svg: Markup | None) -> list[str]:
    return [element.attrib["id"] for element in _tree(svg).iter() if "id" in element.attrib]


def _lines(svg: Markup | None, prefix: str) -> int:
    group = next(e for e in _tree(svg).iter() if e.attrib.get("id", "").startswith(prefix))
    return len(group.findall(".//path"))


@pytest.mark.parametrize("chart", ALL)
def test_a_chart_takes_every_colour_from_the_page(make_report: MakeReport, chart: object) -> None:
    svg = str(chart(make_report(censored=3)))  # type: ignore[operator]
    assert "var(--accent)" in svg
    assert not re.findall(r"(?:fill|stroke): #\w+", svg)


@pytest.mark.parametrize("chart", ALL)
def test_a_chart_is_the_same_every_time(make_report: MakeReport, chart: object) -> None:
    report = make_report()
    assert chart(report) == chart(report)  # type: ignore[operator]


def test_the_callers_matplotlib_settings_neither_matter_nor_change(make_report: MakeReport) -> None:
    expected = plots.tradeoff(make_report())
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "axes.linewidth": 5}):
        before = dict(matplotlib.rcParams)
        assert plots.tradeoff(make_report()) == expected
        assert dict(matplotlib.rcParams) == before


def test_ids_are_unique_over_all_charts_of_a_page(make_report: MakeReport) -> None:
    ids = [name for chart in ALL for name in _ids(chart(make_report(censored=3)))]
    assert len(ids) > 20
    assert len(ids) == len(set(ids))


def test_references_inside_a_chart_lead_somewhere(make_report: MakeReport) -> None:
    for chart in ALL:
        svg = chart(make_report(censored=3))
        references = re.findall(r'(?:href="|url\()#([^")]+)', str(svg))
        assert references
        assert set(references) <= set(_ids(svg))


def test_a_chart_stands_alone_and_describes_itself(make_report: MakeReport) -> None:
    svg = str(plots.tradeoff(make_report(pairs=50, excluded=2)))
    assert svg.startswith('<svg class="chart" role="img" aria-label="Trade-off curves of 48 pairs')
    assert "viewBox" in svg[:400]
    assert "http" not in svg
    assert "metadata" not in svg


def test_excluded_pairs_are_not_drawn(make_report: MakeReport) -> None:
    report = make_report(pairs=20)
    assert _lines(plots.tradeoff(report), "tradeoff-LineCollection") == 20
    curves = dataclasses.replace(report.curves, excluded=np.arange(20) < 5)
    assert _lines(plots.tradeoff(dataclasses.replace(report, curves=curves)), "tradeoff-LineCollection") == 15


def test_many_pairs_are_thinned_out_evenly(make_report: MakeReport) -> None:
    svg = plots.tradeoff(make_report(pairs=400))
    assert _lines(svg, "tradeoff-LineCollection") == plots.MOST_LINES


def test_censored_hinges_have_a_marker_of_their_own(make_report: MakeReport) -> None:
    assert "not saturated" in _words(plots.tradeoff(make_report(censored=3)))
    assert "not saturated" not in _words(plots.tradeoff(make_report()))


def test_the_median_hinge_is_labelled_and_its_interval_shaded(make_report: MakeReport) -> None:
    report = make_report(hinge=dataclasses.replace(make_report().hinge, value=0.432, low=0.4, high=0.5))
    assert {"median hinge 0.432", "95 % interval"} <= set(_words(plots.tradeoff(report)))


def test_a_hinge_without_an_interval_gets_no_band(make_report: MakeReport) -> None:
    assert "95 % interval" not in _words(plots.tradeoff(make_report(pairs=3)))


def test_zero_and_rounding_noise_eigenvalues_are_dropped() -> None:
    eigenvalues = np.array([[4.0, 1.0, 1e-18, 0.0], [2.0, 0.5, -1e-19, 0.0]])
    index, low, middle, high = plots._band(eigenvalues) or pytest.fail("no band")
    assert index.tolist() == [1, 2]
    assert middle.tolist() == [3.0, 0.75]
    assert (low < middle).all()
    assert (middle < high).all()


@pytest.mark.parametrize("empty", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.zeros((0, 4))])
def test_a_spectrum_without_any_eigenvalue_has_no_band(empty: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    assert plots._band(empty) is None


def test_only_the_spectra_that_were_computed_are_drawn(make_report: MakeReport) -> None:
    words = _words(plots.spectra(make_report(decoder=None)))
    assert {"Encoder", "Round trip"} <= set(words)
    assert "Decoder" not in words


def test_the_budgets_are_the_ticks_of_the_damage_chart(make_report: MakeReport) -> None:
    assert {"0.5", "1", "2", "mean", "95 % interval"} <= set(_words(plots.damage(make_report())))


def test_what_was_not_measured_has_no_chart(make_report: MakeReport) -> None:
    report = make_report(sections=False)
    assert plots.damage(report) is None
    assert plots.spectra(report) is None


def _nothing_finite(report: AuditReport) -> AuditReport:
    nan = np.full_like(report.curves.gap, np.nan)
    return dataclasses.replace(report, hinge=NO_FIGURE, curves=dataclasses.replace(report.curves, gap=nan))


def test_charts_of_odd_reports_keep_their_axes(make_report: MakeReport) -> None:
    odd = [
        make_report(pairs=1),
        make_report(strengths=1),
        make_report(pairs=4, excluded=4),
        _nothing_finite(make_report()),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for report in odd:
            assert "gap to the target's reconstruction" in _words(plots.tradeoff(report))


def test_a_wild_gap_does_not_flatten_the_other_curves(make_report: MakeReport) -> None:
    report = make_report()
    gap = report.curves.gap.copy()
    gap[0, 0] = 1e6
    svg = plots.tradeoff(dataclasses.replace(report, curves=dataclasses.replace(report.curves, gap=gap)))
    axis = next(e for e in _tree(svg).iter() if e.attrib.get("id", "") == "tradeoff-matplotlib.axis_2")
    ticks = [text.text for text in axis.iter("text") if text.text and not text.text.startswith("gap")]
    assert 1.0 <= max(map(float, ticks)) <= 1.6


def test_open_damage_intervals_leave_the_means_standing(make_report: MakeReport) -> None:
    report = make_report()
    assert report.damage is not None
    open_ends = tuple(dataclasses.replace(e, low=-np.inf, high=np.inf) for e in report.damage.estimates)
    svg = plots.damage(dataclasses.replace(report, damage=dataclasses.replace(report.damage, estimates=open_ends)))
    assert "mean" in _words(svg)
    assert "nan" not in str(svg).lower()
    assert "inf" not in re.sub(r"<text.*?</text>", "", str(svg), flags=re.DOTALL).lower()


def test_rounding_between_a_value_and_its_interval_is_drawn_as_none(make_report: MakeReport) -> None:
    report = make_report()
    assert report.damage is not None
    above = [
        dataclasses.replace(e, low=e.value, high=e.value, value=float(np.nextafter(e.value, np.inf)))
        for e in report.damage.estimates
    ]
    found = dataclasses.replace(report, damage=dataclasses.replace(report.damage, estimates=tuple(above)))
    assert "mean" in _words(plots.damage(found))
