"""Python on the pages runs as it stands there."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning
import pytest
import torch
from pythae.models import VAE, VAEConfig
from torch import Tensor, nn

import vaeaudit

TESTS = Path(__file__).resolve().parents[1]

OWN = {"docs/tutorial.md", "docs/howto/unusual_encoders.md", "docs/howto/choosing_budgets.md"}
"""Pages that need nothing of the reader's own: they run without stand-ins."""
CONFTEST = """
import sys
import pytest
import vaeaudit
sys.path.insert(0, {folder!r})
from stand_in import Auditor, Model

class Drawn(Auditor):
    def weights(self, model):
        return "w1"

    def plan(self, model, images, **options):
        return super().plan(Model(hinge=0.5, spread=0.05), images, **options)

def pytest_vaeaudit_auditor(config):
    return Drawn(config.rootpath / "measured.log")

@pytest.fixture
def model():
    return vaeaudit.zoo.load("mnist-vae")

@pytest.fixture
def images():
    return vaeaudit.zoo.images("mnist-vae")
"""


class Small(nn.Module):
    """A VAE of 8 x 8 pixels with four latents, of random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 8))
        self.decoder = nn.Sequential(
            nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))
        )

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.encoder(images).chunk(2, dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(latents)
        return decoded


def stand_ins(report: vaeaudit.AuditReport) -> dict[str, Any]:
    """What a page may call the reader's own: a model in its parts, images, pairs, a report; and the library's names."""
    torch.manual_seed(0)
    model = Small().eval()
    images = torch.rand(24, 1, 8, 8)
    return {
        "vaeaudit": vaeaudit, "at_least": vaeaudit.at_least, "at_most": vaeaudit.at_most, "torch": torch, "model": model,
        "encoder": model.encode, "decoder": model.decode, "ae": vaeaudit.Autoencoder(model.encode, model.decode),
        "images": images, "originals": images[:3], "targets": images[3:6], "report": report,
    }  # fmt: skip


def saved_models(folder: Path, model: Small) -> dict[str, Any]:
    """What the page on adapters loads, written where it looks for it, and its tables of counts."""
    counts = _module("adapters/test_tabular")
    tabular = counts.CountModule().eval()

    class MyModule(lightning.LightningModule):
        def __init__(self, latent: int) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.Linear(64, 2 * latent), nn.Linear(latent, 64)

    trainer = lightning.Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.strategy.connect(MyModule(8))
    trainer.save_checkpoint(folder / "epoch=9.ckpt")
    VAE(VAEConfig(input_dim=(1, 8, 8), latent_dim=4)).save(str(folder / "folder"))
    torch.export.save(torch.export.export(model.encoder, (torch.rand(4, 1, 8, 8),)), folder / "encoder.pt2")
    torch.export.save(torch.export.export(model.decoder, (torch.rand(4, 4),)), folder / "decoder.pt2")
    model.module = tabular
    return {
        "MyModule": MyModule, "counts": counts.COUNTS, "functools": functools, "math": math,
        "cells": tabular.z_encoder, "genes": nn.Linear(3, counts.GENES),
    }  # fmt: skip


def _module(path: str) -> ModuleType:
    """A file of the tests, by its path below tests/."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), TESTS / f"{path}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("default")  # as a reader meets them
def test_the_python_of_a_page_runs_in_order(
    page_of_python: Path, blocks: Any, make_report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    ran = [block for block in blocks(page_of_python) if block.language == "python" and not block.holds_tests]
    namespace = ran[0].example.namespace
    page = str(page_of_python.relative_to(TESTS.parent))
    if page not in OWN:
        namespace.update(stand_ins(make_report()))
    if page == "docs/adapters.md":
        namespace.update(saved_models(tmp_path, namespace["model"]))
    for block in ran:
        if block.file:
            Path(block.file).write_text(block.text)
        elif not block.excuse:
            block.example.evaluate()


def test_the_tests_of_a_page_pass_in_a_project(
    page_of_tests: Path,
    blocks: Any,
    loaded: None,
    pytester: pytest.Pytester,
    plain_pages: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    conftest, tests = CONFTEST.format(folder=str(TESTS / "plugin")), ""
    for block in blocks(page_of_tests):
        if block.file:
            pytester.path.joinpath(block.file).write_text(block.text)
        elif block.holds_tests and not block.excuse:
            hooks = "def pytest_vaeaudit_" in block.text
            conftest, tests = conftest + hooks * block.text, tests + (not hooks) * block.text
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_page=tests)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        result = pytester.runpytest_inprocess("-p", "no:hypothesispytest")
    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") == tests.count("def test_")
    assert outcomes.keys() <= {"warnings", "warning"}
