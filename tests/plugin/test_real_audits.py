"""Real audits of the zoo through the plugin: a robust and a fragile model are told apart."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

BAR = 0.41
"""Between the hinges of the two models (README: 0.52 and 0.34)."""
TESTS = f"""
import pytest
from vaeaudit import at_least, zoo

@pytest.mark.parametrize("name", ["mnist-vae", "mnist-vae-beta10"])
def test_hinge(vae_audit, name):
    options = dict(preset="quick", strengths=12, pairs=24, max_pairs=48, seed=0)
    vae_audit(zoo.load(name), zoo.images(name), **options).require(hinge=at_least({BAR}))
"""


def test_a_robust_model_passes_and_a_fragile_one_fails(tmp_path: Path) -> None:
    (tmp_path / "test_hinges.py").write_text(TESTS)
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", "--junitxml=out.xml"]
    subprocess.run([sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, check=False)
    cases = ElementTree.parse(tmp_path / "out.xml").getroot().iter("testcase")
    outcomes = {
        case.attrib["name"]: [json.loads(p.attrib["value"])["outcome"] for p in case.iter("property")] for case in cases
    }
    assert outcomes == {"test_hinge[mnist-vae]": ["PASS"], "test_hinge[mnist-vae-beta10]": ["FAIL"]}
