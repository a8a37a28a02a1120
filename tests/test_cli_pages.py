"""`compare` and `leaderboard` on the command line, in the terminal and as pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vaeaudit import AuditReport, cli
from vaeaudit.report.model import JSON_NAME

MakeReport = Callable[..., AuditReport]


@pytest.fixture(scope="module")
def folder(make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three reports, each clearly more robust than the one before."""
    root = tmp_path_factory.mktemp("reports")
    for place, name in enumerate(("first", "second", "third")):
        make_report(name=name, shift=0.1 * place, gallery=False, sections=False).save(root / name, page=False)
    return root


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_several_reports_are_compared_with_the_first_in_turn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *(str(folder / name) for name in ("first", "second", "third"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if " against " in line and line.endswith("(new)")]
    assert heads == ["first (old) against second (new)", "first (old) against third (new)"]
    assert max(map(len, lines)) <= 80
    assert "corrected for the 12 scores that were compared (Holm)" in " ".join(lines)


def test_compare_writes_a_page_and_names_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "new" / "compared.html"
    assert cli.main(["compare", str(folder / "first"), str(folder / "second" / JSON_NAME), "--html", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    assert "2 audits compared" in page.read_text()


def test_two_models_of_one_name_are_told_apart_by_where_their_reports_lie(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("before", "after"):
        make_report(name="VAE", gallery=False, sections=False).save(place, page=False)
    assert cli.main(["compare", "before", "after", "--html", "page.html"]) == 0
    assert capsys.readouterr().out.startswith("VAE, before (old) against VAE, after (new)\n")
    page = Path("page.html").read_text()
    assert "VAE, before" in page
    assert "VAE, after" in page


def test_one_report_has_nothing_to_be_compared_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(folder / "first")]) == 2
    assert capsys.readouterr().err == "vaeaudit: compare expects 2 to 12 reports, got 1\n"


def test_a_leaderboard_is_printed_and_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "board.html"
    assert cli.main(["leaderboard", str(folder), "--html", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line[:1].isdigit()] == [
        ["1", "third"],
        ["2", "second"],
        ["3", "first"],
    ]
    assert max(map(len, lines[:-1])) <= 80
    assert lines[-1] == str(page)
    assert "Leaderboard by hinge" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--by", "reach"], "'reach' cannot rank models"), (["--by", "x"], "unknown score 'x'")],
)
def test_a_score_that_cannot_rank_is_a_usage_error(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["leaderboard", str(folder), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_reports_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderboard", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("vaeaudit: no report (report.json) in ")


def test_a_page_that_cannot_be_written_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["leaderboard", str(folder), "--html", str(tmp_path / "file" / "board.html")]) == 2
    assert "nothing can be written to the folder" in capsys.readouterr().err
