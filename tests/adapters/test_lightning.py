"""Checkpoints of Lightning are loaded into the class that the user gives, or it is said why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import OptionError, wrap
from vaeaudit.adapters import load_checkpoint

lightning = pytest.importorskip("lightning", reason="the test extra is not installed")
INPUTS = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))


class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
    """Holds its latent size among its hyperparameters, and not its bias."""

    def __init__(self, latent: int, bias: float) -> None:
        super().__init__()
        self.save_hyperparameters("latent")
        self.bias = bias
        self.coder, self.back = nn.Linear(6, 2 * latent), nn.Linear(latent, 6)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = (self.coder(x) + self.bias).chunk(2, 1)
        return mean, spread - 5

    def decode(self, z: Tensor) -> Tensor:
        return self.back(z)  # type: ignore[no-any-return]

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return (self.decode(self.encode(batch[0])[0]) - batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Module, Path]:
    """A module, and its checkpoint as a Trainer writes it."""
    torch.manual_seed(0)
    module, path = Module(latent=2, bias=0.5), tmp_path / "last.ckpt"
    trainer = lightning.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        barebones=False, max_steps=0,
    )  # fmt: skip
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return module, path


def test_a_checkpoint_is_the_module_that_was_saved(saved: tuple[Module, Path]) -> None:
    module, path = saved
    ae = load_checkpoint(Module, path, (-1, 1), name="mine", bias=0.5)
    assert (ae.bounds, ae.name) == ((-1, 1), "mine")
    assert torch.equal(ae.encode(INPUTS).mean, wrap(module).encode(INPUTS).mean)
    assert torch.equal(ae.reconstruct(INPUTS), wrap(module).reconstruct(INPUTS))
    assert load_checkpoint(Module, path, bias=0.5).name == "Module"


class Other(Module):
    """Has weights that the checkpoint lacks."""

    def __init__(self, latent: int, bias: float = 0.0) -> None:
        super().__init__(latent, bias)
        self.more = nn.Linear(2, 2)


def test_what_does_not_fit_is_told(saved: tuple[Module, Path], tmp_path: Path) -> None:
    _, path = saved
    (tmp_path / "broken.ckpt").write_bytes(b"no checkpoint")
    for kind, given, message in (
        (Module, path, r"cannot be loaded as a Module: TypeError: .*'bias'.*go in by name"),
        (Other, path, r"(?s)cannot be loaded as a Other: RuntimeError: .*more.weight"),
        (Module, tmp_path / "broken.ckpt", "cannot be loaded as a Module"),
        (Module, tmp_path / "gone.ckpt", "there is no checkpoint at"),
        (nn.Linear, path, "expects the class of a LightningModule, got"),
    ):
        with pytest.raises(OptionError, match=message):
            load_checkpoint(kind, given)


def test_a_module_that_holds_its_autoencoder_says_where(saved: tuple[Module, Path]) -> None:
    outer = lightning.LightningModule()
    outer.net = saved[0]
    with pytest.raises(OptionError, match=r"Its 'net' would be recognised: vaeaudit.wrap\(model.net\)"):
        wrap(outer)
