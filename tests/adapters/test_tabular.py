"""Modules in the shape of scvi-tools' own: covariates and library size are fixed by the user, or it is an error."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, Poisson

import vaeaudit
from vaeaudit import Autoencoder, OptionError, wrap
from vaeaudit.adapters import from_tabular

GENES, BATCHES = 12, 3
COUNTS = torch.poisson(torch.full((10, GENES), 4.0), generator=torch.Generator().manual_seed(0))


class CountEncoder(nn.Module):
    """Returns the posterior and a sample of it, as scvi.nn.Encoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread = nn.Linear(GENES + BATCHES, 3), nn.Linear(GENES + BATCHES, 3)

    def forward(self, x: Tensor, batch_index: Tensor) -> tuple[Normal, Tensor]:
        one_hot = nn.functional.one_hot(batch_index.long().expand(len(x), 1)[:, 0], BATCHES).to(x)
        seen = torch.cat([x, one_hot], 1)
        posterior = Normal(self.mean(seen), nn.functional.softplus(self.spread(seen)) + 1e-4)
        return posterior, posterior.rsample()


class CountModule(nn.Module):
    """A VAE of counts: log1p inside, the library size taken from the input, one batch covariate."""

    def __init__(self) -> None:
        super().__init__()
        self.z_encoder, self.decoder = CountEncoder(), nn.Linear(3 + BATCHES, GENES)

    def inference(self, x: Tensor, batch_index: Tensor, n_samples: int = 1) -> dict[str, Any]:
        posterior, sample = self.z_encoder(torch.log1p(x), batch_index)
        return {"qz": posterior, "z": sample, "library": x.sum(1, keepdim=True).log()}

    def generative(self, z: Tensor, library: Tensor, batch_index: Tensor, y: Tensor | None = None) -> dict[str, Any]:
        one_hot = nn.functional.one_hot(batch_index.long()[:, 0], BATCHES).to(z)
        share = self.decoder(torch.cat([z, one_hot], 1)).softmax(1)
        return {"px": Poisson(library.exp() * share), "pz": Normal(torch.zeros_like(z), torch.ones_like(z))}


@pytest.fixture
def module() -> CountModule:
    torch.manual_seed(0)
    return CountModule().eval()


def test_the_posterior_is_that_of_the_inference_with_the_covariates_that_were_given(module: CountModule) -> None:
    for batch in range(BATCHES):
        ae = from_tabular(module, library_size=100, covariates={"batch_index": batch})
        theirs = module.inference(COUNTS, torch.full((10, 1), batch))["qz"]
        torch.testing.assert_close(ae.encode(COUNTS).mean, theirs.loc)
        torch.testing.assert_close(ae.encode(COUNTS).std, theirs.scale)
        assert torch.equal(ae.encode(COUNTS).mean, ae.encode(COUNTS).mean)
    assert ae.name == "CountModule"
    assert ae.bounds == (0, math.inf)


def test_a_reconstruction_has_the_library_size_that_was_asked_for(module: CountModule) -> None:
    ae = from_tabular(module, library_size=250.0, covariates={"batch_index": torch.tensor([[1]])})
    assert ae.reconstruct(COUNTS).sum(1).tolist() == pytest.approx([250] * 10)


def test_counts_are_audited_without_an_upper_bound(module: CountModule) -> None:
    ae = from_tabular(module, library_size=48, covariates={"batch_index": 0})
    found = vaeaudit.attacks.maximum_damage(ae, COUNTS[:4], 5.0, steps=10)
    assert float(found.adversarial.min()) >= 0
    assert bool((found.displacement > 0).all())
    assert found.distortion.max().item() == pytest.approx(5, rel=1e-3)


def test_what_cannot_be_known_is_asked_for(module: CountModule) -> None:
    model = type("SCVI", (), {})()
    model.module = module
    for given in (module, model):
        with pytest.raises(
            OptionError, match=r"depends on covariates and a library size.*from_tabular\(model.module, library"
        ):
            wrap(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"library_size": 0}, "library_size expects a positive number of counts, got 0"),
        ({"library_size": "many"}, "library_size expects a positive number"),
        ({"library_size": 9, "covariates": {"batch_index": torch.zeros(2, 1)}}, r"one row \(1, width\), got \(2, 1\)"),
    ],
)
def test_options_that_cannot_be_are_refused(module: CountModule, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        from_tabular(module, **options)


def test_a_module_without_the_two_methods_is_refused() -> None:
    with pytest.raises(OptionError, match="expects a module with inference and generative, got Linear"):
        from_tabular(nn.Linear(2, 2), library_size=1)


def test_an_encoder_of_ones_own_is_bound_by_partial(module: CountModule) -> None:
    encode = partial(module.z_encoder, batch_index=torch.zeros(1, 1))
    decode = nn.Linear(3, GENES)
    ae = Autoencoder(lambda x: encode(x)[0], decode, (0, math.inf), modules=(module.z_encoder, decode))
    torch.testing.assert_close(ae.encode(COUNTS).mean, module.z_encoder(COUNTS, torch.zeros(10, 1))[0].loc)
