"""The mixup example runs as its users run it, on a small folder in torchvision's layout."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import vaeaudit
from vaeaudit import zoo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fashion_folder(tmp_path: Path) -> Path:
    """The bundled test images as Fashion-MNIST's training and test set."""
    images, labels = zoo.images("fashion-conv-vae")
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = (images.numpy() * 255).round().astype(np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, len(pixels), 28, 28) + pixels.tobytes()
        )
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
        )
    return tmp_path / "data"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mixup_example", ROOT / "examples" / "mixup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_trains_audits_and_writes_its_table(
    example: ModuleType,
    fashion_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(example.LOSSES, "beta-VAE (beta 2)")  # the one with beta 4 is enough
    monkeypatch.delitem(example.LOSSES, "VAE")
    output = tmp_path / "table.md"
    found = example.main([
        "--data", str(fashion_folder), "--dataset", "fashion-mnist", "--epochs", "2", "--seeds", "1",
        "--images", "64", "--output", str(output),
    ])  # fmt: skip
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
