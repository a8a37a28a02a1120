"""The example runs as its users run it, on a small folder in torchvision's layout."""

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
def mnist_folder(tmp_path: Path) -> Path:
    """The bundled test images as MNIST's training and test set."""
    images, labels = zoo.images("mnist-vae")
    raw = tmp_path / "data" / "MNIST" / "raw"
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
    spec = importlib.util.spec_from_file_location("train_and_audit", ROOT / "examples" / "train_and_audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_trains_audits_and_saves(
    example: ModuleType, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report"
    report = example.main([
        "--data", str(mnist_folder), "--epochs", "30", "--preset", "quick", "--output", str(output),
    ])  # fmt: skip
    assert vaeaudit.load(output) == report
    assert report.name == "VAE"
    assert 0 < report.hinge.value <= 1
    assert "Hinge" in capsys.readouterr().out
