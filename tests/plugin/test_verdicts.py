"""What bars come to, and what that does to their test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import OPEN, a_test, counts, outcomes


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
    project.write(a_test(f"vae_audit(Model(hinges={OPEN!r}, images=24), None).require(hinge=at_least(0.3))"))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: hinge * against >= 0.3* INCONCLUSIVE (95 %, 24 pairs)",
            "E*Neither passed nor failed: judged at 24 pairs; the data allow no more",
        ]
    )


@pytest.mark.parametrize("policy", ["fail", "warn", "skip"])
def test_an_open_bar_does_to_its_test_what_the_ini_file_says(project: Any, policy: str) -> None:
    project.write(
        a_test(f"vae_audit(Model(hinges={OPEN!r}, images=24), None).require(hinge=at_least(0.3), auddc=at_least(0.01))")
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
            model = Model(hinges={OPEN!r}, images=24)
            vae_audit(model, None).require(hinge=at_least(0.3), auddc=at_least(0.9))

        def test_invalid(vae_audit):
            model = Model(hinges={OPEN!r}, images=24, findings=(MASKED,))
            vae_audit(model, None).require(hinge=at_least(0.3), linearity=at_least(0.9))
    """)
    project.run(f"--vaeaudit-inconclusive={policy}").assert_outcomes(failed=2)


@pytest.mark.filterwarnings("ignore")
def test_a_warning_of_an_open_bar_is_an_error_where_warnings_are(project: Any) -> None:
    project.write(a_test(f"vae_audit(Model(hinges={OPEN!r}, images=24), None).require(hinge=at_least(0.3))"))
    result = project.run("--vaeaudit-inconclusive=warn", "-W", "error::UserWarning")
    result.assert_outcomes(failed=1)
    assert not re.search(r"vaeaudit/\w+\.py", result.stdout.str())


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
