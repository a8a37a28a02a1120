"""Step summaries: what GitHub shows of a report and its verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from vaeaudit import AuditReport, StorageError, at_least, cli
from vaeaudit.health import Finding
from vaeaudit.report.exports.github import VARIABLE, add_summary, asked_summary, escaped, step_summary

MakeReport = Callable[..., AuditReport]
NOTE = Finding(name="training_mode", severity="info", message="Noted.", remedy="None.", suppressed=True)
MARKUP = [
    "a|b",
    "<b>x</b>",
    "`tick`",
    "[link](http://x)",
    "*bold* __x__",
    "&amp;",
    "~~out~~",
    "$x$",
    "# x",
    "\\|",
    "a\nb",
]


@pytest.fixture(scope="module")
def report(make_report: MakeReport) -> AuditReport:
    """Hinges from 0.3 to 0.7, so that 0.5 is open, 0.3 passed and 0.9 failed; AUDDC invalid."""
    doubt = Finding(name="local_minima", severity="warning", message="Two ends.", remedy="More steps.")
    blind = Finding(name="blind_inputs", severity="invalid", message="Blind.", remedy="See.", affects=("auddc",))
    return make_report(hinges=np.linspace(0.3, 0.7, 50), gallery=False, health=(NOTE, doubt, blind))


@pytest.fixture(scope="module")
def saved(report: AuditReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, saved."""
    return report.save(tmp_path_factory.mktemp("saved"), page=False)


def rendered(page: str) -> str:
    """HTML of a Markdown page, as GitHub reads it."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page)


def test_the_summary_tells_the_worst_verdict_first(report: AuditReport) -> None:
    verdicts = [report.check(hinge=at_least(bar))[0] for bar in (0.3, 0.5, 0.9)] + list(
        report.check(auddc=at_least(0.1))
    )
    page = step_summary(report, verdicts)
    assert page.startswith("## Robustness of beta-vae: 1 FAIL, 1 INVALID, 1 INCONCLUSIVE, 1 PASS\n")
    told = re.findall(r"\| \*\*(\w+)\*\* \| (.*) \|", page)
    assert [outcome for outcome, _ in told] == ["FAIL", "INVALID", "INCONCLUSIVE", "PASS"]
    assert told[0][1].startswith(r"hinge 0.50 \[0.45, 0.55\] \< 0.90 FAIL")
    assert told[2][1].endswith("the figure lies too close to the bar")


def test_the_summary_has_headline_scores_and_findings(report: AuditReport) -> None:
    page = step_summary(report)
    assert page.startswith("## Robustness of beta-vae\n")
    assert "an attack has to cover" in page
    assert "verdict" not in page
    body = rendered(page)
    assert "<td>Hinge</td><td>0.500</td>" in re.sub(r"\n", "", body)
    assert "(unreliable)" in body
    findings = re.findall(r"<li><strong>(\w+)</strong>( \(suppressed\))? (\w+): ", body)
    assert findings == [
        ("invalid", "", "blind_inputs"),
        ("warning", "", "local_minima"),
        ("info", " (suppressed)", "training_mode"),
    ]


def test_a_figure_at_a_budget_is_told_with_it(make_report: MakeReport) -> None:
    page = step_summary(make_report(gallery=False))
    assert "| Damage at 1 |" in page
    assert "| Worst gap, L∞ at 0.02 |" in page


def test_a_hinge_that_is_a_lower_bound_is_marked_as_one(make_report: MakeReport) -> None:
    assert "| Hinge | \\>= 0." in step_summary(make_report(censored=40, gallery=False))
    assert "| Hinge | 0." in step_summary(make_report(gallery=False))


def test_a_sound_report_is_said_to_be_one(make_report: MakeReport) -> None:
    assert "nothing was found that speaks against" in step_summary(make_report(health=(), gallery=False))


@pytest.mark.parametrize("text", MARKUP)
def test_text_from_outside_is_no_markup(make_report: MakeReport, text: str) -> None:
    report = make_report(
        name=text, health=(Finding(name=text, severity="info", message=text, remedy=text),), gallery=False
    )
    body = rendered(step_summary(report, report.check(hinge=at_least(0.1))))
    plain = rendered(
        step_summary(
            make_report(name="x", health=(Finding(name="x", severity="info", message="x", remedy="x"),), gallery=False),
            report.check(hinge=at_least(0.1)),
        )
    )
    assert re.findall(r"<[^>]+>", body) == re.findall(r"<[^>]+>", plain)


def test_escaped_text_reads_as_it_was() -> None:
    for text in MARKUP:
        read = re.sub("<[^>]+>", "", rendered(escaped(text))).strip()
        assert read == " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def test_summaries_of_one_step_follow_each_other(tmp_path: Path) -> None:
    add_summary(tmp_path / "s.md", "one\n")
    add_summary(tmp_path / "s.md", "two\n")
    assert (tmp_path / "s.md").read_text() == "one\ntwo\n"
    with pytest.raises(
        StorageError, match=r"the step summary could not be written to .*name another file by --summary"
    ):
        add_summary(tmp_path / "nowhere" / "s.md", "three")


def test_what_is_asked_for_goes_before_what_github_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_summary(None) is None
    monkeypatch.setenv(VARIABLE, "theirs.md")
    assert asked_summary(None) == Path("theirs.md")
    assert asked_summary(Path("mine.md")) == Path("mine.md")
    monkeypatch.setenv(VARIABLE, "")
    assert asked_summary(None) is None


def check(saved: Path, *arguments: str) -> int:
    """The exit status of `vaeaudit check`, of a report whose hinge fails one bar and passes another."""
    return cli.main(["check", str(saved), "--at-least", "hinge=0.9", *arguments])


def test_check_adds_a_summary_where_it_is_told_or_where_github_says(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(saved, "--summary", str(tmp_path / "mine.md")) == 1
    monkeypatch.setenv(VARIABLE, str(tmp_path / "theirs.md"))
    assert check(saved) == 1
    assert (tmp_path / "mine.md").read_text() == (tmp_path / "theirs.md").read_text()
    assert "1 FAIL" in (tmp_path / "mine.md").read_text()


def test_a_summary_that_cannot_be_written_is_no_pass(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["check", str(saved), "--at-least", "hinge=0.3", "--summary", str(tmp_path / "no" / "s.md")]
    assert cli.main(asked) == 2
    told = capsys.readouterr()
    assert "PASS" in told.out
    assert "the step summary could not be written" in told.err
