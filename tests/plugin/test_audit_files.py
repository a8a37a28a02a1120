"""Audit files: every threshold of an `audit_*.toml` is a test item."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest

HEAD = """
model = "zoo_stub:model"
data = "zoo_stub:images"
"""
BARS = """
[thresholds]
hinge = { at_least = 0.3 }
condition_number = { at_most = 1e6 }
decoder.trace = { at_most = 1e-6 }
"""


@pytest.fixture
def files(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The project, whose audit files all name the stand-in model that model.json describes."""

    def load_model(content: Any) -> Any:
        from stand_in import Model  # type: ignore[import-not-found]  # of the run, whose conftest finds it

        return Model(**json.loads((content.folder / "model.json").read_text()))

    loading = ModuleType("vaeaudit.loading")
    loading.load_model, loading.load_data = load_model, lambda content: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vaeaudit.loading", loading)
    return project


def write(project: Any, text: str, name: str = "audit_release.toml") -> None:
    path = project.pytester.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def lines(result: pytest.RunResult) -> str:
    """The output with its lines joined, so that a wrapped sentence can be found."""
    return " ".join(" ".join(line.removeprefix("E").split()) for line in result.outlines)


# collection


def test_every_threshold_is_an_item(project: Any) -> None:
    write(project, HEAD + BARS)
    result = project.run("--collect-only", "-q")
    assert result.outlines[:3] == [
        "audit_release.toml::hinge", "audit_release.toml::condition_number", "audit_release.toml::decoder.trace"
    ]  # fmt: skip
    assert project.measured == []


def test_files_in_folders_are_found_and_other_files_are_not(project: Any) -> None:
    for name in ("audit_a.toml", "models/audit_b.toml"):
        write(project, HEAD + "thresholds.hinge = { at_least = 0.3 }", name)
    for name in ("audit.toml", "my_audit_a.toml", "audit_a.tml", "audit_c.toml.bak", "ruff.toml", "models/audita.toml"):
        write(project, "nonsense", name)
    result = project.run("--collect-only", "-q")
    assert result.ret == 0
    assert result.outlines[:2] == ["audit_a.toml::hinge", "models/audit_b.toml::hinge"]


def test_an_item_is_selected_by_node_id_and_by_name(files: Any) -> None:
    write(files, HEAD + BARS)
    files.run("audit_release.toml::hinge").assert_outcomes(passed=1)
    files.run("-k", "condition_number").assert_outcomes(passed=1, deselected=2)
    files.run("audit_release.toml::auddc").assert_outcomes()


def test_tests_of_other_files_and_audit_files_stand_side_by_side(files: Any) -> None:
    write(files, HEAD + "thresholds.hinge = { at_least = 0.3 }")
    files.write("def test_plain(): pass")
    files.run().assert_outcomes(passed=2)
    files.run("--vaeaudit-only").assert_outcomes(passed=1, deselected=1)
    files.run("--vaeaudit-skip").assert_outcomes(passed=1, skipped=1)


@pytest.mark.parametrize("bars", ["", "[thresholds]\n"])
def test_a_file_without_thresholds_collects_nothing_and_says_so(project: Any, bars: str) -> None:
    write(project, HEAD + bars)
    result = project.run("-q")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*audit_release.toml asserts nothing: it has no [[]thresholds[]]"])


@pytest.mark.parametrize("text", ["", 'retention = "30d"\n[sinks]\nfile = "log"\n'])
def test_a_file_of_somebody_elses_is_left_alone(project: Any, text: str) -> None:
    write(project, text)
    project.write("def test_plain(): pass")
    result = project.run("-q", "-W", "error")
    result.assert_outcomes(passed=1)
    assert "audit_release" not in result.stdout.str()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model =", "is not valid TOML"),
        ('data = "zoo:mnist-vae"', "model is missing"),
        (HEAD + "colour = 3", "unknown key 'colour'"),
        (HEAD + "thresholds.hindge = { at_least = 0.3 }", "unknown score 'hindge'"),
        (HEAD + "thresholds.hinge = { at_most = 0.3 }", "higher is more robust"),
        (HEAD + "thresholds.hinge = 0.3", "expects { at_least = NUMBER }"),
        (HEAD + 'preset = "quickly"\nthresholds.hinge = { at_least = 0.3 }', "quickly"),
        (HEAD + "pairs = 0\nthresholds.hinge = { at_least = 0.3 }", "pairs"),
        (HEAD + "pairs = 1\nthresholds.hinge = { at_least = 0.3 }", "the smallest number that can is"),
    ],
)
def test_an_error_in_the_file_is_an_error_of_its_collection(project: Any, text: str, says: str) -> None:
    write(project, text)
    result = project.run()
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert says in lines(result)
    assert "audit_release.toml" in lines(result)
    assert "Traceback" not in result.stdout.str()
    assert ".py:" not in result.stdout.str()


# runs


def test_the_thresholds_of_a_file_share_one_model_and_one_measurement(
    files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    loading = sys.modules["vaeaudit.loading"]
    monkeypatch.setattr(loading, "load_data", loads.append)
    write(files, HEAD + BARS)
    files.run("-pno:cacheprovider").assert_outcomes(passed=2, failed=1)
    assert len(files.measured) == 1
    assert len(loads) == 1


def test_a_failing_threshold_shows_its_message_and_no_code(files: Any) -> None:
    write(files, HEAD + "thresholds.hinge = { at_least = 0.9 }")
    result = files.run()
    result.assert_outcomes(failed=1)
    told = " - hinge 0.* < 0.*90*" if pytest.version_tuple >= (9,) else ""  # pytest 8 tells only what has a traceback
    result.stdout.fnmatch_lines(
        [
            "*_ audit_release.toml: hinge _*",
            "hinge 0.* [[]0.*, 0.*[]] < 0.*90* FAIL (95 %, 50 pairs)",
            "Easiest pairs:",
            "  image * towards *: hinge 0.*",
            "See it: vaeaudit show *",
            f"FAILED audit_release.toml::hinge{told}",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert ".py:" not in result.stdout.str()


def test_a_model_that_cannot_be_loaded_is_said_without_code(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaeaudit import OptionError

    def load_model(content: Any) -> Any:
        raise OptionError(f"model {content.model!r}: No module named 'zoo_stub'")

    monkeypatch.setattr(sys.modules["vaeaudit.loading"], "load_model", load_model)
    write(files, HEAD + BARS)
    result = files.run()
    result.assert_outcomes(failed=3)
    assert "model 'zoo_stub:model': No module named 'zoo_stub'" in result.outlines
    assert ".py:" not in result.stdout.str()


def test_a_crash_of_the_users_code_keeps_its_traceback(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_model(content: Any) -> Any:
        raise ZeroDivisionError("in the model's own code")

    monkeypatch.setattr(sys.modules["vaeaudit.loading"], "load_model", load_model)
    write(files, HEAD + "thresholds.hinge = { at_least = 0.3 }")
    result = files.run()
    result.assert_outcomes(failed=1)
    assert "in the model's own code" in result.stdout.str()
    assert "test_audit_files.py" in result.stdout.str()


def test_what_the_file_says_goes_before_the_command_line(files: Any) -> None:
    write(files, HEAD + 'preset = "quick"\nseed = 5\nthresholds.hinge = { at_least = 0.3 }')
    files.run("--vaeaudit-preset=standard", "--vaeaudit-seed=9").assert_outcomes(passed=1)
    assert files.measured == [["w1", "5", "24", "quick"]]


def test_what_the_file_leaves_open_comes_from_the_command_line_and_the_ini_file(files: Any) -> None:
    write(files, HEAD + "thresholds.hinge = { at_least = 0.3 }")
    files.pytester.makeini("[pytest]\nvaeaudit_preset = quick\nvaeaudit_seed = 3")
    files.run("--vaeaudit-seed=9").assert_outcomes(passed=1)
    assert files.measured == [["w1", "9", "24", "quick"]]


def test_the_session_decides_what_inconclusive_means(files: Any) -> None:
    files.set_model(hinge=0.3, spread=0.2)
    write(files, HEAD + "pairs = 12\nthresholds.hinge = { at_least = 0.3 }")
    limits = ("--vaeaudit-max-pairs=12", "--vaeaudit-seed=4")
    files.run(*limits).assert_outcomes(failed=1)
    files.run(*limits, "--vaeaudit-inconclusive=skip").assert_outcomes(skipped=1)
    files.run(*limits, "--vaeaudit-inconclusive=warn").assert_outcomes(passed=1, warnings=1)


def test_a_hook_chooses_the_device_of_an_audit_file_too(files: Any) -> None:
    conftest = files.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\ndef pytest_vaeaudit_device(config, item): return 'cuda'\n")
    write(files, HEAD + "thresholds.hinge = { at_least = 0.3 }")
    result = files.run("--vaeaudit-report=out")
    result.assert_outcomes(passed=1)
    (report,) = files.pytester.path.glob("out/*/report.json")
    assert json.loads(report.read_text())["provenance"]["environment"]["device_type"] == "cuda"


def test_verdicts_of_audit_files_are_reported_like_those_of_tests(files: Any) -> None:
    write(files, HEAD + BARS)
    result = files.run("--vaeaudit-report=out", "--junitxml=junit.xml")
    result.assert_outcomes(passed=2, failed=1)
    verdicts = files.json("out/summary.json")["verdicts"]
    assert {v["test"]: v["outcome"] for v in verdicts} == {
        "audit_release.toml::hinge": "PASS",
        "audit_release.toml::condition_number": "PASS",
        "audit_release.toml::decoder.trace": "FAIL",
    }
    assert (files.pytester.path / "junit.xml").read_text().count('name="vaeaudit.') == 3
