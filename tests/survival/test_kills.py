"""Audits that are killed at random moments lose the chunk under way; a short run of `benchmarks/survival.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


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


@pytest.mark.parametrize(("face", "kills"), [("run", 1), ("pytest", 1)])
def test_killed_at_random_moments_nothing_is_lost_but_what_was_under_way(survival: Any, face: str, kills: int) -> None:
    size = survival.Size(inputs=64, images=12, pairs=6, strengths=4, chunk=2)
    tally = survival.stress(face, kills, seed=1, size=size)
    assert tally.said == []
    assert (tally.killed, tally.again, tally.half, tally.differ) == (kills, 0, 0, 0)
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
