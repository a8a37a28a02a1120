"""Models share ranks that the figures leave open, and only models that were measured alike share a board."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.report.comparing.differences import _resampled_medians
from vaeaudit.report.comparing.leaderboard import Found, Leaderboard, leaderboard, read_reports
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.leaderboard import render_leaderboard
from vaeaudit.report.text.leaderboard import print_leaderboard

from ..conftest import INVALID, NO_FIGURE, MakeReport


def _found(*reports: AuditReport) -> list[Found]:
    return [Found(folder=Path(f"models/{place}"), report=report) for place, report in enumerate(reports)]


def _ranks(board: Leaderboard) -> list[tuple[str, str]]:
    return [(entry.found.report.name, entry.rank) for entry in board.boards[0].entries]


def _provenance(report: AuditReport, **changes: Any) -> AuditReport:
    return dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, **changes))


def test_clear_differences_give_single_ranks_the_most_robust_first(make_report: MakeReport) -> None:
    reports = [make_report(name=f"{shift}", shift=shift) for shift in (0.1, 0.3, 0.2)]
    assert _ranks(leaderboard(_found(*reports))) == [("0.3", "1"), ("0.2", "2"), ("0.1", "3")]


def test_the_resamples_of_each_model_are_drawn_once_however_many_it_is_held_against(make_report: MakeReport) -> None:
    _resampled_medians.cache_clear()
    rng = np.random.default_rng(0)
    board = leaderboard(_found(*(make_report(name=f"{i}", hinges=rng.uniform(0.3, 0.7, 50)) for i in range(12))))
    assert board.boards[0].tests == 66
    assert _resampled_medians.cache_info().misses == 12


def test_a_score_of_which_less_is_more_robust_ranks_the_other_way(make_report: MakeReport) -> None:
    report = make_report()
    assert report.damage is not None
    reports = []
    for factor in (1.0, 3.0, 2.0):
        estimates = tuple(
            dataclasses.replace(one, value=factor * one.value, low=factor * one.low, high=factor * one.high)
            for one in report.damage.estimates
        )
        damage = dataclasses.replace(
            report.damage, displacement=factor * report.damage.displacement, estimates=estimates
        )
        reports.append(dataclasses.replace(report, name=f"{factor}", damage=damage))
    assert _ranks(leaderboard(_found(*reports), by="damage")) == [("1.0", "1"), ("2.0", "2"), ("3.0", "3")]


def test_models_that_do_not_differ_share_their_ranks(make_report: MakeReport) -> None:
    reports = [make_report(name=name, shift=shift) for name, shift in (("a", 0.0), ("b", 0.0), ("c", 0.2))]
    assert _ranks(leaderboard(_found(*reports))) == [("c", "1"), ("a", "2 to 3"), ("b", "2 to 3")]


def test_figures_not_to_be_relied_upon_come_last_with_the_reason(make_report: MakeReport) -> None:
    bad = make_report(name="blind", shift=0.3, health=(INVALID,))
    none = make_report(name="none", hinge=NO_FIGURE)
    board = leaderboard(_found(bad, make_report(name="good"), none)).boards[0]
    assert [(entry.found.report.name, entry.rank, entry.reason) for entry in board.entries] == [
        ("good", "1", ""), ("blind", "–", "INVALID: gradient_masked"), ("none", "–", "it has no figure"),
    ]  # fmt: skip
    assert board.tests == 0


def test_a_figure_that_ranks_by_a_suppressed_check_alone_says_so_in_both_forms(make_report: MakeReport) -> None:
    aside = make_report(name="masked", shift=0.3, health=(dataclasses.replace(INVALID, suppressed=True),))
    board = leaderboard(_found(aside, make_report(name="good")))
    assert [(entry.rank, entry.note) for entry in board.boards[0].entries] == [
        ("1", "suppressed: gradient_masked"), ("2", ""),
    ]  # fmt: skip
    assert [entry.note for entry in leaderboard(_found(aside), by="damage").boards[0].entries] == [""]
    console = Console(file=io.StringIO(), width=200)
    print_leaderboard(board, Path("models"), console)
    assert "suppressed: gradient_masked" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "suppressed: gradient_masked" in render_leaderboard(board, Path("models"), Path())


@pytest.mark.parametrize(
    ("change", "apart"),
    [
        ({"data": "other"}, ""),
        ({"preset": "quick"}, ""),
        ({"settings": {"divergence": "mean_l2", "penalty": "l2_squared", "strengths": 24, "samples": 100}}, "mean_l2"),
        ({"environment": {"vaeaudit": "9.9"}}, "vaeaudit 9.9"),
    ],
)
def test_models_that_were_not_measured_alike_stand_on_boards_of_their_own(
    make_report: MakeReport, change: dict[str, Any], apart: str
) -> None:
    report = make_report()
    board = leaderboard(_found(report, report, _provenance(report, **change)))
    assert [len(one.entries) for one in board.boards] == [2, 1]
    assert apart in str(board.boards[1])
    assert bool(board.boards[1].apart) == bool(apart)


def test_the_divergence_of_the_targeted_attack_keeps_no_untargeted_figures_apart(make_report: MakeReport) -> None:
    report = make_report()
    other = _provenance(report, settings={**report.provenance.settings, "divergence": "mean_l2"})
    assert [len(leaderboard(_found(report, other), by=by).boards) for by in ("damage", "trace", "hinge")] == [1, 1, 2]


def test_a_report_that_lacks_the_score_is_told_on_the_board_of_its_likes(make_report: MakeReport) -> None:
    (board,) = leaderboard(_found(make_report(sections=False), make_report()), by="damage").boards
    assert [(entry.rank, entry.reason) for entry in board.entries] == [("1", ""), ("–", "it has no figure")]


def test_different_pairs_stand_on_different_boards(make_report: MakeReport) -> None:
    assert len(leaderboard(_found(make_report(pairs=50), make_report(pairs=40))).boards) == 2


@pytest.mark.parametrize(
    ("by", "message"), [("reach", "'reach' cannot rank models"), ("beauty", "unknown score 'beauty'")]
)
def test_a_score_that_cannot_rank_is_refused(make_report: MakeReport, by: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        leaderboard(_found(make_report()), by=by)


def test_reports_are_found_at_any_depth_and_damaged_ones_are_told(make_report: MakeReport, tmp_path: Path) -> None:
    make_report(name="deep", gallery=False).save(tmp_path / "a" / "b", page=False)
    make_report(name="flat", gallery=False).save(tmp_path, page=False)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "report.json").write_text("{")
    found, skipped = read_reports(tmp_path)
    assert sorted(one.report.name for one in found) == ["deep", "flat"]
    assert [path for path, _ in skipped] == [tmp_path / "c" / "report.json"]
    assert "is not a report" in skipped[0][1]


def test_a_folder_without_reports_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no report \(report.json\) in"):
        read_reports(tmp_path)
    with pytest.raises(ReportError, match=r"expects a folder of reports, got .*nowhere, which is none"):
        read_reports(tmp_path / "nowhere")


def test_the_table_fits_eighty_columns_and_speaks_in_printable_characters(make_report: MakeReport) -> None:
    name = "V\x1b[2J\u202e[red]" + "x" * 100
    reports = [make_report(name=name), make_report(name="blind", health=(INVALID,))]
    board = leaderboard(_found(*reports), [(Path("models/\x1bx"), "broken \x1b[31m")])
    console = Console(file=io.StringIO(), width=80)
    print_leaderboard(board, Path("models"), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert "INVALID" in text
    assert "Left out: " in text


def test_the_page_escapes_names_and_links_to_the_reports_pages(make_report: MakeReport, tmp_path: Path) -> None:
    folder = tmp_path / "javascript:alert(1)" / "a b"
    folder.mkdir(parents=True)
    (folder / "report.html").touch()
    evil = "</script><script>alert(1)</script>"
    board = leaderboard([Found(folder=folder, report=make_report(name=evil))], [(tmp_path / "x", evil)])
    page = render_leaderboard(board, tmp_path, tmp_path)
    assert page.count("<script>") == 1
    assert 'href="javascript%3Aalert%281%29/a%20b/report.html"' in page


def test_a_report_without_a_page_is_not_linked(make_report: MakeReport, tmp_path: Path) -> None:
    page = render_leaderboard(leaderboard([Found(folder=tmp_path, report=make_report())]), tmp_path, tmp_path)
    assert "<a href" not in page


def test_boards_that_differ_in_their_pairs_alone_say_so(make_report: MakeReport) -> None:
    report = _provenance(make_report(), seed=1)
    turned = dataclasses.replace(report.curves, targets=report.curves.targets[::-1].copy())
    other = _provenance(dataclasses.replace(report, curves=turned), seed=2)
    first, second = map(str, leaderboard(_found(report, other)).boards)
    assert re.search(r", pairs [0-9a-f]{8} \(seed 1\)$", first)
    assert re.search(r", pairs [0-9a-f]{8} \(seed 2\)$", second)


def test_the_page_says_at_the_models_name_why_it_has_no_rank(make_report: MakeReport, tmp_path: Path) -> None:
    found = [Found(folder=tmp_path / "models", report=make_report(name="blind", health=(INVALID,)))]
    page = render_leaderboard(leaderboard(found, by="auddc"), tmp_path, tmp_path)
    assert "<h1>Leaderboard by AUDDC</h1>" in page
    page = render_leaderboard(leaderboard(found), tmp_path, tmp_path)
    assert "blind<span>models</span><span>INVALID: gradient_masked</span></th>" in page
