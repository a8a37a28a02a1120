"""One seed, one report: held field by field against the same audit carried out in other ways."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

import vaeaudit
from vaeaudit import batches
from vaeaudit.measurements import damage, local, spectra, tradeoff

Deviations = Callable[[vaeaudit.AuditReport, vaeaudit.AuditReport], dict[str, float]]
ROUNDING = 1e-5
"""Of the size of a field. What float32 leaves of a figure behind some hundred steps of an optimiser."""
STEPS = ("curves.evaluations", "curves.disagreement")
"""How long the optimiser took, and how far two of its paths lay apart, follow the rounding of its steps."""
PROJECT = """
import sys
sys.path.insert(0, {folder!r})
from curved import OPTIONS, SHORT, Curved, images
from vaeaudit import at_least, spec

spec.PRESETS["quick"] = SHORT

def test_it(vae_audit):
    vae_audit(Curved().eval(), images(), **OPTIONS, seed=0).require(hinge=at_least(0.1))
"""


@pytest.fixture(scope="module")
def usual(curved: ModuleType) -> vaeaudit.AuditReport:
    return curved.audited()


def test_the_audit_is_a_sound_one(usual: vaeaudit.AuditReport) -> None:
    """Figures that are all missing would agree in any way."""
    assert {finding.severity for finding in usual.health} <= {"info", "warning"}
    assert not usual.curves.excluded.any()
    assert 0.5 < usual.hinge.value < 1
    assert usual.local is not None
    assert all(part is not None for part in (usual.damage, usual.encoder, usual.decoder, usual.round_trip))


def test_a_seed_repeats_every_bit_and_another_one_does_not(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations
) -> None:
    assert deviations(usual, curved.audited()) == {}
    assert "curves.gap" in deviations(usual, curved.audited(seed=1))


def test_chunks_of_pairs_and_images_change_no_bit(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tradeoff, "pairs_at_once", lambda images, strengths: 3)
    for room in (damage, local, spectra):
        monkeypatch.setattr(room, "IMAGES_AT_ONCE", 3)
    assert deviations(usual, curved.audited()) == {}


def test_devices_that_share_the_pairs_change_no_bit(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations
) -> None:
    assert deviations(usual, curved.audited(devices=["cpu"] * 3)) == {}


def test_the_order_of_pairs_changes_no_bit_but_the_order_of_rows(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations
) -> None:
    turned = curved.audited(pairs=curved.PAIRS[::-1])
    assert list(zip(turned.curves.originals, turned.curves.targets, strict=True)) == curved.PAIRS[::-1]
    # the gallery shows the first pairs
    assert {path for path in deviations(usual, turned) if not path.startswith("gallery.")} == set()


def _beyond_rounding(found: dict[str, float]) -> dict[str, float]:
    return {path: size for path, size in found.items() if size > ROUNDING and path not in STEPS}


@pytest.mark.parametrize("rows", [16, 512])
def test_micro_batches_of_another_size_change_figures_by_rounding_only(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(batches._MOST_ROWS, "cpu", rows)
    assert _beyond_rounding(deviations(usual, curved.audited())) == {}


def test_another_number_of_threads_changes_figures_by_rounding_only(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations
) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 2)
        assert _beyond_rounding(deviations(usual, curved.audited())) == {}
    finally:
        torch.set_num_threads(threads)


def test_a_worker_of_pytest_reports_what_the_library_does(
    curved: ModuleType, usual: vaeaudit.AuditReport, deviations: Deviations, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    (tmp_path / "test_it.py").write_text(PROJECT.format(folder=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "pytest", "-q", "-n1", "-pno:hypothesispytest", "--vaeaudit-report=out"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in found.stdout, found.stdout + found.stderr
    (report,) = tmp_path.glob("out/*/report.json")
    assert deviations(usual, vaeaudit.load(report)) == {}
