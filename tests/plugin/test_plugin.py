"""The `vae_audit` fixture, as a project that installed vaeaudit meets it: in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROJECT = """
from vaeaudit import at_least, at_most, zoo

REPORTS = []

def test_measures(vae_audit):
    REPORTS.append(vae_audit(zoo.load("mnist-vae"), zoo.images("mnist-vae"), preset="quick", pairs=6))
    assert REPORTS[0].hinge.n == 6

def test_passes():
    REPORTS[0].require(hinge=at_least(0.01), condition_number=at_most(1e6))

def test_fails():
    REPORTS[0].require(hinge=at_least(0.99), condition_number=at_most(1e6))
"""


def test_a_report_is_required_to_clear_its_bars(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pytester.makepyfile(PROJECT)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: hinge 0.* [[]0.*, 0.*[]] >= 0.99 FAIL (95 %, n = 6)"])
    result.stdout.no_fnmatch_line("*condition_number*FAIL*")


def test_the_fixture_is_listed_with_how_to_call_it(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["vae_audit*pytest_vaeaudit*", '*vae_audit(model, images, preset="quick").require(hinge=at_least(0.3))*']
    )


def test_an_idle_plugin_prints_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    with_plugin = pytester.runpytest_subprocess("-q", "--no-header", "-p", "no:cacheprovider", "--durations=0", "-vv")
    with_plugin.assert_outcomes(passed=1)
    assert "vae" not in with_plugin.stdout.str() + with_plugin.stderr.str()


def test_loading_the_plugin_imports_neither_torch_nor_the_library() -> None:
    code = "import sys, pytest_vaeaudit.plugin; print(*(name for name in ('torch', 'vaeaudit') if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
