"""The committed baseline: its file, what a regression is, what is recorded when, and the bar of another revision."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vaeaudit.baseline import (
    Entry,
    change_of,
    digits_needed,
    entry_of,
    is_open,
    key_of,
    read_baseline,
    updated,
    write_baseline,
)
from vaeaudit import Estimate, ReportError

FILE = "vaeaudit-baseline.json"
HELD = """
def test_no_regression(vae_audit, model):
    vae_audit(model, None).require_no_regression()
"""
HINGE_HELD = """
def test_no_regression(vae_audit, model):
    vae_audit(model, None).require_no_regression("hinge")
"""
KEY = "test_ci.py::test_no_regression | hinge | cpu | float32"


def entry(**changes: Any) -> Entry:
    """An entry as the file holds it."""
    return {
        "test": "t.py::test_x", "score": "hinge", "device": "cpu", "dtype": "float32", "value": 0.5, "low": 0.45,
        "high": 0.55, "n": 50, "unit": "distortion", "higher_is_better": True, "seed": 7, "settings": {"preset": "quick"},
        "weights": "w1", "data": "images", "versions": {"torch": "2.5.0"}, "slack": 0.0, **changes,
    }  # fmt: skip


def recorded(project: Any, **model: Any) -> Any:
    """Record that model's figures, and give back the file's entries."""
    project.set_model(**model)
    project.run("--vaeaudit-update=all").assert_outcomes(passed=1)
    return project.json(FILE)["entries"]


def edit(project: Any, **changes: Any) -> None:
    """Change fields of every entry of the file."""
    path = project.pytester.path / FILE
    content = json.loads(path.read_text())
    for each in content["entries"].values():
        each.update(changes)
    path.write_text(json.dumps(content))


def lines(result: pytest.RunResult) -> str:
    """The output with its lines joined, so that a wrapped sentence can be found."""
    return " ".join(" ".join(line.removeprefix("E").split()) for line in result.outlines)


# the file


def test_the_file_is_sorted_and_holds_one_entry_a_test_and_score(project: Any) -> None:
    project.write(HELD + HELD.replace("no_regression(vae", "again(vae"))
    project.run("--vaeaudit-update=new").assert_outcomes(passed=2)
    text = (project.pytester.path / FILE).read_text()
    keys = [
        f"test_ci.py::{test} | {score} | cpu | float32"
        for test in ("test_again", "test_no_regression")
        for score in ("auddc", "damage", "hinge")
    ]
    assert [line.strip().split('"')[1] for line in text.splitlines() if " | " in line] == keys
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_an_entry_says_all_that_a_later_comparison_needs(project: Any) -> None:
    project.write(HELD)
    project.run("--vaeaudit-update=new", "--vaeaudit-slack=0.1", "--vaeaudit-preset=quick", "--vaeaudit-seed=3")
    found = project.json(FILE)["entries"][KEY]
    assert set(found) == set(entry())
    assert {name: found[name] for name in ("test", "score", "device", "dtype", "n", "seed", "weights")} == {
        "test": "test_ci.py::test_no_regression", "score": "hinge", "device": "cpu", "dtype": "float32", "n": 24, "seed": 3,
        "weights": "w1",
    }  # fmt: skip
    assert found["low"] < found["value"] < found["high"]
    assert found["higher_is_better"] is True
    assert found["settings"] == {"preset": "quick", "pairs": 24, "divergence": "kl"}
    assert found["versions"] == {"vaeaudit": "0.1.0", "torch": "2.15.0", "python": "3.11.7", "device": "cpu"}
    assert found["slack"] == pytest.approx(0.1 * found["value"])


@pytest.mark.parametrize(("score", "higher"), [("hinge", True), ("damage", False)])
def test_an_entry_has_the_direction_of_its_score_whatever_a_cached_report_says(score: str, higher: bool) -> None:
    provenance = SimpleNamespace(environment={}, seed=7, preset="quick", settings={}, weights="w1", source="images")
    report: Any = SimpleNamespace(provenance=provenance)
    turned = Estimate(value=0.5, low=0.4, high=0.6, n=50, higher_is_better=not higher)
    assert entry_of("t.py::test_x", score, turned, report, slack=0, environment={})["higher_is_better"] is higher


def test_versions_that_a_hook_adds_are_recorded(project: Any) -> None:
    project.write(HELD)
    conftest = project.pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text() + '\ndef pytest_vaeaudit_environment(config):\n    return {"quantiser": "4"}\n'
    )
    project.run("--vaeaudit-update=new").assert_outcomes(passed=1)
    assert project.json(FILE)["entries"][KEY]["versions"]["quantiser"] == "4"


def test_every_device_class_has_entries_of_its_own(project: Any) -> None:
    project.write(HINGE_HELD)
    for device in ("cpu", "cuda"):
        project.set_model(device=device)
        project.run("--vaeaudit-update=new").assert_outcomes(passed=1)
    assert list(project.json(FILE)["entries"]) == [KEY, KEY.replace("cpu", "cuda")]


def test_a_figure_that_json_lacks_is_refused_rather_than_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_baseline(tmp_path / FILE, {"k": entry(value=math.nan)})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / FILE
    write_baseline(path, {"k": entry()})
    before = path.read_text()

    def broken(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_baseline(path, {"k": entry(value=0.1)})
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    entries = {key_of(entry()): entry()}
    write_baseline(tmp_path / "sub" / FILE, entries)
    assert read_baseline(tmp_path / "sub" / FILE).entries == entries


def test_a_file_that_is_not_there_has_no_entries(tmp_path: Path) -> None:
    assert read_baseline(tmp_path / FILE).entries == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is not a vaeaudit baseline"),
        ('{"schema": 1, "entries": {"k": ', "is not a vaeaudit baseline"),
        ("\xff\xfe", "is not a vaeaudit baseline"),
        ("[]", "is not a vaeaudit baseline"),
        ('{"coverage": 87}', "is not a vaeaudit baseline"),
        ('{"schema": 1, "entries": []}', "is not a vaeaudit baseline"),
        ('{"schema": 1, "entries": {"k": {"value": 0.5}}}', "is not a vaeaudit baseline"),
        ('{"schema": 99, "entries": {}}', "has schema 99, this version reads 1"),
    ],
)
def test_a_damaged_or_foreign_file_is_a_clear_error(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / FILE
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ReportError, match=says):
        read_baseline(path)


@pytest.mark.parametrize(
    "damage",
    [
        {"low": math.nan, "high": math.nan},
        {"low": None},
        {"high": "0.5"},
        {"value": None},
        {"slack": math.inf},
        {"slack": -1.0},
        {"higher_is_better": None},
        {"settings": None},
        {"versions": "2.5"},
    ],
    ids=str,
)
def test_an_entry_that_could_never_be_failed_or_not_be_compared_is_refused(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / FILE
    path.write_text(json.dumps({"schema": 1, "entries": {"k": entry(**damage)}}))
    with pytest.raises(
        ReportError, match=r"restore it, or delete it and record anew with pytest --vaeaudit-update=new"
    ):
        read_baseline(path)


def test_a_damaged_file_fails_the_test_and_is_left_alone(project: Any) -> None:
    project.write(HELD)
    path = project.pytester.path / FILE
    path.write_text("<<<<<<< HEAD\n")
    result = project.run("--vaeaudit-update=all")
    result.assert_outcomes(failed=1)
    assert "is not a vaeaudit baseline" in lines(result)
    assert path.read_text() == "<<<<<<< HEAD\n"


# what a regression is

FIGURES = st.floats(-100, 100)


@st.composite
def intervals(draw: st.DrawFn) -> dict[str, float]:
    low, value, high = sorted(draw(st.tuples(FIGURES, FIGURES, FIGURES)))
    return {"low": low, "value": value, "high": high}


@given(old=intervals(), new=intervals(), slack=st.sampled_from([0.0, 0.5, 20.0]), higher=st.booleans())
def test_a_regression_lies_wholly_on_the_worse_side_beyond_the_slack(
    old: Any, new: Any, slack: float, higher: bool
) -> None:
    if higher:
        worse, better = new["high"] < old["low"] - slack, new["low"] > old["high"]
    else:
        worse, better = new["low"] > old["high"] + slack, new["high"] < old["low"]
    expected = "worse" if worse else "better" if better else "unchanged"
    found = change_of(
        entry(**old, higher_is_better=higher, slack=slack), entry(**new, higher_is_better=higher, slack=99.0)
    )
    assert found == expected


def test_intervals_that_touch_are_unchanged() -> None:
    assert change_of(entry(low=0.4, high=0.5), entry(low=0.5, high=0.6)) == "unchanged"
    assert change_of(entry(low=0.5, high=0.6), entry(low=0.4, high=0.5)) == "unchanged"


@pytest.mark.parametrize(
    ("update", "kept"),
    [("none", ""), ("new", "new"), ("improved", "new better"), ("all", "new better worse unchanged")],
)
def test_each_way_of_updating_takes_its_own_changes(update: str, kept: str) -> None:
    changes = ("new", "better", "worse", "unchanged")
    records = [{"entry": entry(test=change), "change": change} for change in changes]
    records += [{"entry": None, "change": "new"}, {"change": "worse"}]
    after = updated({"old": entry(test="old")}, records, update)
    assert sorted(each["test"] for each in after.values()) == sorted(["old", *kept.split()])


def test_the_default_scores_are_hinge_auddc_and_damage(project: Any) -> None:
    project.write(HELD)
    assert sorted(each["score"] for each in recorded(project).values()) == ["auddc", "damage", "hinge"]


def test_scores_can_be_named_and_lower_may_be_better(project: Any) -> None:
    project.write("""
        def test_no_regression(vae_audit, model):
            vae_audit(model, None).require_no_regression("condition_number", "decoder.trace")
    """)
    found = recorded(project)
    assert sorted(each["score"] for each in found.values()) == ["decoder.trace", "encoder.condition_number"]
    assert not any(each["higher_is_better"] for each in found.values())
    edit(project, value=0.3, low=0.2, high=0.4)  # far lower than what is measured, so what is measured is worse
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*AssertionError: condition_number * [[]*, *[]], baseline 0.3 [[]0.2, 0.4[]] FAIL (64 images)"]
    )
    edit(project, value=1e9, low=1e9, high=1e9)
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("score", "says"),
    [
        ("hindge", "unknown score 'hindge' (did you mean 'hinge'?); choose one of hinge,"),
        ("linearity", "linearity has no better or worse"),
    ],
)
def test_an_unknown_or_directionless_score_is_refused(project: Any, score: str, says: str) -> None:
    project.write(HELD.replace("regression()", f"regression({score!r})"))
    result = project.run("--vaeaudit-update=all")
    result.assert_outcomes(failed=1)
    assert says in lines(result)
    assert not (project.pytester.path / FILE).exists()


def test_a_regression_fails_with_both_figures_and_what_explains_it(project: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    project.set_model(hinge=0.2)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: hinge 0.* [[]0.*, 0.*[]], baseline 0.* [[]0.*, 0.*[]] FAIL (50 pairs)",
            f"E*worse than {FILE} records, beyond both intervals",
            "E*Easiest pairs:",
            "E*See it: vaeaudit show *",
        ]
    )
    assert "pytest_vaeaudit/" not in result.stdout.str().split("vaeaudit ====")[0]


def test_the_recorded_slack_is_allowed_for_and_told(project: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    project.set_model(hinge=0.4)
    project.run().assert_outcomes(failed=1)
    edit(project, slack=0.2)
    result = project.run("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["hinge *, baseline 0.* [[]0.*, 0.*[]] with a slack of 0.2 PASS (50 pairs)"])


def test_rounding_never_makes_a_regression_look_like_none(project: Any) -> None:
    project.write(HINGE_HELD)
    high = recorded(project)[KEY]["high"]
    edit(project, value=high + 2e-7, low=high + 1e-7, high=high + 3e-7)
    result = project.run()
    result.assert_outcomes(failed=1)
    (line,) = {
        line.removeprefix("E").strip() for line in result.outlines if " FAIL (50 pairs)" in line and "Error" in line
    }
    said = [float(number) for number in re.findall(r"\d\.\d+(?:e-\d+)?", line)]
    assert said[2] < said[4], "the new figure's upper end lies below the recorded one's lower end, as it is told too"


@given(old=intervals(), new=intervals(), slack=st.sampled_from([0.0, 0.1234567]), higher=st.booleans())
def test_as_many_digits_are_told_as_the_comparison_takes(old: Any, new: Any, slack: float, higher: bool) -> None:
    before, after = (entry(**ends, higher_is_better=higher, slack=slack) for ends in (old, new))
    digits = digits_needed(before, after)
    told = [
        {**each, **{end: float(f"{each[end]:.{digits}g}") for end in ("low", "high", "slack")}}
        for each in (before, after)
    ]
    assert change_of(told[0], told[1]) == change_of(before, after)
    assert digits_needed(before, before) == 3


def test_a_figure_that_nothing_bounds_on_its_better_side_is_invalid_where_a_bounded_one_would_fail(
    project: Any,
) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    project.set_model(hinge=0.2, censored=True)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "INVALID" in lines(result)
    assert f"worse side of the interval that {FILE} records, so whether it regressed cannot be told" in lines(result)
    project.run("--vaeaudit-update=all").assert_outcomes(passed=1)
    recorded(project)
    project.set_model(hinge=0.9, censored=True)
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("high", [None, 0.55])
def test_a_figure_open_towards_better_may_begin_below_the_recorded_one_as_any_other_may(high: float | None) -> None:
    """Two draws of one model, or two machines: which of the intervals begins lower is chance."""
    before = entry(value=0.5, low=0.45, high=high)
    assert not is_open(before, entry(value=0.5, low=0.45 - 1e-12, high=None))
    assert not is_open(before, entry(value=0.46, low=0.38, high=None))
    assert is_open(before, entry(value=0.44, low=0.38, high=None))
    assert not is_open({**before, "slack": 0.02}, entry(value=0.44, low=0.38, high=None))
    assert not is_open(before, entry(value=0.44, low=0.38, high=0.6)), "change_of tells of bounded ones"


def test_two_audits_of_one_test_are_not_held_against_one_entry(project: Any) -> None:
    project.write("""
        def test_no_regression(vae_audit, robust, fragile):
            for model in (robust, fragile):
                vae_audit(model, None).require_no_regression("hinge")
    """)
    result = project.run("--vaeaudit-update=new")
    result.assert_outcomes(failed=1)
    assert "parametrize" in lines(result)


def test_one_audit_may_be_held_against_it_twice(project: Any) -> None:
    project.write("""
        def test_no_regression(vae_audit, model):
            report = vae_audit(model, None)
            report.require_no_regression("hinge")
            report.require_no_regression("hinge", "auddc")
    """)
    assert len(recorded(project)) == 2


# what is missing


def test_a_missing_entry_warns_outside_ci_and_says_how_to_create_it(project: Any) -> None:
    project.write(HINGE_HELD)
    result = project.run()
    result.assert_outcomes(passed=1, warnings=1)
    says = (
        f"{FILE} has no entry for this test, score, device class and dtype. Create it: pytest {KEY.partition(' ')[0]}"
    )
    assert f"{says} --vaeaudit-update=new, and commit" in lines(result)
    assert not (project.pytester.path / FILE).exists()


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER"])
def test_a_missing_entry_fails_in_ci_and_says_how_to_create_it(
    project: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    project.write(HELD)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: hinge 0.* [[]0.*, 0.*[]], no baseline INVALID (50 pairs)"])
    assert "--vaeaudit-update=new, and commit" in lines(result)
    project.run("--vaeaudit-update=new").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)


# what is recorded when


@pytest.mark.parametrize("update", ["none", "new", "improved", "all"])
def test_from_scratch_everything_but_none_records(project: Any, update: str) -> None:
    project.write(HINGE_HELD)
    project.run(f"--vaeaudit-update={update}").assert_outcomes(passed=1, warnings=None)
    assert (project.pytester.path / FILE).exists() == (update != "none")


@pytest.mark.parametrize(("update", "records"), [("none", False), ("new", False), ("improved", True), ("all", True)])
def test_an_improvement_is_recorded_when_asked_for_and_reported_otherwise(
    project: Any, update: str, records: bool
) -> None:
    project.write(HINGE_HELD)
    before = recorded(project)[KEY]
    project.set_model(hinge=0.7)
    result = project.run(f"--vaeaudit-update={update}")
    result.assert_outcomes(passed=1)
    after = project.json(FILE)["entries"][KEY]
    assert (after["value"] > before["high"]) == records
    assert (after == before) == (not records)
    if records:
        result.stdout.fnmatch_lines([f"{FILE}: 1 entry recorded; commit the file"])
    else:
        result.stdout.fnmatch_lines(["1 figure improved: record with pytest --vaeaudit-update=improved"])


@pytest.mark.parametrize(("update", "passes"), [("none", False), ("new", False), ("improved", False), ("all", True)])
def test_a_regression_is_recorded_only_with_all(project: Any, update: str, passes: bool) -> None:
    project.write(HINGE_HELD)
    before = recorded(project)[KEY]
    project.set_model(hinge=0.2)
    project.run(f"--vaeaudit-update={update}").assert_outcomes(passed=passes, failed=not passes)
    assert (project.json(FILE)["entries"][KEY] == before) == (not passes)


@pytest.mark.parametrize(("update", "same"), [("improved", True), ("all", False)])
def test_a_figure_within_its_interval_moves_only_with_all(project: Any, update: str, same: bool) -> None:
    project.write(HINGE_HELD)
    before = recorded(project)[KEY]
    project.set_model(hinge=0.505)
    project.run(f"--vaeaudit-update={update}").assert_outcomes(passed=1)
    assert (project.json(FILE)["entries"][KEY] == before) == same


@pytest.mark.parametrize(
    "fault", ["def test_other(): assert False", "@pytest.fixture\ndef broken(): 1 / 0\ndef test_other(broken): pass"]
)
def test_a_failing_run_never_writes(project: Any, fault: str) -> None:
    project.write(HELD + fault)
    result = project.run("--vaeaudit-update=all")
    assert result.ret == 1
    assert not (project.pytester.path / FILE).exists()
    result.stdout.fnmatch_lines([f"{FILE} was not written: only a run in which everything passes writes it"])


def test_a_run_cut_short_never_writes(project: Any) -> None:
    project.write(HELD + "def test_stop(): pytest.exit('enough')")
    assert project.run("--vaeaudit-update=all").ret == pytest.ExitCode.INTERRUPTED
    assert not (project.pytester.path / FILE).exists()


def test_a_run_with_a_file_that_cannot_be_collected_never_writes(project: Any) -> None:
    project.write(HELD)
    project.write("import nowhere_to_be_found", name="test_other")
    project.run("--vaeaudit-update=all", "--continue-on-collection-errors").assert_outcomes(passed=1, errors=1)
    assert not (project.pytester.path / FILE).exists()


def test_a_partial_run_keeps_the_other_entries(project: Any) -> None:
    project.write(HINGE_HELD + HINGE_HELD.replace("no_regression(vae", "other(vae"))
    project.set_model(hinge=0.5)
    project.run("--vaeaudit-update=new").assert_outcomes(passed=2)
    before = project.json(FILE)["entries"]
    project.set_model(hinge=0.7)
    project.run("--vaeaudit-update=improved", "-k", "other").assert_outcomes(passed=1, deselected=1)
    after = project.json(FILE)["entries"]
    assert after.keys() == before.keys()
    assert [key for key in after if after[key] != before[key]] == [KEY.replace("no_regression", "other")]


def test_a_run_that_compares_nothing_leaves_the_file_alone(project: Any) -> None:
    project.write("def test_bar(vae_audit, robust): vae_audit(robust, None).require(hinge=at_least(0.3))")
    project.run("--vaeaudit-update=all").assert_outcomes(passed=1)
    assert not (project.pytester.path / FILE).exists()


def test_an_invalid_figure_is_never_recorded(project: Any) -> None:
    project.write(HINGE_HELD)
    project.set_model(masked=True)
    result = project.run("--vaeaudit-update=all")
    result.assert_outcomes(failed=1)
    assert "INVALID (50 pairs)" in lines(result)
    assert "its gradients mislead the attack" in lines(result)
    assert not (project.pytester.path / FILE).exists()


def test_even_a_tolerated_failure_records_nothing_invalid(project: Any) -> None:
    project.write("@pytest.mark.xfail" + HINGE_HELD + "def test_fine(): pass")
    project.set_model(masked=True)
    project.run("--vaeaudit-update=all").assert_outcomes(xfailed=1, passed=1)
    assert not (project.pytester.path / FILE).exists()


def test_the_file_lies_where_the_option_says(project: Any) -> None:
    project.write(HINGE_HELD)
    project.run("--vaeaudit-update=new", "--vaeaudit-baseline=ci/bars.json").assert_outcomes(passed=1)
    assert list(project.json("ci/bars.json")["entries"]) == [KEY]


# settings and environment


def test_other_settings_refuse_the_comparison(project: Any) -> None:
    project.write(HINGE_HELD)
    before = recorded(project)
    for update in ("none", "new", "improved"):
        result = project.run("--vaeaudit-preset=quick", f"--vaeaudit-update={update}")
        result.assert_outcomes(failed=1)
        assert "INVALID" in lines(result)
        assert "cannot be compared: pairs 50 -> 24, preset standard -> quick." in lines(result)
        assert "pytest --vaeaudit-update=all" in lines(result)
    assert project.json(FILE)["entries"] == before
    project.run("--vaeaudit-preset=quick", "--vaeaudit-update=all").assert_outcomes(passed=1)
    project.run("--vaeaudit-preset=quick").assert_outcomes(passed=1)


def test_another_environment_warns_once_with_the_fields(project: Any) -> None:
    project.write(HELD + HELD.replace("no_regression(vae", "again(vae"))
    project.run("--vaeaudit-update=new").assert_outcomes(passed=2)
    versions = project.json(FILE)["entries"][KEY]["versions"]
    edit(project, versions={**versions, "vaeaudit": "0.0.9"})
    result = project.run()
    result.assert_outcomes(passed=2, warnings=1)
    assert f"{FILE} was recorded in another environment: vaeaudit 0.0.9 -> 0.1.0" in lines(result)


# the bar of another revision


@pytest.fixture
def git(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs git in the project's folder, apart from this machine's configuration."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.pytester.path.parent))

    def run(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=project.pytester.path, check=True, capture_output=True)

    return run


def commit(git: Any) -> None:
    git("add", "-A")
    git("commit", "-m", "state")


def test_lowering_the_file_in_the_working_tree_does_not_lower_the_bar(project: Any, git: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    git("init", "-b", "main")
    commit(git)
    project.set_model(hinge=0.2)
    recorded(project, hinge=0.2)
    project.run().assert_outcomes(passed=1)
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert f"worse than {FILE} at main records" in lines(result)
    (project.pytester.path / FILE).unlink()
    project.run("--vaeaudit-baseline-ref=main").assert_outcomes(failed=1)
    commit(git)
    project.run("--vaeaudit-baseline-ref=HEAD~1").assert_outcomes(failed=1)


@pytest.mark.parametrize("escape", ["renamed test", "another file"])
def test_a_change_cannot_bring_its_own_bar(
    project: Any, git: Any, monkeypatch: pytest.MonkeyPatch, escape: str
) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    git("init", "-b", "main")
    commit(git)
    project.set_model(hinge=0.2)
    project.run("--vaeaudit-baseline-ref=main").assert_outcomes(failed=1)
    if escape == "renamed test":
        project.write(HINGE_HELD.replace("test_no_regression", "test_renamed"))
    else:
        project.pytester.makeini("[pytest]\nvaeaudit_baseline = other.json")
    project.run("--vaeaudit-update=new").assert_outcomes(passed=1)
    monkeypatch.setenv("CI", "1")
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert "at main has no entry for this test" in lines(result)
    assert "it counts once it is at that revision" in lines(result)
    project.run().assert_outcomes(passed=1)


def test_an_update_in_the_ini_file_is_refused_in_ci(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(HINGE_HELD)
    project.pytester.makeini("[pytest]\nvaeaudit_update = all")
    project.run().assert_outcomes(passed=1)
    monkeypatch.setenv("CI", "1")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*vaeaudit_update in CI would let a change accept its own figures*"])
    project.run("--vaeaudit-update=none").assert_outcomes(passed=1)


def test_other_images_are_not_compared(project: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    project.set_model(source="other images")
    result = project.run()
    result.assert_outcomes(failed=1)
    assert f"the images differ from those of {FILE}" in lines(result)
    project.run("--vaeaudit-update=all").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)


def test_a_model_whose_curves_no_longer_saturate_has_not_regressed(project: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    project.set_model(hinge=0.9, censored=True)
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "inf]" in lines(result)


def test_a_test_that_is_expected_to_fail_records_nothing(project: Any) -> None:
    project.write("""
        @pytest.mark.xfail(strict=False)
        def test_it(vae_audit, model):
            vae_audit(model, None).require_no_regression("hinge")
            assert False
    """)
    project.run("--vaeaudit-update=new").assert_outcomes(xfailed=1)
    assert not (project.pytester.path / FILE).exists()


def test_a_baseline_that_cannot_be_written_fails_the_session(project: Any) -> None:
    project.write(HINGE_HELD)
    (project.pytester.path / "file").write_text("")
    result = project.run("--vaeaudit-update=new", "--vaeaudit-baseline=file/b.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in lines(result)


def test_of_two_entries_under_one_key_none_counts(project: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    found = json.dumps(project.json(FILE)["entries"][KEY])
    twice = f'{{"schema": 1, "entries": {{"{KEY}": {found}, "{KEY}": {found}}}}}'
    (project.pytester.path / FILE).write_text(twice)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "stands there twice" in lines(result)


def test_an_update_against_a_revision_writes_the_working_tree(project: Any, git: Any) -> None:
    project.write(HINGE_HELD)
    recorded(project)
    git("init", "-b", "main")
    commit(git)
    project.set_model(hinge=0.7)
    project.run("--vaeaudit-baseline-ref=main", "--vaeaudit-update=improved").assert_outcomes(passed=1)
    assert project.json(FILE)["entries"][KEY]["value"] > 0.6
    project.set_model(hinge=0.5)
    project.run().assert_outcomes(failed=1)


def test_a_file_that_neither_knows_is_missing_in_ci(project: Any, git: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    project.write(HINGE_HELD)
    git("init", "-b", "main")
    commit(git)
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert f"{FILE} at main has no entry" in lines(result)


def test_an_unknown_revision_fails_and_says_how_to_get_it(project: Any, git: Any) -> None:
    project.write(HINGE_HELD)
    git("init", "-b", "main")
    commit(git)
    for revision in ("origin/main", "--all", "main:conftest.py", ""):
        result = project.run(f"--vaeaudit-baseline-ref={revision}")
        assert result.ret != 0
        if revision:
            result.assert_outcomes(failed=1)
            assert f"git knows no revision '{revision}'" in lines(result)
            assert "fetch it first" in lines(result)


def test_a_folder_that_is_no_repository_is_a_clear_error(project: Any, git: Any) -> None:
    project.write(HINGE_HELD)
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert "not a git repository" in lines(result)


def test_a_repository_that_git_distrusts_is_called_that(
    project: Any, git: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(HINGE_HELD)
    git("init", "-b", "main")
    commit(git)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert "dubious ownership" in lines(result)


def test_a_machine_without_git_is_a_clear_error(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(HINGE_HELD)
    monkeypatch.setenv("PATH", str(project.pytester.path))
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert "the baseline at main cannot be read: git cannot be run" in lines(result)


def test_a_damaged_file_at_the_revision_is_a_clear_error(project: Any, git: Any) -> None:
    project.write(HINGE_HELD)
    (project.pytester.path / FILE).write_text("{}")
    git("init", "-b", "main")
    commit(git)
    (project.pytester.path / FILE).unlink()
    result = project.run("--vaeaudit-baseline-ref=main")
    result.assert_outcomes(failed=1)
    assert f"{FILE} at main is not a vaeaudit baseline" in lines(result)


@pytest.mark.parametrize("folder", ["bars", "bars of mine/käse"])
def test_a_baseline_in_a_subfolder_is_found_at_the_revision(project: Any, git: Any, folder: str) -> None:
    project.write(HINGE_HELD)
    where = f"--vaeaudit-baseline={folder}/b.json"
    project.run("--vaeaudit-update=new", where).assert_outcomes(passed=1)
    git("init", "-b", "main")
    commit(git)
    project.set_model(hinge=0.2)
    for path in sorted((project.pytester.path / folder).rglob("*")):
        path.unlink()
    (project.pytester.path / folder).rmdir()
    project.run(where, "--vaeaudit-baseline-ref=main").assert_outcomes(failed=1)


def test_a_project_below_the_root_of_the_repository_reads_its_own_file(
    project: Any, git: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project.pytester.path
    write_baseline(root / FILE, {key_of(entry(test="root's")): entry(test="root's")})
    below = root / "package"
    below.mkdir()
    write_baseline(below / FILE, {key_of(entry(test="package's")): entry(test="package's")})
    git("init", "-b", "main")
    commit(git)
    (below / FILE).unlink()
    assert list(read_baseline(below / FILE, "main").entries) == [key_of(entry(test="package's"))]
    monkeypatch.chdir(below)
    assert list(read_baseline(root / FILE, "main").entries) == [key_of(entry(test="root's"))]
