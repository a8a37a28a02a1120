"""The mixup example runs as its users run it, on a small folder in torchvision's layout."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import vaeaudit

EXAMPLE = "mixup"


def test_the_example_trains_audits_and_writes_its_table(
    example: ModuleType,
    fashion_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    audited: list[vaeaudit.Autoencoder],
) -> None:
    monkeypatch.delitem(example.LOSSES, "beta-VAE (beta 2)")  # the one with beta 4 is enough
    monkeypatch.delitem(example.LOSSES, "VAE")
    output = tmp_path / "table.md"
    found = example.main([
        "--data", str(fashion_folder), "--dataset", "fashion-mnist", "--epochs", "2", "--seeds", "1",
        "--images", "64", "--output", str(output),
    ])  # fmt: skip
    assert len(audited) == 2
    assert list(found) == ["beta-VAE (beta 4)", "mixup-VAE"]
    assert all(figures["reconstruction_error"].value > 0 for runs in found.values() for figures in runs)
    written = output.read_text()
    assert written in capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in written.splitlines()[2:]] == list(found)


def figure(value: float, *, trusted: bool = True) -> vaeaudit.Estimate:
    return vaeaudit.Estimate(value=value, low=value, high=value, n=1, trusted=trusted)


def test_the_interval_is_students_over_seeds(example: ModuleType) -> None:
    """1, 2, 3: mean 2, standard error 1 / sqrt 3, t(0.975, 2) = 4.3027."""
    assert example.with_interval([figure(1.0), figure(2.0), figure(3.0)]) == "2 [-0.484, 4.48]"
    assert example.with_interval([figure(2.0)]) == "2"
    assert example.with_interval([figure(2.0, trusted=False)]) == "2 (1 of 1 not to be trusted)"
