"""What all measures have in common: the model stays as it came, and no gradients are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, effects
from vaeaudit.batches import rows_at_once


class _Stateful(nn.Module):
    """A VAE in training mode whose batch norm counts, whose dropout draws, and whose weights want gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 6)
        )
        self.decoder = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.2), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        found: Tensor = self.decoder(z)
        return found


MEASURES: dict[str, Callable[..., Any]] = {
    "similarities": lambda ae, x, moved, labels: effects.similarities(ae, x, moved, x.flip(0)),
    "likelihood": lambda ae, x, moved, labels: effects.likelihood_degradation(ae, x, moved, samples=7),
    "amplification": lambda ae, x, moved, labels: effects.amplification(ae, x, moved),
    "robustness": lambda ae, x, moved, labels: effects.r_robustness(ae, x, moved, 1.0, samples=7),
    "downstream": lambda ae, x, moved, labels: effects.downstream(ae, x, labels, moved, folds=2),
}


@pytest.mark.parametrize("name", MEASURES)
def test_the_model_and_the_world_stay_as_they_were(name: str) -> None:
    torch.manual_seed(0)
    model = _Stateful()
    ae = Autoencoder(model.encode, model.decode, modules=(model,), scale="log_variance")
    x = torch.rand(10, 1, 8, 8)
    moved, labels = torch.rand(10, 2, 1, 8, 8), torch.arange(10) % 2
    copies = [x.clone(), moved.clone()]
    before, state = ae.fingerprint(), torch.get_rng_state()
    first = MEASURES[name](ae, x, moved, labels)
    with torch.inference_mode():
        again = MEASURES[name](ae, x, moved, labels)
    assert ae.fingerprint() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())
    assert torch.equal(x, copies[0])
    assert torch.equal(moved, copies[1])
    for field in dataclasses.fields(first):
        value = getattr(first, field.name)
        if isinstance(value, Tensor):
            assert value.dtype == torch.float64
            assert not value.requires_grad
            assert torch.equal(value, getattr(again, field.name))


def test_measures_of_many_images_are_those_of_few() -> None:
    """More rows than are evaluated at once."""
    torch.manual_seed(0)
    model = _Stateful()
    ae = Autoencoder(model.encode, model.decode, modules=(model,), scale="log_variance")
    count = rows_at_once(64, torch.device("cpu")) + 5
    x, moved = torch.rand(count, 1, 8, 8), torch.rand(count, 1, 1, 8, 8)
    few = [count - 1, 3]
    for name in ("amplification", "similarities"):
        whole, part = (MEASURES[name](ae, a, b, None) for a, b in ((x, moved), (x[few], moved[few])))
        if name == "amplification":
            assert torch.equal(whole.gain[few], part.gain)
        else:
            assert torch.equal(whole.reconstructions[few], part.reconstructions)
