"""Examples loaded by path, and small data sets in torchvision's layout for them."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import vaeaudit
from vaeaudit import zoo

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(request: pytest.FixtureRequest) -> ModuleType:
    """The example that the test module calls EXAMPLE, loaded afresh."""
    name = request.module.EXAMPLE
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def report() -> vaeaudit.AuditReport:
    """A small audit of a bundled model."""
    return vaeaudit.audit(zoo.load("mnist-vae"), zoo.images("mnist-vae"), "quick", 3, strengths=6)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch, report: vaeaudit.AuditReport) -> list[Any]:
    """What was given to `vaeaudit.audit`, which answers with one report: what it measures is tested elsewhere."""
    given: list[Any] = []
    monkeypatch.setattr(vaeaudit, "audit", lambda ae, *_, **__: given.append(ae) or report)
    return given


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    """The bundled test images as MNIST's training and test set."""
    return _written(tmp_path / "data", "MNIST", "mnist-vae")


@pytest.fixture
def fashion_folder(tmp_path: Path) -> Path:
    """The bundled test images as Fashion-MNIST's training and test set."""
    return _written(tmp_path / "data", "FashionMNIST", "fashion-conv-vae")


def _written(folder: Path, dataset: str, model: str) -> Path:
    images, labels = zoo.images(model)
    raw = folder / dataset / "raw"
    raw.mkdir(parents=True)
    pixels = (images.numpy() * 255).round().astype(np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, len(pixels), 28, 28) + pixels.tobytes()
        )
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
        )
    return folder
