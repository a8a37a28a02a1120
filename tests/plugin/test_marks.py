"""The marker: what it says wrongly is an error at collection, and the closest of several counts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from vaeaudit.score_names import DIRECTIONS

ONE = """
    @pytest.mark.vaeaudit({said})
    def test_it(vae_audit, robust):
        vae_audit(robust, None)
"""
SCORES = ", ".join(DIRECTIONS)
WRONG = {
    "an unknown score": ("hing=at_least(0.3)", ("unknown 'hing' (did you mean 'hinge'?); scores are hinge, auddc", SCORES, "options are preset, device")),
    "a mistyped option": ("hinge=at_least(0.3), confidance=0.9", ("unknown 'confidance'", SCORES, "pairs, seed, confidence")),
    "a wrong option": ("preset='huge'", ("preset expects one of quick, standard, thorough, got 'huge'",)),
    "an unknown divergence": ("divergence='klx'", ("divergence expects one of kl, kl_reverse, symmetric_kl",)),
    "an unknown penalty": ("penalty='l7'", ("penalty expects one of l2_squared, l2, got 'l7'",)),
    "an unknown series": ("strengths='abc'", ("strengths expects \"tabacof2016\"",)),
    "a device that is none": ("device='gpu0'", ("device expects a device such as",)),
    "a confidence of none": ("confidence=0.5", ("confidence expects a number above 0.5 and below 1, got 0.5",)),
    "a bar that points the wrong way": (
        "hinge=at_most(0.3)", ("hinge: higher is more robust, so the bar is at_least(...), got at_most(0.3)",),
    ),
    "a bar of the wrong direction on a spectrum": (
        "condition_number=at_least(3)", ("condition_number: lower is more robust, so the bar is at_most(...)",),
    ),
    "a number instead of a bar": ("hinge=0.3", ("hinge: expected at_least(...) or at_most(...), got 0.3",)),
    "a bar by position": (
        "at_least(0.3)", ("bars and options go in by name, such as hinge=at_least(0.3); got Bar(",),
    ),
    "a bar that no model reaches": ("hinge=at_least(1.5)", ("hinge is never above 1, so no model can pass at_least(1.5)",)),
    "too few pairs for a median": (
        "hinge=at_least(0.3), pairs=4, max_pairs=4",
        ("hinge: 4 pairs can never pass a bar at 0.95 confidence; the smallest number that can is 5",),
    ),
    "too few pairs for a mean": (
        "auddc=at_least(0.1), pairs=5, max_pairs=5",
        ("auddc: 5 pairs can never pass a bar at 0.95 confidence; the smallest number that can is 6",),
    ),
    "too few pairs for so high a confidence": (
        "hinge=at_least(0.1), pairs=5, max_pairs=5, confidence=0.999",
        ("hinge: 5 pairs can never pass a bar at 0.999 confidence; the smallest number that can is 10",),
    ),
    "too few pairs even when extended": (
        "hinge=at_least(0.1), pairs=1",
        ("hinge: 4 pairs can never pass a bar at 0.95 confidence; the smallest number that can is 6",),
    ),
    "an extension that is no more": (
        "hinge=at_least(0.3), pairs=24, max_pairs=12", ("max_pairs = 12 is fewer than the 24 pairs first measured",),
    ),
    "an extension that is no more, without bars": (
        "pairs=24, max_pairs=12", ("max_pairs = 12 is fewer than the 24 pairs first measured",),
    ),
}  # fmt: skip


def refusal(result: pytest.RunResult) -> str:
    """What is said of a marker that was refused, line breaks taken out."""
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "pytest_vaeaudit/" not in text
    return text


@pytest.mark.parametrize("fault", WRONG)
def test_what_a_marker_says_wrongly_is_an_error_at_collection_that_names_the_test(project: Any, fault: str) -> None:
    said, expected = WRONG[fault]
    project.write(ONE.format(said=said))
    told = refusal(project.run())
    for words in expected:
        assert words in told
    assert "test_ci.py::test_it: @pytest.mark.vaeaudit: " in told
    assert project.measured == []


def test_merely_listing_the_tests_shows_the_error_too(project: Any) -> None:
    project.write(ONE.format(said="hing=at_least(0.3)"))
    assert "test_ci.py::test_it: @pytest.mark.vaeaudit: unknown 'hing'" in refusal(project.run("--collect-only", "-q"))


def test_every_fault_of_a_file_is_told_at_once(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(0.3, hing=at_least(0.3), preset="huge", auddc=0.1)
        def test_four(vae_audit): pass

        @pytest.mark.vaeaudit(hinge=at_most(0.3))
        def test_one(vae_audit): pass
    """)
    told = refusal(project.run()).splitlines()
    for words in ("go in by name", "unknown 'hing'", "preset expects", "auddc: expected"):
        assert sum(line.startswith("test_ci.py::test_four: ") and words in line for line in told) == 1
    assert sum(line.startswith("test_ci.py::test_one: ") and "hinge: higher is more" in line for line in told) == 1


def test_a_fault_inside_a_class_names_the_class(project: Any) -> None:
    project.write("""
        class TestIt:
            @pytest.mark.vaeaudit(hinge=at_most(0.3))
            def test_one(self, vae_audit): pass
    """)
    assert "test_ci.py::TestIt::test_one: @pytest.mark.vaeaudit: hinge: higher is" in refusal(project.run())


def test_other_files_are_collected_and_run_if_pytest_is_told_to_continue(project: Any) -> None:
    project.write(ONE.format(said="hing=at_least(0.3)"))
    project.write(ONE.format(said="hinge=at_least(0.3)"), "test_other")
    stopped = project.run()
    stopped.assert_outcomes(errors=1)
    assert project.measured == []
    result = project.run("--continue-on-collection-errors")
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("said", "score", "needed"),
    [
        ("", "hinge", 5),
        ("confidence=0.999", "hinge", 10),
        ("", "auddc", 6),
    ],
)
def test_the_smallest_number_that_is_told_does_pass_and_one_fewer_cannot(
    project: Any, said: str, score: str, needed: int
) -> None:
    test = """
        @pytest.mark.vaeaudit({score}=at_least(0.001), pairs={pairs}, max_pairs={pairs}, {said})
        def test_it(vae_audit):
            vae_audit(Model(hinge=0.9, spread=0.0), None)
    """
    project.write(test.format(said=said, score=score, pairs=needed - 1))
    assert f"the smallest number that can is {needed}" in refusal(project.run())
    project.write(test.format(said=said, score=score, pairs=needed))
    project.run().assert_outcomes(passed=1)


def test_pairs_and_confidence_of_the_session_count_for_what_is_possible(project: Any) -> None:
    project.write(ONE.format(said="hinge=at_least(0.3)"))
    told = refusal(project.run("--vaeaudit-pairs=5", "--vaeaudit-max-pairs=5", "--vaeaudit-confidence=0.99"))
    assert "5 pairs can never pass a bar at 0.99 confidence; the smallest number that can is 7" in told


def test_a_score_of_images_is_not_refused_for_few_pairs(project: Any) -> None:
    project.write(ONE.format(said="condition_number=at_most(200), pairs=2, max_pairs=2"))
    project.run("--collect-only").assert_outcomes()
    assert project.run().ret == pytest.ExitCode.OK


def test_a_budget_of_pairs_below_the_first_measurement_is_refused_in_the_call_too(project: Any) -> None:
    project.write("""
        def test_it(vae_audit, robust):
            vae_audit(robust, None, preset="quick", max_pairs=12)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*OptionError: max_pairs = 12 is fewer than the 24 pairs first measured"])
    assert project.measured == []


def test_a_bar_of_the_call_that_so_few_pairs_can_never_pass_is_refused_before_anything_is_measured(
    project: Any,
) -> None:
    project.write("""
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit, robust):
            vae_audit(robust, None, pairs=4, max_pairs=4)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*OptionError: hinge: 4 pairs can never pass*the smallest number that can is 5"])
    assert project.measured == []


def test_the_closest_of_class_module_and_function_counts_for_every_bar_and_option_by_itself(project: Any) -> None:
    project.write("""
        pytestmark = pytest.mark.vaeaudit(
            hinge=at_least(0.1), auddc=at_least(0.01), confidence=0.8, preset="quick", seed=1
        )

        def test_module(vae_audit, robust):
            vae_audit(robust, None)

        @pytest.mark.vaeaudit(hinge=at_least(0.2), seed=2)
        class TestClass:
            def test_class(self, vae_audit, robust):
                vae_audit(robust, None)

            @pytest.mark.vaeaudit(hinge=at_least(0.3), confidence=0.9)
            @pytest.mark.vaeaudit(hinge=at_least(0.25), seed=3)
            def test_function(self, vae_audit, robust):
                vae_audit(robust, None)
    """)
    result = project.run("-v")
    result.assert_outcomes(passed=3)
    lines = result.stdout.str().splitlines()
    bars = {}
    for line, test in itertools.pairwise(lines):
        if " PASS (" in line:
            name = test.strip().partition(",")[0].rpartition("::")[2]
            bars.setdefault(name, []).append((line.split()[0], float(line.split()[5]), line.split()[7].strip("(")))
    assert {name: sorted(found) for name, found in bars.items()} == {
        "test_module": [("auddc", 0.01, "80"), ("hinge", 0.1, "80")],
        "test_class": [("auddc", 0.01, "80"), ("hinge", 0.2, "80")],
        "test_function": [("auddc", 0.01, "90"), ("hinge", 0.25, "90")],
    }
    assert sorted(measured[1] for measured in project.measured) == ["1", "2", "3"]
    assert {measured[3] for measured in project.measured} == {"quick"}


def test_the_faults_of_a_wider_marker_that_a_closer_one_mends_do_not_matter(project: Any) -> None:
    project.write("""
        pytestmark = pytest.mark.vaeaudit(hinge=at_most(0.1))

        @pytest.mark.vaeaudit(hinge=at_least(0.1))
        def test_it(vae_audit, robust):
            vae_audit(robust, None)
    """)
    project.run().assert_outcomes(passed=1)


ADDS = """
def pytest_collection_modifyitems(items):
    from vaeaudit import at_least
    for item in items:
        item.add_marker(pytest.mark.vaeaudit({said}))
"""


def add_to_conftest(project: Any, text: str) -> None:
    path = project.pytester.path / "conftest.py"
    path.write_text(path.read_text() + text)


def test_a_marker_that_a_hook_adds_later_is_applied(project: Any) -> None:
    add_to_conftest(project, ADDS.format(said="hinge=at_least(0.3)"))
    project.write("""
        def test_it(vae_audit, fragile):
            vae_audit(fragile, None)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: hinge 0.* < 0.3* FAIL (95 %, 50 pairs)"])


def test_a_marker_that_a_hook_adds_later_is_checked_before_anything_is_measured(project: Any) -> None:
    add_to_conftest(project, ADDS.format(said="hing=at_least(0.3)"))
    project.write("""
        def test_it(vae_audit, robust):
            vae_audit(robust, None)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*OptionError: unknown 'hing' (did you mean 'hinge'[?]); scores are hinge, auddc, *"])
    result.stdout.no_fnmatch_line("*pytest_vaeaudit/*")
    assert project.measured == []


@pytest.mark.parametrize(
    "body",
    ["pass", "vae_audit", "assert vae_audit is not None"],
    ids=("does nothing", "names the fixture", "looks at the fixture"),
)
def test_a_marked_test_that_never_audits_is_an_error(project: Any, body: str) -> None:
    project.write(f"""
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit):
            {body}
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["this test is marked vaeaudit but never audited, so it asserts nothing: *"])


def test_a_marked_test_without_the_fixture_is_an_error(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it():
            pass
    """)
    project.run().assert_outcomes(failed=1)


def test_a_marked_test_that_is_skipped_or_fails_by_itself_is_told_nothing_more(project: Any) -> None:
    project.write("""
        @pytest.mark.skip
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_skipped(vae_audit):
            pass

        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_skips(vae_audit):
            pytest.skip("no accelerator")

        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_fails(vae_audit):
            assert 1 == 2
    """)
    result = project.run()
    result.assert_outcomes(skipped=2, failed=1)
    result.stdout.no_fnmatch_line("*never audited*")


def test_an_audit_that_was_refused_is_no_audit(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(vae_audit, robust):
            with pytest.raises(ValueError, match="vae_audit has no option"):
                vae_audit(robust, None, presett="quick")
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["this test is marked vaeaudit but never audited*"])


def test_an_audit_in_a_fixture_of_the_users_counts_for_the_marked_test(project: Any) -> None:
    project.write("""
        @pytest.fixture
        def report(vae_audit, robust):
            return vae_audit(robust, None)

        @pytest.mark.vaeaudit(hinge=at_least(0.3))
        def test_it(report):
            assert report.hinge.n == 50
    """)
    project.run().assert_outcomes(passed=1)


def test_the_marker_of_a_single_parameter_counts_for_that_one(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(hinge=at_least(0.1))
        @pytest.mark.parametrize("hinge", [
            pytest.param(0.5, marks=pytest.mark.vaeaudit(hinge=at_least(0.9))),
            0.5,
            0.05,
        ])
        def test_it(vae_audit, hinge):
            vae_audit(Model(hinge=hinge, spread=0.01), None)
    """)
    result = project.run("-rA", "--tb=no")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "PASSED test_ci.py::test_it[[]0.5_1]",
            "FAILED test_ci.py::test_it[[]0.5_0]*",
            "FAILED test_ci.py::test_it[[]0.05]*",
        ]
    )


def test_the_error_of_a_parameters_marker_names_the_parameter(project: Any) -> None:
    project.write("""
        @pytest.mark.parametrize("hinge", [
            pytest.param(0.5, marks=pytest.mark.vaeaudit(hinge=0.9), id="first"),
            pytest.param(0.5, id="second"),
        ])
        def test_it(vae_audit, hinge):
            vae_audit(Model(hinge=hinge), None)
    """)
    told = refusal(project.run())
    assert "test_ci.py::test_it[first]: @pytest.mark.vaeaudit: hinge: expected at_least(...)" in told
    assert "second" not in told


def test_a_score_with_a_dot_goes_in_by_its_full_name(project: Any) -> None:
    project.write(ONE.format(said="**{'decoder.spectral_radius': at_most(1000)}"))
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["decoder.spectral_radius * <= 1000* PASS (95 %, 64 images)"])


def test_a_module_without_markers_does_not_load_the_library(project: Any) -> None:
    project.pytester.makepyfile("""
        import sys

        def test_it():
            assert "vaeaudit" not in sys.modules
    """)
    project.pytester.path.joinpath("conftest.py").unlink()
    project.run_apart().assert_outcomes(passed=1)
