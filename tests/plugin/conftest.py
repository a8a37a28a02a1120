"""A project that uses the plugin, with a torch-free stand-in for the library."""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONFTEST = """
import json
import sys
from pathlib import Path
import pytest
sys.path.insert(0, {folder!r})
from stand_in import MASKED, Auditor, Model

def pytest_vaeaudit_auditor(config):
    return Auditor(config.rootpath / "measured.log")

@pytest.fixture(scope="session")
def robust():
    return Model(hinge=0.5, spread=0.05)

@pytest.fixture(scope="session")
def fragile():
    return Model(hinge=0.2, spread=0.05, weights="w2")

@pytest.fixture
def model(request):
    said = json.loads((request.config.rootpath / "model.json").read_text())
    return Model(**said, findings=(MASKED,)) if said.pop("masked", False) else Model(**said)
"""
HEAD = """
import pytest
from vaeaudit import at_least, at_most
from stand_in import MASKED, Model

"""
QUIETER = ("-p", "no:hypothesispytest")
"""Hypothesis' plugin would import the whole of Hypothesis at the end of every run."""
OPEN, HIGH, LOW = (0.1, 0.5) * 12, (0.5,) * 24, (0.01,) * 24
"""Twenty-four hinges that leave a bar of 0.3 open, that clear it, and that miss it."""


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


def counts(project: Any) -> list[int]:
    """Numbers of pairs that were measured, in order."""
    return [int(measured[2]) for measured in project.measured]


@dataclass
class Project:
    """A folder with tests of a model.

    Attributes:
        pytester: pytest's.
    """

    pytester: pytest.Pytester

    def write(self, tests: str, name: str = "test_ci") -> None:
        """Write a test file; `robust`, `fragile` and `model` are fixtures, at_least and at_most are imported."""
        self.pytester.makepyfile(**{name: HEAD + textwrap.dedent(tests)})

    def add_to_conftest(self, text: str) -> None:
        """Let the project's conftest.py say more."""
        path = self.pytester.path / "conftest.py"
        path.write_text(path.read_text() + text)

    def set_model(self, **said: Any) -> None:
        """Say what the fixture `model` is, by the fields of a stand-in model; `masked=True` makes it a doubtful one."""
        (self.pytester.path / "model.json").write_text(json.dumps({"hinge": 0.5, "spread": 0.05, **said}))

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process; warnings are as a user meets them, not errors as in these tests."""
        with warnings.catch_warnings():
            warnings.resetwarnings()
            return self.pytester.runpytest_inprocess(*QUIETER, *arguments)

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*QUIETER, *arguments)

    @property
    def measured(self) -> list[list[str]]:
        """Weights, seed, pairs and preset of every measurement so far."""
        log = self.pytester.path / "measured.log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def json(self, path: str) -> Any:
        """A JSON file of the project."""
        return json.loads((self.pytester.path / path).read_text())


@pytest.fixture
def project(loaded: None, pytester: pytest.Pytester, plain_pages: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose audits are drawn by `stand_in.py`; no CI, 80 columns, pages without pictures."""
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    project = Project(pytester)
    project.set_model()
    pytester.makeconftest(CONFTEST.format(folder=str(Path(__file__).parent)))
    return project
