"""The example audits its own shape, narrowed, and prints what it says it prints."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torchvision.utils import save_image

import vaeaudit

pytest.importorskip("diffusers", reason="diffusers is not installed")
EXAMPLE = "autoencoder_kl"


def test_the_random_model_has_the_size_of_stable_diffusions(example: ModuleType) -> None:
    with torch.device("meta"):
        model = example.random_model()
    assert sum(weights.numel() for weights in model.parameters()) == 83_653_863


def test_made_images_fill_the_bounds_smoothly(example: ModuleType) -> None:
    images = example.made_images(2, 32)
    assert images.shape == (2, 3, 32, 32)
    assert -1 <= float(images.min()) < -0.5 < 0.5 < float(images.max()) <= 1


def test_images_of_a_folder_are_cut_to_squares(example: ModuleType, tmp_path: Path) -> None:
    save_image(torch.ones(3, 20, 40), tmp_path / "white.png")
    save_image(torch.zeros(3, 30, 10), tmp_path / "black.png")
    (tmp_path / "notes.txt").write_text("no image")
    images = example.images_in(tmp_path, 16)
    assert images.flatten(1).mean(1).tolist() == [-1, 1]
    assert images.shape == (2, 3, 16, 16)


def test_the_example_audits_and_tells_how_far_each_channel_moves(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    report: vaeaudit.AuditReport,
) -> None:  # fmt: skip
    given: dict[str, Any] = {}

    def audit(ae: Any, images: Any, *_: Any, **options: Any) -> vaeaudit.AuditReport:
        given.update(options, ae=ae, images=images)
        return report

    monkeypatch.setattr(vaeaudit, "audit", audit)
    example.main(["--random", "--narrow", "32", "--size", "16", "--pairs", "3", "--work", "1e9",
                  "--device", "cpu", "--output", str(tmp_path / "report")])  # fmt: skip
    assert given["divergence"] == "channel_normalised_l2"
    assert given["work"] == 1e9
    assert given["ae"].bounds == (-1, 1)
    assert given["images"].shape == (3, 3, 16, 16)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("At a budget of")]
    assert report.damage is not None
    assert report.damage.latent is not None
    assert line.startswith(f"At a budget of {report.damage.radii[-1]:.3g} the latent's channels move by ")
    moved = [float(part) for part in line.partition("move by")[2].removesuffix("standard deviations").split(",")]
    assert moved == pytest.approx(report.damage.latent.by_channel, abs=0.005)
