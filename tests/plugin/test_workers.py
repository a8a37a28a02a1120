"""Under pytest-xdist: the same figures, no verdict from a lost worker, and one writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FILE = "vaeaudit-baseline.json"
SUITE = """
@pytest.mark.parametrize("bar", [0.3, 0.45])
def test_bar(vae_audit, model, bar):
    vae_audit(model, None).require(hinge=at_least(bar))

def test_fragile(vae_audit, fragile):
    vae_audit(fragile, None, preset="quick").require(hinge=at_least(0.3), auddc=at_least(0.05))

def test_open(vae_audit):
    vae_audit(Model(hinge=0.31, spread=0.2, weights="w3"), None, preset="quick").require(hinge=at_least(0.3))

def test_no_regression(vae_audit, model):
    vae_audit(model, None).require_no_regression()

def test_plain():
    pass
"""
DIES = """
import os

def test_fine(vae_audit, model):
    vae_audit(model, None).require_no_regression()

def test_dies(vae_audit, model):
    vae_audit(model, None).require_no_regression()
    os._exit(0)
"""

PAGES = """
import types
sys.modules["vaeaudit.report.pages.html"] = types.SimpleNamespace(render=lambda report: f"<!DOCTYPE html> {report.name}")
"""


@pytest.fixture
def project(project: Any) -> Any:
    """The project, whose workers draw no pictures either."""
    conftest = project.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + PAGES)
    return project


def summary(project: Any, *arguments: str) -> Any:
    """The summary of a session, without what may differ: where reports lie, and what was measured earlier."""
    folder = f"out{len(list(project.pytester.path.glob('out*')))}"
    project.run("-W", "ignore", f"--vaeaudit-report={folder}", *arguments)
    content = project.json(f"{folder}/summary.json")
    for verdict in content["verdicts"]:
        assert Path(verdict.pop("report")).is_relative_to(project.pytester.path / folder)
        verdict.pop("cached")
    return content


def test_figures_seeds_and_summary_are_the_same_however_many_workers_there_are(project: Any) -> None:
    project.write(SUITE)
    alone = summary(project, "--vaeaudit-cache=off")
    assert [v["outcome"] for v in alone["verdicts"]].count("PASS") == 7
    assert summary(project, "--vaeaudit-cache=off", "-n0") == alone
    assert summary(project, "-n2") == alone
    once = sorted(project.measured)[::3]
    assert sorted(project.measured) == sorted(3 * once), "two workers measure no more than one does"


def test_only_the_session_that_started_the_workers_writes(project: Any) -> None:
    project.write(SUITE.replace("def test_open", "def not_a_test").replace("def test_fragile", "def nor_this"))
    result = project.run("-W", "ignore", "-n2", "--vaeaudit-update=new", "--vaeaudit-report=out", "-rA")
    result.assert_outcomes(passed=4)
    assert len(project.json(FILE)["entries"]) == 3
    assert len(project.json("out/summary.json")["verdicts"]) == 5
    text = result.stdout.str()
    assert text.count("= vaeaudit =") == 1
    assert text.count(f"{FILE}: 3 entries recorded; commit the file") == 1
    assert sorted(path.name for path in project.pytester.path.glob("*.json")) == ["model.json", FILE]


@pytest.mark.parametrize("restarts", [(), ("--max-worker-restart=0",)], ids=["restarted", "not restarted"])
def test_a_worker_that_dies_is_no_pass_and_records_nothing(project: Any, restarts: Any) -> None:
    project.write(DIES)
    result = project.run("-W", "ignore", "-n1", "--vaeaudit-update=all", *restarts)
    assert result.ret not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "crashed" in result.stdout.str()
    assert not (project.pytester.path / FILE).exists()
    assert "recorded; commit the file" not in result.stdout.str()
    assert not any(line.startswith("  test_ci.py::test_dies") for line in result.outlines), "it left no verdict"


def test_a_mistyped_option_is_one_usage_error(project: Any) -> None:
    project.write(SUITE)
    result = project.run("-n2", "--vaeaudit-confidence=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().count("--vaeaudit-confidence expects") == 1
    assert project.measured == []


def test_a_marker_that_says_something_wrong_is_an_error_of_the_collection(project: Any) -> None:
    project.write("""
        @pytest.mark.vaeaudit(hindge=at_least(0.3))
        def test_typo(vae_audit, model): vae_audit(model, None)
    """)
    result = project.run("-n1", "--vaeaudit-update=all")
    result.assert_outcomes(errors=1)
    assert "test_ci.py::test_typo: @pytest.mark.vaeaudit: unknown 'hindge'" in result.stdout.str()


def test_records_travel_as_builtin_types(project: Any) -> None:
    project.write(SUITE)
    project.pytester.makepyfile(
        collecting="""
        seen = []

        def pytest_runtest_logreport(report):
            seen.append(getattr(report, "vaeaudit", None))
        """
    )
    project.pytester.syspathinsert()
    project.run("-p", "collecting", "-W", "ignore")
    found = project.run("-p", "collecting", "-W", "ignore").reprec.getreports("pytest_runtest_logreport")
    records = [record for report in found for record in getattr(report, "vaeaudit", None) or []]
    assert len(records) == 2 * 8
    assert json.loads(json.dumps(records, allow_nan=False)) == records
