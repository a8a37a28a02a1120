"""What a test with bars comes to, how far it measures for that, and what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pytest_vaeaudit.trial
from pytest_vaeaudit.errors import stripped
from vaeaudit import verdict
from vaeaudit.cli import main
from vaeaudit.errors import ModelError
from vaeaudit.report.pages import html

RENDER = html.render
HALVES = (0.1, 0.5) * 12
"""Twenty-four hinges that leave a bar of 0.3 open."""


def a_test(body: str) -> str:
    """A file with one test."""
    return "def test_it(vae_audit, robust, fragile):\n" + "".join(f"    {line}\n" for line in body.strip().splitlines())


def outcomes(result: pytest.RunResult, section: str = "vaeaudit") -> list[tuple[str, str, str]]:
    """Score, outcome and number of samples of every line of the terminal section, the worst first."""
    pattern = r"^([a-z._]+) .* (PASS|FAIL|INCONCLUSIVE|INVALID) \([\d.]+ %, (\d+) "
    after = result.stdout.str().partition(f"= {section} =")[2]
    return re.findall(pattern, after, re.MULTILINE)


def errors(result: pytest.RunResult) -> list[str]:
    """Lines of the failures' messages, margin and all."""
    return [line for line in result.stdout.str().splitlines() if line.startswith("E  ")]


def add_to_conftest(project: Any, text: str) -> None:
    path = project.pytester.path / "conftest.py"
    path.write_text(path.read_text() + text)


def test_a_bar_that_is_surely_cleared_passes_and_one_that_is_surely_missed_fails(project: Any) -> None:
    project.write("""
        def test_robust(vae_audit, robust):
            vae_audit(robust, None).require(hinge=at_least(0.30))

        def test_fragile(vae_audit, fragile):
            vae_audit(fragile, None).require(hinge=at_least(0.30))
    """)
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    assert outcomes(result) == [("hinge", "FAIL", "50"), ("hinge", "PASS", "50")]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_bar_on_either_side_goes_by_its_own_direction(project: Any) -> None:
    project.write("""
        def test_low(vae_audit, robust):
            vae_audit(robust, None).require(condition_number=at_most(1000), hinge=at_least(0.3))

        def test_high(vae_audit, robust):
            vae_audit(robust, None).require(condition_number=at_most(1.5))
    """)
    project.run().assert_outcomes(passed=1, failed=1)


def test_a_measurement_that_is_not_to_be_trusted_is_invalid_however_good_its_figure(project: Any) -> None:
    project.write(a_test("vae_audit(Model(hinge=0.9, findings=(MASKED,)), None).require(hinge=at_least(0.3))"))
    result = project.run()
    result.assert_outcomes(failed=1)
    assert outcomes(result) == [("hinge", "INVALID", "50")]
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: hinge * against >= 0.3* INVALID (95 %, 50 pairs)",
            "E*not to be trusted: gradient_masked (see health)",
            "E*Health, invalid: gradient_masked: *",
        ]
    )


def test_a_finding_does_not_touch_scores_that_it_says_nothing_about(project: Any) -> None:
    project.write(a_test("vae_audit(Model(findings=(MASKED,)), None).require(condition_number=at_most(1000))"))
    project.run().assert_outcomes(passed=1)


def test_an_open_bar_fails_with_wording_of_its_own(project: Any) -> None:
    project.write(a_test(f"vae_audit(Model(hinges={HALVES!r}, images=24), None).require(hinge=at_least(0.3))"))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: hinge * against >= 0.3* INCONCLUSIVE (95 %, 24 pairs)",
            "E*Neither passed nor failed: judged at 24 pairs; the data allow no more",
        ]
    )


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


EVERY_KIND = f"""
    def test_fails(vae_audit, fragile):
        vae_audit(fragile, None).require(hinge=at_least(0.3), condition_number=at_most(3))

    def test_invalid(vae_audit):
        vae_audit(Model(findings=(MASKED,)), None).require(hinge=at_least(0.3))

    def test_open(vae_audit):
        model = Model(hinges={HALVES!r}, images=24)
        vae_audit(model, None, max_evaluations=1).require(hinge=at_least(0.3))

    def test_open_for_evaluations(vae_audit):
        vae_audit(Model(hinges={HALVES!r} * 9), None, pairs=24, max_evaluations=1).require(hinge=at_least(0.3))

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
        ("vae_audit(robust, None).require(hing=at_least(0.3))", "OptionError: unknown score 'hing'; choose one of hinge, "),
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


@pytest.mark.parametrize("policy", ["fail", "warn", "skip"])
def test_an_open_bar_does_to_its_test_what_the_ini_file_says(project: Any, policy: str) -> None:
    project.write(
        a_test(
            f"vae_audit(Model(hinges={HALVES!r}, images=24), None).require(hinge=at_least(0.3), auddc=at_least(0.01))"
        )
    )
    project.pytester.makeini(f"[pytest]\nvaeaudit_inconclusive = {policy}\n")
    result = project.run("-rs")
    expected = {"fail": {"failed": 1}, "warn": {"passed": 1, "warnings": 1}, "skip": {"skipped": 1}}
    result.assert_outcomes(**expected[policy])
    assert outcomes(result) == [("hinge", "INCONCLUSIVE", "24"), ("auddc", "PASS", "24")]
    lines = {
        "warn": "*VaeAuditWarning: hinge * INCONCLUSIVE (95 %, 24 pairs)",
        "skip": "SKIPPED*test_ci.py:*hinge * INCONCLUSIVE (*",
    }
    if policy in lines:
        result.stdout.fnmatch_lines([lines[policy]])


@pytest.mark.parametrize("policy", ["warn", "skip"])
def test_no_leniency_towards_open_bars_saves_a_failed_or_invalid_one(project: Any, policy: str) -> None:
    project.write(f"""
        def test_fails(vae_audit):
            model = Model(hinges={HALVES!r}, images=24)
            vae_audit(model, None).require(hinge=at_least(0.3), auddc=at_least(0.9))

        def test_invalid(vae_audit):
            model = Model(hinges={HALVES!r}, images=24, findings=(MASKED,))
            vae_audit(model, None).require(hinge=at_least(0.3), linearity=at_least(0.9))
    """)
    project.run(f"--vaeaudit-inconclusive={policy}").assert_outcomes(failed=2)


@pytest.mark.filterwarnings("ignore")
def test_a_warning_of_an_open_bar_is_an_error_where_warnings_are(project: Any) -> None:
    project.write(a_test(f"vae_audit(Model(hinges={HALVES!r}, images=24), None).require(hinge=at_least(0.3))"))
    result = project.run("--vaeaudit-inconclusive=warn", "-W", "error::UserWarning")
    result.assert_outcomes(failed=1)
    assert not re.search(r"vaeaudit/\w+\.py", result.stdout.str())


OPEN, HIGH, LOW = HALVES, (0.5,) * 24, (0.01,) * 24


def counts(project: Any) -> list[int]:
    """Numbers of pairs that were measured, in order."""
    return [int(measured[2]) for measured in project.measured]


def extended(project: Any, hinges: tuple[float, ...], bars: str = "hinge=at_least(0.3)", options: str = "") -> Any:
    """Run a test that measures 24 pairs first."""
    project.write(
        a_test(f"vae_audit(Model(hinges={hinges!r}, images=10**6), None, pairs=24, {options}).require({bars})")
    )
    return project.run()


def test_a_bar_that_the_first_look_settles_is_measured_once(project: Any) -> None:
    assert outcomes(extended(project, HIGH * 4)) == [("hinge", "PASS", "24")]
    assert counts(project) == [24]


def test_an_open_bar_is_measured_twice_as_far_and_stops_where_it_is_settled(project: Any) -> None:
    result = extended(project, OPEN + HIGH * 3)
    result.assert_outcomes(passed=1)
    assert outcomes(result) == [("hinge", "PASS", "48")]
    assert counts(project) == [24, 48]


def test_an_open_bar_is_measured_up_to_four_times_as_far(project: Any) -> None:
    result = extended(project, OPEN * 4)
    result.assert_outcomes(failed=1)
    assert outcomes(result) == [("hinge", "INCONCLUSIVE", "96")]
    assert counts(project) == [24, 48, 96]
    told = " ".join(line[1:].strip() for line in errors(result))
    assert (
        "Neither passed nor failed: judged at 24, then 48, then 96 pairs; that is the budget of 96 pairs, which" in told
    )


def test_an_extension_can_fail_a_bar_too(project: Any) -> None:
    result = extended(project, OPEN + LOW * 3)
    result.assert_outcomes(failed=1)
    assert outcomes(result) == [("hinge", "FAIL", "48")]


def test_a_bar_keeps_the_verdict_of_the_look_that_settled_it(project: Any) -> None:
    result = extended(project, OPEN + LOW * 3, "hinge=at_least(0.3), auddc=at_least(0.1)")
    assert outcomes(result) == [("hinge", "FAIL", "48"), ("auddc", "PASS", "24")]


def test_nothing_is_measured_further_once_another_bar_failed(project: Any) -> None:
    result = extended(project, OPEN * 4, "hinge=at_least(0.3), auddc=at_least(0.9)")
    assert sorted(outcomes(result)) == [("auddc", "FAIL", "24"), ("hinge", "INCONCLUSIVE", "24")]
    assert counts(project) == [24]


def test_nothing_is_measured_further_once_another_bar_is_invalid(project: Any) -> None:
    model = f"Model(hinges={OPEN * 4!r}, findings=(MASKED,))"
    project.write(a_test(f"vae_audit({model}, None, pairs=24).require(hinge=at_least(0.3), linearity=at_least(0.9))"))
    project.run().assert_outcomes(failed=1)
    assert counts(project) == [24]


def test_max_pairs_limits_how_far_is_measured(project: Any) -> None:
    result = extended(project, OPEN * 4, options="max_pairs=40")
    assert counts(project) == [24, 40]
    assert "judged at 24, then 40 pairs; that is the budget of 40 pairs" in " ".join(
        x[1:].strip() for x in errors(result)
    )


def test_max_pairs_too_close_to_be_worth_a_look_is_named_as_the_reason(project: Any) -> None:
    result = extended(project, OPEN * 4, options="max_pairs=28")
    assert counts(project) == [24]
    assert "judged at 24 pairs; that is the budget of 28 pairs" in " ".join(x[1:].strip() for x in errors(result))


def test_the_data_limit_how_far_is_measured(project: Any) -> None:
    project.write(
        a_test(f"vae_audit(Model(hinges={OPEN * 4!r}, images=30), None, preset='quick').require(hinge=at_least(0.3))")
    )
    told = " ".join(line[1:].strip() for line in errors(project.run()))
    assert counts(project) == [24, 30]
    assert "judged at 24, then 30 pairs; the data allow no more than 30 pairs" in told


def test_max_evaluations_limits_how_far_is_measured(project: Any) -> None:
    # the stand-in counts 1000 evaluations for the first pair, one more for every further one
    result = extended(project, OPEN * 4, options="max_evaluations=60000")
    told = " ".join(line[1:].strip() for line in errors(result))
    assert counts(project) == [24, 48]
    assert "judged at 24, then 48 pairs; 96 pairs would take about 98256 gradient evaluations" in told
    assert "and max_evaluations allows 60000" in told


def test_enough_evaluations_limit_nothing(project: Any) -> None:
    extended(project, OPEN * 4, options="max_evaluations=98256")
    assert counts(project) == [24, 48, 96]


def test_pairs_that_were_given_are_not_added_to(project: Any) -> None:
    pairs = [[i, i + 1] for i in range(24)]
    project.write(a_test(f"vae_audit(Model(hinges={OPEN * 4!r}), None, pairs={pairs}).require(hinge=at_least(0.3))"))
    told = " ".join(line[1:].strip() for line in errors(project.run()))
    assert counts(project) == [24]
    assert "judged at 24 pairs; these are all the pairs that were given" in told


def test_all_looks_that_may_be_needed_share_the_error_from_the_first_on(project: Any) -> None:
    # 7 of 24 below the bar: enough for one look at 95 %, not for the first of three
    hinges = (0.1,) * 7 + (0.5,) * 17
    extended(project, hinges + HIGH, options="max_pairs=24").assert_outcomes(passed=1)
    assert counts(project) == [24]
    result = extended(project, hinges + HIGH * 3)
    assert outcomes(result) == [("hinge", "PASS", "48")]


@pytest.fixture
def clock(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which every measurement takes a second, and nothing else takes time."""
    monkeypatch.setattr(pytest_vaeaudit.trial, "time", SimpleNamespace(monotonic=lambda: float(len(project.measured))))


LIMITED = """
    {mark}
    def test_it(vae_audit):
        vae_audit(Model(hinges={hinges!r}), None, pairs=24).require(hinge=at_least(0.3))
"""


@pytest.mark.parametrize("hinges", [HIGH * 4, LOW * 4, OPEN * 4], ids=["robust", "fragile", "open"])
@pytest.mark.parametrize("policy", ["fail", "skip", "warn"])
def test_a_time_limit_before_the_first_measurement_is_inconclusive_whatever_the_model(
    project: Any, clock: None, hinges: tuple[float, ...], policy: str
) -> None:
    project.write(LIMITED.format(mark="", hinges=hinges))
    result = project.run("--vaeaudit-time-limit=0.5", f"--vaeaudit-inconclusive={policy}", "-rs")
    # nothing was measured that a warning could let through
    result.assert_outcomes(**({"skipped": 1} if policy == "skip" else {"failed": 1}))
    result.stdout.fnmatch_lines(["not measured INCONCLUSIVE (the time limit of 0.5 s ended the measurement)"])
    result.stdout.no_re_match_line(r".* (PASS|FAIL) \(")


def test_a_time_limit_between_looks_leaves_an_open_bar_open(project: Any, clock: None) -> None:
    project.write(LIMITED.format(mark="", hinges=OPEN + HIGH * 3))
    result = project.run("--vaeaudit-time-limit=1")
    result.assert_outcomes(failed=1)
    assert outcomes(result) == [("hinge", "INCONCLUSIVE", "24")]
    told = " ".join(line[1:].strip() for line in errors(result))
    assert "judged at 24 pairs; the time limit of 1 s came first" in told


@pytest.mark.parametrize(("hinges", "outcome"), [(HIGH * 4, "PASS"), (LOW * 4, "FAIL")])
def test_a_time_limit_that_is_not_reached_changes_nothing(
    project: Any, clock: None, hinges: tuple[float, ...], outcome: str
) -> None:
    project.write(LIMITED.format(mark="", hinges=hinges))
    assert outcomes(project.run("--vaeaudit-time-limit=1")) == [("hinge", outcome, "24")]


@pytest.mark.parametrize(("cache", "promised"), [("on", True), ("off", False)])
def test_what_a_time_limit_ended_is_promised_to_be_kept_only_where_there_is_a_cache(
    project: Any, clock: None, cache: str, promised: bool
) -> None:
    project.write(LIMITED.format(mark="", hinges=HIGH))
    result = project.run("--vaeaudit-time-limit=0.5", f"--vaeaudit-cache={cache}")
    told = " ".join(line[1:].strip() for line in errors(result))
    assert ("Whatever was finished is in the cache" in told) == promised
    assert "Allow more time (time_limit), or measure less (preset, pairs)." in told


def test_several_audits_in_one_test_are_judged_each_by_itself(project: Any) -> None:
    project.write("""
        def test_two(vae_audit, robust, fragile):
            vae_audit(robust, None, preset="quick").require(hinge=at_least(0.30))
            vae_audit(fragile, None).require(hinge=at_least(0.30))

        def test_ordered(vae_audit, robust, fragile):
            first, second = vae_audit(robust, None), vae_audit(fragile, None)
            assert first.hinge.low > second.hinge.high
    """)
    result = project.run("--vaeaudit-report=reports")
    result.assert_outcomes(passed=1, failed=1)
    assert outcomes(result) == [("hinge", "FAIL", "50"), ("hinge", "PASS", "24")]
    folders = [Path(verdict["report"]) for verdict in project.json("reports/summary.json")["verdicts"]]
    assert len(set(folders)) == 2
    assert all((folder / "report.html").exists() for folder in folders)


def test_bars_of_the_marker_hold_for_every_audit_of_the_test(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit, robust, fragile):
            vae_audit(robust, None)
            vae_audit(fragile, None)
    """)
    assert [outcome for _, outcome, _ in outcomes(project.run())] == ["FAIL", "PASS"]


def test_a_report_can_be_held_against_further_bars_without_measuring_again(project: Any) -> None:
    project.write(
        a_test("""
report = vae_audit(robust, None)
report.require(hinge=at_least(0.3))
report.require(confidence=0.8, hinge=at_least(0.4))
    """)
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["hinge *0.4* PASS (80 %, 50 pairs)", "hinge *0.3* PASS (95 %, 50 pairs)"])
    assert counts(project) == [50]


def test_a_bar_that_fails_in_a_fixture_of_the_users_is_an_error_of_its_tests(project: Any) -> None:
    project.write("""
        @pytest.fixture
        def report(vae_audit, fragile):
            report = vae_audit(fragile, None)
            report.require(hinge=at_least(0.3))
            return report

        def test_it(report):
            pass
    """)
    result = project.run()
    result.assert_outcomes(errors=1)
    assert outcomes(result) == [("hinge", "FAIL", "50")]
    assert not re.search(r"vaeaudit/\w+\.py", result.stdout.str())


HOOKS = """
import json
from pathlib import Path

def note(config, **content):
    with (config.rootpath / "hooks.jsonl").open("a") as file:
        file.write(json.dumps(content, allow_nan=False) + "\\n")

def pytest_vaeaudit_verdict(config, item, verdict):
    note(config, hook="verdict", test=item.nodeid, verdict=verdict)

def pytest_vaeaudit_report(config, item, report, cached):
    note(config, hook="report", test=item.nodeid, pairs=len(report.curves.hinge), cached=cached)

def pytest_vaeaudit_device(config, item):
    note(config, hook="device", test=item.nodeid)
    return "meta:" + item.name

def pytest_vaeaudit_fingerprint(config, model):
    return "known by name" if getattr(model, "weights", "") == "w2" else None

def pytest_vaeaudit_environment(config):
    return {"accelerator": (config.rootpath / "accelerator.txt").read_text()}
"""


def hooked(project: Any, name: str) -> list[Any]:
    lines = (project.pytester.path / "hooks.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["hook"] == name]


@pytest.fixture
def with_hooks(project: Any) -> Any:
    """The project with a conftest.py that implements every hook."""
    add_to_conftest(project, HOOKS)
    (project.pytester.path / "accelerator.txt").write_text("one")
    return project


def test_the_verdict_hook_gets_every_verdict_as_builtin_types(with_hooks: Any) -> None:
    with_hooks.write(a_test("vae_audit(fragile, None).require(auddc=at_least(0.01), hinge=at_least(0.3))"))
    with_hooks.run().assert_outcomes(failed=1)
    verdicts = [entry["verdict"] for entry in hooked(with_hooks, "verdict")]
    assert [(v["score"], v["outcome"], v["kind"], v["n"]) for v in verdicts] == [
        ("auddc", "PASS", "bar", 50),
        ("hinge", "FAIL", "bar", 50),
    ]
    assert verdicts[1]["test"] == "test_ci.py::test_it"
    assert (verdicts[1]["bar"], verdicts[1]["bar_kind"], verdicts[1]["looks"]) == (0.3, "at_least", 3)
    assert verdicts[1]["low"] < verdicts[1]["value"] < verdicts[1]["high"] < 0.3
    assert verdicts[1]["margin"] == pytest.approx(verdicts[1]["low"] / 0.3 - 1)


def test_the_report_hook_gets_every_report_and_whether_it_was_measured_earlier(with_hooks: Any) -> None:
    with_hooks.write(
        a_test(f"vae_audit(Model(hinges={OPEN + HIGH * 3!r}), None, pairs=24).require(hinge=at_least(0.3))")
    )
    with_hooks.run()
    with_hooks.run()
    found = [(entry["pairs"], entry["cached"]) for entry in hooked(with_hooks, "report")]
    assert found == [(24, False), (48, False), (24, True), (48, True)]


def test_the_device_hook_is_asked_only_where_nobody_says(with_hooks: Any) -> None:
    with_hooks.write("""
        def test_asks(vae_audit, robust):
            assert vae_audit(robust, None).provenance.environment["device_type"] == "meta:test_asks"

        def test_says(vae_audit, robust):
            assert vae_audit(robust, None, device="cpu").provenance.environment["device_type"] == "cpu"
    """)
    with_hooks.run().assert_outcomes(passed=2)
    assert [entry["test"] for entry in hooked(with_hooks, "device")] == ["test_ci.py::test_asks"]
    with_hooks.run("--vaeaudit-device=cpu", "-k", "says").assert_outcomes(passed=1, deselected=1)
    assert len(hooked(with_hooks, "device")) == 1


def test_the_fingerprint_hook_stands_for_the_weights_where_it_answers(with_hooks: Any) -> None:
    with_hooks.write("""
        def test_known(vae_audit):
            vae_audit(Model(weights="w2"), None)
            vae_audit(Model(weights="w2", device="elsewhere"), None)

        def test_unknown(vae_audit, robust):
            vae_audit(robust, None)
    """)
    with_hooks.run().assert_outcomes(passed=2)
    seeds = {measured[0]: measured[1] for measured in with_hooks.measured}
    assert seeds["w1"] != seeds["w2"]
    (with_hooks.pytester.path / "measured.log").unlink()
    (with_hooks.pytester.path / "conftest.py").write_text(
        (with_hooks.pytester.path / "conftest.py").read_text().replace("known by name", "known by another name")
    )
    with_hooks.run("-k", "test_known")
    assert {measured[1] for measured in with_hooks.measured}.isdisjoint(seeds.values())


def test_another_fingerprint_of_the_hook_measures_anew_whatever_the_seed(with_hooks: Any) -> None:
    with_hooks.write(a_test("vae_audit(fragile, None, seed=5)"))
    with_hooks.run()
    conftest = with_hooks.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("known by name", "known by another name"))
    with_hooks.run()
    assert with_hooks.measured == [["w2", "5", "50", "standard"]] * 2


def test_an_extension_of_a_figure_of_an_earlier_run_is_no_cached_one(with_hooks: Any) -> None:
    with_hooks.write(
        a_test(f"vae_audit(Model(hinges={OPEN + HIGH * 3!r}), None, pairs=24).require(hinge=at_least(0.3))")
    )
    with_hooks.run("--vaeaudit-max-pairs=24")
    with_hooks.run()
    found = [(entry["pairs"], entry["cached"]) for entry in hooked(with_hooks, "report")]
    assert found == [(24, False), (24, True), (48, False)]


def test_another_environment_of_the_hook_measures_anew(with_hooks: Any) -> None:
    with_hooks.write(a_test("vae_audit(robust, None)"))
    with_hooks.run()
    with_hooks.run()
    assert counts(with_hooks) == [50]
    (with_hooks.pytester.path / "accelerator.txt").write_text("two")
    with_hooks.run()
    assert counts(with_hooks) == [50, 50]


def seeds_of(project: Any, call: str, name: str = "test_ci") -> set[str]:
    """The seeds that a test with that call measures with, nothing taken from the cache."""
    log = project.pytester.path / "measured.log"
    log.unlink(missing_ok=True)
    project.write(a_test(call), name)
    project.run(f"{name}.py", "--vaeaudit-cache=off").assert_outcomes(passed=1)
    return {measured[1] for measured in project.measured}


def test_the_same_file_settings_and_weights_draw_the_same_pairs_again(project: Any) -> None:
    first = seeds_of(project, "vae_audit(robust, None)")
    assert len(first) == 1
    assert seeds_of(project, "vae_audit(robust, None)") == first
    # what is asked of the figures does not change them
    assert seeds_of(project, "vae_audit(robust, None, confidence=0.8).require(hinge=at_least(0.1))") == first


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("vae_audit(robust, None)", "test_other"),
        ("vae_audit(fragile, None)", "test_ci"),
        ('vae_audit(robust, None, preset="quick")', "test_ci"),
        ("vae_audit(robust, None, pairs=51)", "test_ci"),
        ('vae_audit(robust, None, divergence="mean_l2")', "test_ci"),
        ('vae_audit(robust, None, penalty="l2")', "test_ci"),
        ("vae_audit(robust, None, strengths=[1.0])", "test_ci"),
    ],
    ids=["file", "weights", "preset", "pairs", "divergence", "penalty", "strengths"],
)
def test_another_file_setting_or_checkpoint_draws_pairs_of_its_own(project: Any, call: str, name: str) -> None:
    assert seeds_of(project, call, name).isdisjoint(seeds_of(project, "vae_audit(robust, None)"))


def test_a_seed_that_is_said_counts(project: Any) -> None:
    assert seeds_of(project, "vae_audit(robust, None, seed=0)") == {"0"}
    assert seeds_of(project, "vae_audit(fragile, None, seed=7)", "test_other") == {"7"}


def test_tests_of_a_file_share_one_measurement(project: Any) -> None:
    project.write("""
        @pytest.mark.parametrize("bar", [0.1, 0.2, 0.3])
        def test_it(vae_audit, robust, bar):
            vae_audit(robust, None).require(hinge=at_least(bar))
    """)
    project.run("--vaeaudit-cache=off").assert_outcomes(passed=3)
    assert counts(project) == [50]


# what must not pass


@pytest.mark.parametrize("swallow", ["contextlib.suppress(Exception)", "contextlib.suppress(AssertionError)"])
def test_a_marked_test_cannot_swallow_what_its_bars_came_to(project: Any, swallow: str) -> None:
    project.write(f"""
        import contextlib

        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit, fragile):
            with {swallow}:
                vae_audit(fragile, None)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["hinge 0.* < 0.3* FAIL (95 %, 50 pairs)", "A bar of the marker was not passed, and*"])


def test_a_swallowed_error_is_no_audit(project: Any) -> None:
    project.write("""
        import contextlib

        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit):
            with contextlib.suppress(Exception):
                vae_audit(object(), None)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["this test is marked vaeaudit but never audited*"])


def test_what_a_later_look_finds_invalid_does_not_pass_by_an_earlier_one(project: Any) -> None:
    project.write("""
        def test_it(vae_audit):
            model = Model(hinge=0.5, spread=0.05, late=(MASKED,))
            vae_audit(model, None).require(hinge=at_least(0.3), auddc=at_least(0.25))
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert ("hinge", "INVALID", "100") in outcomes(result) or ("hinge", "INVALID", "200") in outcomes(result)


def test_nothing_is_reused_of_weights_that_cannot_be_seen(project: Any) -> None:
    project.write("""
        @pytest.mark.parametrize("number", range(2))
        def test_it(vae_audit, number):
            vae_audit(Model(known=False), None).require(hinge=at_least(0.3))
    """)
    project.run().assert_outcomes(passed=2)
    project.run().assert_outcomes(passed=2)
    assert counts(project) == [50] * 4


def test_a_fingerprint_that_a_hook_gives_makes_them_known(project: Any) -> None:
    conftest = project.pytester.path / "conftest.py"
    hook = "\ndef pytest_vaeaudit_fingerprint(config, model):\n    return model.weights\n"
    conftest.write_text(conftest.read_text() + hook)
    project.write("""
        def test_it(vae_audit):
            vae_audit(Model(known=False), None).require(hinge=at_least(0.3))
    """)
    project.run().assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    assert counts(project) == [50]


def test_a_fixture_that_is_asked_for_by_name_counts_like_any(project: Any) -> None:
    project.write("""
        def test_it(request, fragile):
            request.getfixturevalue("vae_audit")(fragile, None).require(hinge=at_least(0.3))
    """)
    result = project.run("--vaeaudit-report=out")
    result.assert_outcomes(failed=1)
    assert outcomes(result) == [("hinge", "FAIL", "50")]
    assert (project.pytester.path / "out" / "summary.md").exists()
    project.run("--vaeaudit-skip").assert_outcomes(skipped=1)


def test_a_hook_of_another_folder_has_no_say(project: Any) -> None:
    for name in ("a", "b"):
        project.pytester.mkdir(name)
        project.write("def test_it(vae_audit, robust): vae_audit(robust, None)", name=f"{name}/test_{name}")
    hook = "def pytest_vaeaudit_device(config, item):\n    return 'cuda'\n"
    (project.pytester.path / "b" / "conftest.py").write_text(hook)
    project.run().assert_outcomes(passed=2)
    together = project.measured
    project.run("a", "--vaeaudit-cache=refresh").assert_outcomes(passed=1)
    assert project.measured[-1] in together


def test_a_copy_of_a_report_is_a_plain_one(project: Any) -> None:
    project.write("""
        import copy, dataclasses
        import vaeaudit

        def test_it(vae_audit, robust):
            report = vae_audit(robust, None)
            assert type(copy.deepcopy(report)) is vaeaudit.AuditReport
            assert copy.deepcopy(report) == report
            with pytest.raises(vaeaudit.OptionError, match="this copy of a report has left its test"):
                dataclasses.replace(report, name="other").require(hinge=at_least(0.1))
    """)
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(("where", "kept"), [("models.py", True), (None, False)], ids=("user", "library"))
def test_of_an_errors_cause_only_the_users_code_is_kept(where: str | None, kept: bool) -> None:
    file = where or Path(verdict.__file__).with_name("inside.py")
    names: dict[str, Any] = {}
    exec(compile("def call():\n    raise ValueError('in there')", str(file), "exec"), names)
    error = ModelError("the encoder failed")
    try:
        names["call"]()
    except ValueError as cause:
        frames = cause.__traceback__
        error.__cause__ = cause.with_traceback(frames and frames.tb_next)
    assert (stripped(error).__cause__ is not None) == kept
    assert error.__traceback__ is None
