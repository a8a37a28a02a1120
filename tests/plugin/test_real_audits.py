"""Real audits of the zoo through the plugin: a robust and a fragile model are told apart, in tests and in an audit file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

BAR = 0.41
"""Between the hinges of the two models (README: 0.52 and 0.34)."""
CONFTEST = """
import dataclasses
from vaeaudit import spec

# the bars are on the targeted attack; of all else there is only as much as a verdict needs
few = {"damaged": 4, "damage_steps": 5, "spectra": 12, "second_looks": 1, "queries": 8}
spec.PRESETS["quick"] = dataclasses.replace(spec.PRESETS["quick"], **few)
"""
TESTS = f"""
import pytest
from vaeaudit import at_least, at_most, zoo

@pytest.fixture
def report(vae_audit, name):
    options = dict(preset="quick", strengths=12, pairs=24, max_pairs=48, seed=0)
    return vae_audit(zoo.load(name), zoo.images(name), **options)

@pytest.mark.parametrize("name", ["mnist-vae", "mnist-vae-beta10"])
def test_hinge(report):
    assert len(report.curves.hinge) == 24
    report.require(hinge=at_least({BAR}))

@pytest.mark.parametrize("name", ["mnist-vae"])
def test_far_bars(report):
    report.require(hinge=at_least(0.01), condition_number=at_most(1e6))
    report.require(hinge=at_least(0.99))
"""
FILE = """
model = "zoo:mnist-vae"
data = "zoo:mnist-vae"
preset = "quick"
pairs = 8
strengths = 6
[thresholds]
hinge = { at_least = 0.01 }
auddc = { at_least = 0.9 }
"""


def test_a_robust_model_passes_and_a_fragile_one_fails_in_tests_and_audit_files(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_zoo=TESTS)
    (pytester.path / "audit_zoo.toml").write_text(FILE)
    result = pytester.runpytest_subprocess("-rA", "--junitxml=out.xml", "-pno:hypothesispytest")
    cases = ElementTree.parse(pytester.path / "out.xml").getroot().iter("testcase")
    outcomes = {
        case.attrib["name"]: [json.loads(p.attrib["value"])["outcome"] for p in case.iter("property")] for case in cases
    }
    assert outcomes == {
        "hinge": ["PASS"], "auddc": ["FAIL"], "test_hinge[mnist-vae]": ["PASS"], "test_hinge[mnist-vae-beta10]": ["FAIL"],
        "test_far_bars[mnist-vae]": ["PASS", "PASS", "FAIL"],
    }  # fmt: skip
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(["E*AssertionError: hinge 0.* [[]0.*, 0.*[]] < 0.99* FAIL (95 %, * pairs)"])
    result.stdout.fnmatch_lines(["auddc 0.* < 0.9* FAIL (95 %, * pairs)", "hinge 0.* >= 0.01* PASS (95 %, * pairs)"])
    result.stdout.fnmatch_lines(["  test_*::test_far_bars[[]mnist-vae[]], margin -*%, cached"])
