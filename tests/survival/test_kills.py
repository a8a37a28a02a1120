"""Audits that are killed at random moments lose the chunk under way; a short run of `benchmarks/survival.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SHORT = {
    "damaged": 4, "damage_steps": 5, "spectra": 4, "samples": 4, "second_looks": 1, "queries": 8, "evaluations": 50,
    "probes": 2, "probe_steps": 5,
}  # fmt: skip
"""Every measurement keeps rows, in two chunks or more where it has so many, and none takes long."""


@pytest.fixture(scope="module")
def survival() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "survival.py"
    spec = importlib.util.spec_from_file_location("vaeaudit_survival", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("face", ["run", "pytest"])
def test_killed_at_a_random_moment_nothing_is_lost_but_what_was_under_way(survival: Any, face: str) -> None:
    size = survival.Size(inputs=64, images=8, pairs=4, strengths=4, chunk=2, quick=SHORT)
    # this seed draws four tenths of the way, where rows are being measured or have been
    tally = survival.stress(face, 1, seed=5, size=size)
    assert tally.said == []
    assert (tally.killed, tally.again, tally.half, tally.differ) == (1, 0, 0, 0)
    assert tally.lost <= 1
    assert tally
    assert tally.runs >= 1


def test_rows_that_are_measured_again_are_counted(survival: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.log").write_text(
        "7 began\n7 started a-1 x y\n7 kept a-1 x y\n7 started a-1 z\n8 began\n8 started a-1 z y\n8 started b-1 x\n"
    )
    assert survival.measured_again(tmp_path) == 1


@pytest.mark.parametrize("name", ["arrays.npz", "report.json"])
def test_half_files_are_counted(survival: Any, make_report: Any, tmp_path: Path, name: str) -> None:
    file = make_report(pairs=4, strengths=5, event=(1, 4, 4)).save(tmp_path, page=False) / name
    assert survival.half_files(tmp_path) == 0
    file.write_bytes(file.read_bytes()[:-30])
    assert survival.half_files(tmp_path) > 0
