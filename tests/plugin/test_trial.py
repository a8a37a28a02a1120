"""How far a test measures: extended while a bar is open, within its budgets, and each time the same pairs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import pytest_vaeaudit.trial

from .conftest import HIGH, LOW, OPEN, a_test, counts, errors, outcomes


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


def test_what_a_later_look_finds_invalid_does_not_pass_by_an_earlier_one(project: Any) -> None:
    project.write("""
        def test_it(vae_audit):
            model = Model(hinge=0.5, spread=0.05, late=(MASKED,))
            vae_audit(model, None).require(hinge=at_least(0.3), auddc=at_least(0.25))
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert ("hinge", "INVALID", "100") in outcomes(result) or ("hinge", "INVALID", "200") in outcomes(result)


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


def test_nothing_is_reused_of_weights_that_cannot_be_seen(project: Any) -> None:
    project.write("""
        @pytest.mark.parametrize("number", range(2))
        def test_it(vae_audit, number):
            vae_audit(Model(known=False), None).require(hinge=at_least(0.3))
    """)
    project.run().assert_outcomes(passed=2)
    project.run().assert_outcomes(passed=2)
    assert counts(project) == [50] * 4
