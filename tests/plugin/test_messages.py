"""What a failing test says: in which order, how wide, and without frames of the library."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vaeaudit.cli import main
from vaeaudit.report.pages import html

from .conftest import OPEN, a_test, errors

RENDER = html.render


MESSAGE = [
    r"E       AssertionError: hinge 0\.\d+ \[0\.\d+, 0\.\d+\] < 0\.30* FAIL \(95 %, 24 pairs\)",
    r"E       auddc 0\.\d+ \[0\.\d+, 0\.\d+\] >= 0\.010* PASS \(95 %, 24 pairs\)",
    r"E       Easiest pairs:",
    r"E         image \d+ towards \d+: hinge 0\.\d+",
    r"E         image \d+ towards \d+: hinge 0\.\d+",
    r"E         image \d+ towards \d+: hinge 0\.\d+",
    r"E       Health: nothing was found that speaks against these figures\.",
    r"E       stand-in: measured now, preset quick, seed 7",
    r"E       See it: vaeaudit show (?P<folder>\S+)",
    r"E               (?P<page>\S+)",
]


def message_of_a_failure(project: Any, *arguments: str) -> list[re.Match[str]]:
    """The lines of a failure of two bars, matched."""
    project.write(
        a_test('vae_audit(fragile, None, preset="quick", seed=7).require(auddc=at_least(0.01), hinge=at_least(0.3))')
    )
    lines = errors(project.run(*arguments))
    assert len(lines) == len(MESSAGE)
    matches = [re.fullmatch(pattern, line) for pattern, line in zip(MESSAGE, lines, strict=True)]
    assert [line for line, match in zip(lines, matches, strict=True) if match is None] == []
    return [match for match in matches if match]


def test_the_message_begins_with_the_worst_figure_and_ends_with_where_to_look(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "render", RENDER)
    *_, command, page = message_of_a_failure(project)
    folder = project.pytester.path / command["folder"]
    assert (project.pytester.path / page["page"]).parent == folder
    page_text = (folder / "report.html").read_text()
    assert page_text.startswith("<!DOCTYPE html>")
    assert "<svg" in page_text


def test_the_command_of_the_message_shows_the_report(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    *_, command, _ = message_of_a_failure(project)
    capsys.readouterr()
    assert main(["show", command["folder"]]) == 0
    assert "stand-in" in capsys.readouterr().out


def test_a_folder_of_reports_is_where_the_message_points(project: Any) -> None:
    *_, command, page = message_of_a_failure(project, "--vaeaudit-report=reports")
    assert command["folder"].startswith("reports/test_ci.py-test_it")
    assert main(["show", command["folder"]]) == 0
    assert (project.pytester.path / page["page"]).exists()


def test_without_a_cache_the_message_says_how_to_keep_the_pictures(project: Any) -> None:
    project.write(a_test("vae_audit(fragile, None).require(hinge=at_least(0.3))"))
    lines = errors(project.run("--vaeaudit-cache=off"))
    assert lines[-1] == "E       See it: pytest --vaeaudit-report=DIR keeps the pictures"


def test_the_three_easiest_pairs_are_those_of_the_lowest_hinge_in_order(project: Any) -> None:
    hinges = [0.2] * 24
    hinges[5], hinges[11], hinges[17] = 0.03, 0.01, 0.02
    project.write(
        a_test(f"vae_audit(Model(hinges=tuple({hinges})), None, preset='quick').require(hinge=at_least(0.3))")
    )
    found = [line.split("E         ")[1] for line in errors(project.run()) if "towards" in line]
    assert found == [f"image {i} towards {23 - i}: hinge {hinges[i]}" for i in (11, 17, 5)]


def test_for_a_score_where_lower_is_better_the_easiest_images_are_those_of_the_highest_figure(project: Any) -> None:
    project.write(a_test("vae_audit(robust, None).require(condition_number=at_most(1.5))"))
    lines = errors(project.run())
    start = lines.index("E       Easiest images:")
    figures = [float(line.rsplit(" ", 1)[1]) for line in lines[start + 1 : start + 4]]
    assert figures == sorted(figures, reverse=True)
    assert all(
        re.fullmatch(r"E         image \d+: condition_number \S+", line) for line in lines[start + 1 : start + 4]
    )


def test_a_figure_of_an_earlier_run_is_called_cached(project: Any) -> None:
    project.write(a_test("vae_audit(fragile, None).require(hinge=at_least(0.3))"))
    assert any("measured now" in line for line in errors(project.run()))
    again = project.run()
    assert any("measured earlier (cached)" in line for line in errors(again))
    assert errors(again)[0] in errors(project.run())
    assert len(project.measured) == 1


def test_findings_are_told_from_those_that_spoil_figures_to_those_for_the_record(project: Any) -> None:
    project.write("""
        from vaeaudit.health import Finding

        FINDINGS = tuple(
            Finding(name="attack_not_converged", severity=severity, message=severity, remedy="", affects=("hinge",))
            for severity in ("info", "warning", "invalid")
        )

        def test_it(vae_audit):
            vae_audit(Model(findings=FINDINGS), None).require(hinge=at_least(0.3))
    """)
    told = [line for line in errors(project.run()) if "Health, " in line]
    assert [line.split("Health, ")[1].split(":")[0] for line in told] == ["invalid", "warning", "info"]


EVERY_KIND = f"""
    def test_fails(vae_audit, fragile):
        vae_audit(fragile, None).require(hinge=at_least(0.3), condition_number=at_most(3))

    def test_invalid(vae_audit):
        vae_audit(Model(findings=(MASKED,)), None).require(hinge=at_least(0.3))

    def test_open(vae_audit):
        model = Model(hinges={OPEN!r}, images=24)
        vae_audit(model, None, max_evaluations=1).require(hinge=at_least(0.3))

    def test_open_for_evaluations(vae_audit):
        vae_audit(Model(hinges={OPEN!r} * 9), None, pairs=24, max_evaluations=1).require(hinge=at_least(0.3))

    @pytest.mark.vaeaudit(hinge=at_least(0.3))
    def test_marked(vae_audit, fragile):
        vae_audit(fragile, None)

    def test_out_of_time(vae_audit, robust):
        vae_audit(Model(seconds=0.01), None, time_limit=0.001).require(hinge=at_least(0.3))
"""


FIGURE = re.compile(r" (PASS|FAIL|INCONCLUSIVE|INVALID) \(")
"""Lines with a figure: they stay in one piece."""


@pytest.mark.parametrize("ci", [False, True], ids=["at a desk", "in CI"])
@pytest.mark.parametrize("arguments", [(), ("-v",), ("-vv",), ("-q",), ("--tb=short",)], ids=" ".join)
def test_no_line_of_a_message_is_wider_than_80_columns_but_figures_and_paths(
    project: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], ci: bool
) -> None:
    if ci:
        monkeypatch.setenv("CI", "1")
    project.write(EVERY_KIND)
    result = project.run(*arguments)
    result.assert_outcomes(failed=6)
    lines = errors(result)
    assert sum("AssertionError: " in line for line in lines) == 6
    wide = [line for line in lines if len(line) > 80 and not FIGURE.search(line) and ".pytest_cache" not in line]
    assert wide == []
    longest = max(len(line) for line in lines if not FIGURE.search(line) and ".pytest_cache" not in line)
    assert longest > 65 or arguments == ("--tb=short",)


@pytest.mark.parametrize("style", ["auto", "long", "short"])
def test_no_frame_of_the_plugin_or_the_library_is_shown_for_a_verdict(project: Any, style: str) -> None:
    project.write(EVERY_KIND)
    result = project.run(f"--tb={style}")
    result.assert_outcomes(failed=6)
    shown = result.stdout.str()
    assert not re.search(r"vaeaudit/\w+\.py", shown)
    assert "During handling" not in shown
    assert "OutOfTimeError" not in shown


@pytest.mark.parametrize("style", ["auto", "long", "short"])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('vae_audit("no model", None)', "ModelError: expected a stand-in model, got a str"),
        ('vae_audit(robust, None, presett="quick")', "OptionError: vae_audit has no option 'presett'; choose one of preset, "),
        ('vae_audit(robust, None, hinge=at_least(0.3))', "OptionError: vae_audit has no option 'hinge'; *into .require(...) or"),
        ('vae_audit(robust, None, preset="huge")', "OptionError: preset expects one of quick, standard, thorough, got 'huge'"),
        ("vae_audit(robust, None).require(hing=at_least(0.3))", "OptionError: unknown score 'hing' (did you mean 'hinge'?); choose one of hinge, "),
        ("vae_audit(robust, None).require(hinge=0.3)", "OptionError: hinge: expected at_least(...) or at_most(...), got 0.3"),
        ("vae_audit(robust, None).require(hinge=at_most(0.3))", "OptionError: hinge: higher is more robust, so the bar is at_"),
        ("vae_audit(robust, None).require(confidence=0, hinge=at_least(0.3))", "OptionError: confidence expects a number above 0.5"),
        ("vae_audit(robust, None).require(confidence=0.9)", "OptionError: *at least one bar, such as hinge=at_least(0.3); got none"),
        ("vae_audit(robust, None).require_no_regression('floor')", "OptionError: floor has no better or worse, so it cannot regress"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_call_is_told_without_frames_of_the_library(
    project: Any, call: str, message: str, style: str
) -> None:
    project.write(a_test(call))
    result = project.run(f"--tb={style}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E  *{message}*"])
    assert not re.search(r"vaeaudit/\w+\.py", result.stdout.str())
    assert "direct cause" not in result.stdout.str()


def test_one_line_a_test_still_tells_figure_bar_and_verdict(project: Any) -> None:
    project.write(a_test("vae_audit(fragile, None).require(hinge=at_least(0.3))"))
    figure = "hinge 0.* < 0.3* FAIL (95 %, 50 pairs)"
    project.run("--tb=line").stdout.fnmatch_lines([f"*test_ci.py:*: AssertionError: {figure}"])
    silent = project.run("--tb=no")
    silent.stdout.fnmatch_lines(["*= vaeaudit =*", figure, "  test_ci.py::test_it, margin -*%, cached"])
    assert errors(silent) == []
