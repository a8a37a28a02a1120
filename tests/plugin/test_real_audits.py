"""Real audits of the zoo through the plugin: a robust and a fragile model are told apart, whatever the draw."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

BAR = 0.43
"""Between the hinges of the two models (README: 0.52 and 0.34)."""
SEEDS = 4
TESTS = f"""
import pytest
from vaeaudit import at_least, zoo

@pytest.mark.parametrize("seed", range({SEEDS}))
@pytest.mark.parametrize("name", ["mnist-vae", "mnist-vae-beta10"])
def test_hinge(vae_audit, name, seed):
    options = dict(preset="quick", strengths=12, pairs=24, max_pairs=48, seed=seed)
    vae_audit(zoo.load(name), zoo.images(name), **options).require(hinge=at_least({BAR}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Outcome of every audit, by model."""
    folder: Path = tmp_path_factory.mktemp("rates")
    (folder / "test_rates.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=no",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "--junitxml=out.xml",
    ]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    found: dict[str, list[str]] = {"mnist-vae": [], "mnist-vae-beta10": []}
    for case in ElementTree.parse(folder / "out.xml").getroot().iter("testcase"):
        name = case.attrib["name"].removeprefix("test_hinge[").rpartition("-")[0]
        found[name] += [json.loads(entry.attrib["value"])["outcome"] for entry in case.iter("property")]
    return found


def test_every_audit_of_both_models_came_to_a_verdict(outcomes: dict[str, list[str]]) -> None:
    assert {name: len(found) for name, found in outcomes.items()} == {"mnist-vae": SEEDS, "mnist-vae-beta10": SEEDS}
    assert all(outcome != "INVALID" for found in outcomes.values() for outcome in found)


def test_a_robust_model_never_fails_and_a_fragile_one_never_passes(outcomes: dict[str, list[str]]) -> None:
    assert "FAIL" not in outcomes["mnist-vae"]
    assert "PASS" not in outcomes["mnist-vae-beta10"]


def test_most_draws_tell_the_two_apart(outcomes: dict[str, list[str]]) -> None:
    assert outcomes["mnist-vae"].count("PASS") >= SEEDS / 2
    assert outcomes["mnist-vae-beta10"].count("FAIL") >= SEEDS / 2
