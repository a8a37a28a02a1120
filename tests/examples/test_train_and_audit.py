"""The example runs as its users run it, on a small folder in torchvision's layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import vaeaudit

EXAMPLE = "train_and_audit"


def test_the_example_trains_audits_and_saves(
    example: ModuleType,
    mnist_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vaeaudit, "audit", partial(vaeaudit.audit, pairs=6))  # a quarter of the preset's
    output = tmp_path / "report"
    report = example.main([
        "--data", str(mnist_folder), "--epochs", "30", "--preset", "quick", "--output", str(output),
    ])  # fmt: skip
    assert vaeaudit.load(output) == report
    assert report.name == "VAE"
    assert 0 < report.hinge.value <= 1
    assert "Hinge" in capsys.readouterr().out
