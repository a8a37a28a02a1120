"""How often a verdict is right: a robust and a fragile model of the zoo, audited afresh for many seeds.

First, whole audits through pytest, at a bar that lies between the two models. Then many draws of pairs from one large
audit of each, judged and extended by the plugin's own rules: at bars that lie exactly on a model's own figure, where
every PASS and every FAIL is a mistake, and at bars ever further from it, where INCONCLUSIVE is what a bar costs. Last,
how far a figure must fall for a committed baseline to see it, the baseline and the new figure from draws of their own.

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
from itertools import product
from pathlib import Path

import numpy as np

import vaeaudit
from pytest_vaeaudit.baseline import change_of
from pytest_vaeaudit.looks import looks_planned
from vaeaudit import zoo
from vaeaudit.measurements.curves import headline_of
from vaeaudit.samples import Sample
from vaeaudit.statistics import estimate

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
SHARES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
"""Bars as shares of a model's own figure."""
FALLEN = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""What is left of a figure that a baseline recorded."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--workers", default="2", help="of pytest-xdist")
    options.add_argument("--population", type=int, default=200, help="pairs of the large audits")
    options.add_argument("--draws", type=int, default=2000, help="of pairs from a large audit")
    chosen = options.parse_args()
    print_whole_audits(chosen.seeds, chosen.workers)
    populations = {
        name: vaeaudit.audit(zoo.load(name), zoo.images(name), preset="quick", pairs=chosen.population)
        for name in (ROBUST, FRAGILE)
    }
    print(f"\n{chosen.draws} draws from {chosen.population} measured pairs of each model, 24 then 48 then 96")
    print_on_the_bar(populations, chosen.draws)
    print_beside_the_bar(populations, chosen.draws)
    print_regressions(populations, chosen.draws)


def print_whole_audits(seeds: int, workers: str) -> None:
    """Outcomes of whole audits at a bar between the two models."""
    print(f"bar: hinge >= {BAR}, quick preset, {seeds} seeds a model\n")
    print("| model | PASS | FAIL | INCONCLUSIVE | INVALID | pairs, mean |\n|---|---|---|---|---|---|")
    for name, records in whole_audits(seeds, workers).items():
        counts = collections.Counter(record["outcome"] for record in records)
        columns = " | ".join(str(counts[o]) for o in ("PASS", "FAIL", "INCONCLUSIVE", "INVALID"))
        pairs = np.mean([record["n"] for record in records])
        print(f"| {name} | {columns} | {pairs:.0f} |", flush=True)


def print_on_the_bar(populations: dict[str, vaeaudit.AuditReport], draws: int) -> None:
    """Rates of wrong verdicts at bars on the figure itself."""
    print("\n| model | score | confidence | false PASS | false FAIL |\n|---|---|---|---|---|")
    for (name, population), score, confidence in product(populations.items(), ("hinge", "auddc"), (0.95, 0.8)):
        counts, _ = outcomes_of_draws(population, score, 1.0, confidence, draws)
        print(
            f"| {name} | {score} | {confidence} | {counts['PASS'] / draws:.3f} | {counts['FAIL'] / draws:.3f} |",
            flush=True,
        )


def print_beside_the_bar(populations: dict[str, vaeaudit.AuditReport], draws: int) -> None:
    """What bars at a distance from the figure come to."""
    print("\n| model | score | figure | bar, share of it | PASS | FAIL | INCONCLUSIVE | pairs, mean |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, population), score, share in product(populations.items(), ("hinge", "auddc"), SHARES):
        counts, pairs = outcomes_of_draws(population, score, share, 0.95, draws)
        columns = " | ".join(f"{counts[outcome] / draws:.3f}" for outcome in ("PASS", "FAIL", "INCONCLUSIVE"))
        figure = figure_of(population, score)
        print(f"| {name} | {score} | {figure:.3f} | {share} | {columns} | {pairs:.0f} |", flush=True)


def print_regressions(populations: dict[str, vaeaudit.AuditReport], draws: int) -> None:
    """How often figures that fell to a share of what they were are seen to be worse than the baseline."""
    print(f"\n| model | score | pairs | {' | '.join(map(str, FALLEN))} |\n|---|---|---|{'---|' * len(FALLEN)}")
    for (name, population), score, pairs in product(populations.items(), ("hinge", "auddc"), (24, 50)):
        rates = [seen_to_be_worse(population.sample(score), share, pairs, draws) for share in FALLEN]
        print(f"| {name} | {score} | {pairs} | {' | '.join(f'{rate:.3f}' for rate in rates)} |", flush=True)


def seen_to_be_worse(sample: Sample, share: float, pairs: int, draws: int) -> float:
    """Of figures with which higher is better, and all of which fell alike."""
    rng = np.random.default_rng(0)

    def entry(factor: float) -> dict[str, object]:
        rows = rng.choice(len(sample.values), pairs)
        upper = None if sample.upper is None else factor * sample.upper[rows]
        found = estimate(factor * sample.values[rows], statistic=sample.statistic, upper=upper)
        return {"low": found.low, "high": found.high, "higher_is_better": True, "slack": 0.0}

    return float(np.mean([change_of(entry(1.0), entry(share)) == "worse" for _ in range(draws)]))


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


def figure_of(population: vaeaudit.AuditReport, score: str) -> float:
    """What infinitely many draws would give."""
    sample = population.sample(score)
    return float((np.median if sample.statistic == "median" else np.mean)(sample.values))


def outcomes_of_draws(
    population: vaeaudit.AuditReport, score: str, share: float, confidence: float, draws: int
) -> tuple[collections.Counter[str], float]:
    """How often each outcome came, and at how many pairs on average, for a bar at a share of the population's figure."""
    bar = vaeaudit.at_least(share * figure_of(population, score))
    looks = looks_planned(24)
    rng = np.random.default_rng(0)
    found = [
        decided(population, score, bar, confidence, looks, rng.choice(len(population.curves.hinge), looks[-1]))
        for _ in range(draws)
    ]
    return collections.Counter(outcome for outcome, _ in found), float(np.mean([pairs for _, pairs in found]))


def decided(
    population: vaeaudit.AuditReport,
    score: str,
    bar: vaeaudit.Bar,
    confidence: float,
    looks: tuple[int, ...],
    drawn: object,
) -> tuple[str, int]:
    """Outcome of a growing draw of pairs, and how many it took (with replacement, so that the population is what is estimated)."""
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
        (verdict,) = dataclasses.replace(population, curves=curves, **headline_of(curves)).check(
            confidence=confidence, looks=len(looks), **{score: bar}
        )
        if verdict.outcome != "INCONCLUSIVE":
            break
    return verdict.outcome, count


if __name__ == "__main__":
    main()
