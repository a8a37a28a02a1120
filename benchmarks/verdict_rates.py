"""How often a verdict is right: a robust and a fragile model of the zoo, audited afresh for many seeds.

First, whole audits through pytest, at a bar that lies between the two models. Second, bars that lie exactly on a
model's own figure, where every PASS and every FAIL is a mistake: many draws of pairs from one large audit, judged and
extended by the plugin's own rules.

    python benchmarks/verdict_rates.py --seeds 20
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

import vaeaudit
from pytest_vaeaudit.looks import looks_planned
from vaeaudit import zoo

ROBUST, FRAGILE = "mnist-vae", "mnist-vae-beta10"
BAR = 0.43
TESTS = """
import pytest
from vaeaudit import at_least, zoo

@pytest.mark.parametrize("seed", range({seeds}))
@pytest.mark.parametrize("name", {names})
def test_hinge(vae_audit, name, seed):
    vae_audit(zoo.load(name), zoo.images(name), preset="quick", seed=seed).require(hinge=at_least({bar}))
"""
DRAWS = 2000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--workers", default="2", help="of pytest-xdist")
    options.add_argument("--population", type=int, default=200, help="pairs of the large audit")
    chosen = options.parse_args()
    print(f"bar: hinge >= {BAR}, quick preset, {chosen.seeds} seeds a model\n")
    print("| model | PASS | FAIL | INCONCLUSIVE | INVALID | pairs, mean |\n|---|---|---|---|---|---|")
    for name, records in whole_audits(chosen.seeds, chosen.workers).items():
        counts = collections.Counter(record["outcome"] for record in records)
        columns = " | ".join(str(counts[o]) for o in ("PASS", "FAIL", "INCONCLUSIVE", "INVALID"))
        print(f"| {name} | {columns} | {np.mean([record['n'] for record in records]):.0f} |")
    print(f"\nbars on the figure itself: {DRAWS} draws from {chosen.population} measured pairs, 24 then 48 then 96\n")
    print("| model | score | confidence | false PASS | false FAIL |\n|---|---|---|---|---|")
    for name in (ROBUST, FRAGILE):
        population = vaeaudit.audit(zoo.load(name), zoo.images(name), preset="quick", pairs=chosen.population)
        for score in ("hinge", "auddc"):
            for confidence in (0.95, 0.8):
                passed, failed = rates_on_the_bar(population, score, confidence)
                print(f"| {name} | {score} | {confidence} | {passed:.3f} | {failed:.3f} |")


def whole_audits(seeds: int, workers: str) -> dict[str, list[dict[str, object]]]:
    """Records of every audit, by model, as they stand in JUnit's properties."""
    with tempfile.TemporaryDirectory() as folder:
        tests = TESTS.format(seeds=seeds, names=[ROBUST, FRAGILE], bar=BAR)
        (Path(folder) / "test_rates.py").write_text(tests)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            workers,
            "--junitxml=out.xml",
            "--tb=no",
            "-p",
            "no:warnings",
        ]
        subprocess.run(command, cwd=folder, capture_output=True, check=False)
        cases = ElementTree.parse(Path(folder) / "out.xml").getroot().iter("testcase")
        found: dict[str, list[dict[str, object]]] = {ROBUST: [], FRAGILE: []}
        for case in cases:
            name = case.attrib["name"].removeprefix("test_hinge[").rpartition("-")[0]
            found[name] += [json.loads(entry.attrib["value"]) for entry in case.iter("property")]
        return found


def rates_on_the_bar(population: vaeaudit.AuditReport, score: str, confidence: float) -> tuple[float, float]:
    """Shares of wrong PASS and wrong FAIL where the bar is the population's own figure."""
    sample = population.sample(score)
    value = float((np.median if sample.statistic == "median" else np.mean)(sample.values))
    bar = vaeaudit.at_least(value)
    looks = looks_planned(24)
    rng = np.random.default_rng(0)
    outcomes = collections.Counter(
        decided(population, score, bar, confidence, looks, rng.choice(len(population.curves.hinge), looks[-1]))
        for _ in range(DRAWS)
    )
    return outcomes["PASS"] / DRAWS, outcomes["FAIL"] / DRAWS


def decided(
    population: vaeaudit.AuditReport,
    score: str,
    bar: vaeaudit.Bar,
    confidence: float,
    looks: tuple[int, ...],
    drawn: object,
) -> str:
    """Outcome of a growing draw of pairs (with replacement, so that the population is what is estimated)."""
    for count in looks:
        rows = np.asarray(drawn)[:count]
        curves = dataclasses.replace(
            population.curves,
            **{
                field.name: getattr(population.curves, field.name)[rows]
                for field in dataclasses.fields(population.curves)
                if field.name != "strengths"
            },
        )
        (verdict,) = dataclasses.replace(population, curves=curves).check(
            confidence=confidence, looks=len(looks), **{score: bar}
        )
        if verdict.outcome != "INCONCLUSIVE":
            break
    return verdict.outcome


if __name__ == "__main__":
    main()
