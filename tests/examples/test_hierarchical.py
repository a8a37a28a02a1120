"""The ladder is trained and audited as its users do it, and its levels' shares of an attack are what they are."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import vaeaudit

EXAMPLE = "hierarchical"


def test_the_example_trains_and_attacks_both_levels(
    example: ModuleType, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    audited: list[vaeaudit.Autoencoder],
) -> None:  # fmt: skip
    example.main([
        "--data", str(mnist_folder), "--images", "128", "--epochs", "2", "--preset", "quick",
        "--output", str(tmp_path / "report"),
    ])  # fmt: skip
    (ae,) = audited
    assert ae.layout.shapes == ((4, 7, 7), (8,))
    assert capsys.readouterr().out.count("of its way in the grid") == 2
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ae.reconstructions(images), ae.decode(ae.posteriors(images).mean).detach())


def test_the_shares_of_a_level_that_ignores_its_input_is_none(example: ModuleType) -> None:
    model = example.LadderVAE(grid=1, top=2)
    torch.nn.init.zeros_(model.above[-1].weight)
    ae = vaeaudit.Autoencoder(model.eval().encode, model.decode, scale="log_variance")
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert example.shares(ae, images, 1.0) == pytest.approx([1, 0], abs=1e-9)
