"""Real audits of the zoo through the plugin: a robust and a fragile model are told apart, whatever the draw."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

BAR = 0.43
"""Between the hinges of the two models (README: 0.52 and 0.34)."""
SEEDS = 2
TESTS = f"""
import pytest
from vaeaudit import at_least, zoo

@pytest.mark.parametrize("seed", range({SEEDS}))
@pytest.mark.parametrize("name", ["mnist-vae", "mnist-vae-beta10"])
def test_hinge(vae_audit, name, seed):
    options = dict(preset="quick", strengths=12, pairs=24, max_pairs=48, seed=seed)
    vae_audit(zoo.load(name), zoo.images(name), **options).require(hinge=at_least({BAR}))
"""


def test_most_draws_tell_a_robust_model_from_a_fragile_one_and_none_takes_one_for_the_other(tmp_path: Path) -> None:
    outcomes = _outcomes(tmp_path)
    assert {name: len(found) for name, found in outcomes.items()} == {"mnist-vae": SEEDS, "mnist-vae-beta10": SEEDS}
    assert all(outcome != "INVALID" for found in outcomes.values() for outcome in found)
    assert "FAIL" not in outcomes["mnist-vae"]
    assert "PASS" not in outcomes["mnist-vae-beta10"]
    assert outcomes["mnist-vae"].count("PASS") >= SEEDS / 2
    assert outcomes["mnist-vae-beta10"].count("FAIL") >= SEEDS / 2


def _outcomes(folder: Path) -> dict[str, list[str]]:
    """Outcome of every audit, by model."""
    (folder / "test_rates.py").write_text(TESTS)
    options = ["-q", "--tb=no", "-n", "2", "-p", "no:cacheprovider", "--junitxml=out.xml"]
    command = [sys.executable, "-m", "pytest", *options]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    found: dict[str, list[str]] = {"mnist-vae": [], "mnist-vae-beta10": []}
    for case in ElementTree.parse(folder / "out.xml").getroot().iter("testcase"):
        name = case.attrib["name"].removeprefix("test_hinge[").rpartition("-")[0]
        found[name] += [json.loads(entry.attrib["value"])["outcome"] for entry in case.iter("property")]
    return found
