"""Real packages' models are recognised, audited, and left as they were; none of the packages is imported for it."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import Autoencoder, OptionError, spec, wrap

PAIRS = 6
SHORT = dataclasses.replace(
    spec.PRESETS["quick"], damaged=4, damage_steps=5, spectra=4, second_looks=1, queries=8, evaluations=100
)
"""Every measurement of the quick preset, on fewer images and in fewer steps."""
STEPS = 60
EVENT = (1, 6, 6)
REASON = "the test extra `adapters` is not installed"


def _mlp(*sizes: int) -> nn.Sequential:
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ELU())]
    return nn.Sequential(*layers[:-1])


def _sure(head: nn.Linear | nn.Conv2d, rows: slice) -> None:
    """Give an untrained head small posterior variances, so that reconstructions differ by more than noise."""
    with torch.no_grad():
        head.weight[rows] *= 0.1
        assert head.bias is not None
        head.bias[rows] = -8.0


def _diffusers() -> nn.Module:
    diffusers = pytest.importorskip("diffusers", reason=REASON)
    model = diffusers.AutoencoderKL(block_out_channels=(8,), latent_channels=1, norm_num_groups=2, sample_size=4)
    _sure(model.quant_conv, slice(1, 2))
    return model  # type: ignore[no-any-return]


def _pythae_vae() -> nn.Module:
    models = pytest.importorskip("pythae.models", reason=REASON)
    model = models.VAE(models.VAEConfig(input_dim=EVENT, latent_dim=3))
    _sure(model.encoder.log_var, slice(None))
    return model  # type: ignore[no-any-return]


def _pythae_ae() -> nn.Module:
    models = pytest.importorskip("pythae.models", reason=REASON)
    return models.AE(models.AEConfig(input_dim=EVENT, latent_dim=3))  # type: ignore[no-any-return]


class PyTorchVAE(nn.Module):
    """In the style of the PyTorch-VAE collection."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 2, 2), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.Flatten())
        self.fc_mu, self.fc_var = nn.Linear(36, 3), nn.Linear(36, 3)
        self.decoder = nn.Sequential(_mlp(3, 24, 36), nn.Unflatten(1, EVENT), nn.Sigmoid())
        _sure(self.fc_var, slice(None))

    def encode(self, input: Tensor) -> list[Tensor]:  # noqa: A002 - their name
        features = self.encoder(input)
        return [self.fc_mu(features), self.fc_var(features)]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)  # type: ignore[no-any-return]


def _lightning() -> nn.Module:
    lightning = pytest.importorskip("lightning", reason=REASON)

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"latent": 3})
            self.net = PyTorchVAE()

        def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_var = self.net.encode(x)
            return mean, log_var

        def decode(self, z: Tensor) -> Tensor:
            return self.net.decode(z)

    return Module()


def _bolts() -> nn.Module:
    lightning = pytest.importorskip("lightning", reason=REASON)

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        """In the style of lightning-bolts: heads beside the encoder, no encode method."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), _mlp(36, 24, 24))
            self.fc_mu, self.fc_var = nn.Linear(24, 3), nn.Linear(24, 3)
            self.decoder = nn.Sequential(_mlp(3, 24, 36), nn.Unflatten(1, EVENT), nn.Sigmoid())
            _sure(self.fc_var, slice(None))

    return Module()


def _plain() -> nn.Module:
    model = nn.Module()
    model.encoder, model.decoder = _mlp(36, 3), _mlp(3, 36)
    return model


# name -> (maker, inputs, latent shape, whether the code is deterministic)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], bool]] = {
    "diffusers AutoencoderKL": (_diffusers, (3, 4, 4), (1, 4, 4), False),
    "pythae VAE": (_pythae_vae, EVENT, (3,), False),
    "pythae AE": (_pythae_ae, EVENT, (3,), True),
    "PyTorch-VAE": (PyTorchVAE, EVENT, (3,), False),
    "LightningModule": (_lightning, EVENT, (3,), False),
    "lightning-bolts": (_bolts, EVENT, (3,), False),
    "rows": (_plain, (36,), (3,), True),
}


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name of a model."""
    return request.param  # type: ignore[no-any-return]


def _made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[kind][0]().train()


def _inputs(ae: Autoencoder, kind: str, n: int = 12) -> Tensor:
    """Inputs that differ in a single factor, so that a few steps of training suffice."""
    event = MODELS[kind][1]
    generator = torch.Generator().manual_seed(1)
    pattern = torch.randn(1, *event, generator=generator)
    factor = torch.linspace(-2, 2, n).view(-1, *[1] * len(event))
    low, high = ae.bounds
    return low + (high - low) * (factor * pattern).sigmoid()


def _fit(ae: Autoencoder, inputs: Tensor) -> None:
    """Enough training to tell the inputs' reconstructions apart."""
    model = ae.found.modules[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (ae.reconstruct(inputs) - inputs).square().mean().backward()
        optimizer.step()
    optimizer.zero_grad()


def _state(model: nn.Module) -> list[Any]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        *((name, t.detach().tolist(), t.requires_grad, t.grad is None, str(t.device)) for name, t in tensors),
        *((name, child.training) for name, child in model.named_modules()),
    ]


def test_a_model_is_recognised(kind: str) -> None:
    model = _made(kind).eval()
    _, event, latent, deterministic = MODELS[kind]
    ae = wrap(model)
    x = _inputs(ae, kind, 4)
    posterior = ae.encode(x)
    assert ae.name == type(model).__name__
    assert ae.bounds == ((-1, 1) if "diffusers" in kind else (0, 1))
    assert ae.found.modules == (model,)
    assert posterior.mean.shape == (4, *latent)
    assert (posterior.log_variance is None) == deterministic
    assert ae.reconstruct(x).shape == (4, *event)
    mine = wrap(model, (0, 0.5), name="mine", scale="std")
    assert (mine.bounds, mine.name, mine.scale) == ((0, 0.5), "mine", "std")


def test_a_model_is_copied_whole(kind: str) -> None:
    model = _made(kind)
    before = _state(model)
    there = wrap(model).on("meta")
    assert len(there.found.modules) == 1
    assert type(there.found.modules[0]) is type(model)
    assert str(there.device) == "meta"
    assert _state(model) == before


def test_what_an_audit_measures_is_what_the_package_computes() -> None:
    model: Any = _made("diffusers AutoencoderKL").eval()
    ae = wrap(model)
    x = _inputs(ae, "diffusers AutoencoderKL", 2)
    theirs = model.encode(x).latent_dist
    posterior = ae.encode(x)
    assert torch.equal(posterior.mean, theirs.mean)
    torch.testing.assert_close(posterior.std, theirs.std)
    assert torch.equal(ae.decode(theirs.mean), model.decode(theirs.mean).sample)


def test_pythae_posteriors_are_pythaes() -> None:
    model: Any = _made("pythae VAE").eval()
    x = _inputs(wrap(model), "pythae VAE", 2)
    posterior = wrap(model).encode(x)
    assert torch.equal(posterior.mean, model.encoder(x).embedding)
    torch.testing.assert_close(posterior.std, model.encoder(x).log_covariance.mul(0.5).exp())


def test_a_model_is_audited_and_left_as_it_was(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spec.PRESETS, "quick", SHORT)
    model = _made(kind)
    ae = wrap(model)
    inputs = _inputs(ae, kind)
    _fit(ae, inputs)
    before, drawn = _state(model), torch.get_rng_state()
    report = vaeaudit.audit(ae, inputs, preset="quick", pairs=PAIRS, strengths=6)
    assert _state(model) == before
    assert torch.equal(torch.get_rng_state(), drawn)
    curves = report.curves
    kept = ~curves.excluded
    assert kept.sum() >= PAIRS - 2
    assert curves.distortion.shape == curves.gap.shape == (PAIRS, len(curves.strengths))
    assert np.isfinite(curves.distortion).all()
    for figure in (curves.gap, curves.hinge, curves.auddc, curves.reach):
        assert np.isfinite(figure[kept]).all()
    assert report.encoder is not None
    assert report.provenance.weights == ae.fingerprint()
    assert ("training_mode" in {f.name for f in report.health}) == (ae.training_modules() is not None)


def test_a_wrapped_model_wraps_to_itself_and_options_override_its_own() -> None:
    ae = wrap(_plain(), (0, 2), name="first", scale="std")
    assert wrap(ae) == ae
    other = wrap(ae, (-1, 1), name="second", scale="variance")
    assert (other.bounds, other.name, other.scale) == ((-1, 1), "second", "variance")
    assert (ae.bounds, ae.name, ae.scale) == ((0, 2), "first", "std")


def test_a_users_own_subclass_of_a_diffusers_model_has_its_bounds() -> None:
    diffusers = pytest.importorskip("diffusers", reason=REASON)
    mine = type("Mine", (diffusers.AutoencoderKL,), {})(block_out_channels=(4,), norm_num_groups=2)
    assert wrap(mine).bounds == (-1, 1)


@pytest.mark.parametrize("heads", [("fc_mu", "fc_logvar"), ("fc_mu", "fc_log_var"), ("fc_mean", "fc_logvar")])
def test_heads_have_several_names(heads: tuple[str, str]) -> None:
    model = _plain()
    model.encoder = nn.Identity()
    for name in heads:
        model.add_module(name, nn.Linear(36, 3))
    posterior = wrap(model).encode(torch.rand(2, 36))
    assert posterior.log_variance is not None


def test_weights_that_may_stand_between_encoder_and_decoder_are_not_passed_over() -> None:
    model = _plain()
    model.bottleneck = nn.Linear(3, 3)
    with pytest.raises(OptionError, match=r"(?s)it has weights in 'bottleneck', which may stand between.*say what is"):
        wrap(model)
    assert wrap((model.encoder, model.decoder)).encode(torch.rand(2, 36)).mean.shape == (2, 3)


def test_children_without_weights_of_their_own_stand_between_nothing() -> None:
    model = _plain()
    model.both, model.noise = nn.Sequential(model.encoder, model.decoder), nn.Dropout(0.5)
    assert wrap(model).encode(torch.rand(2, 36)).mean.shape == (2, 3)


@pytest.mark.parametrize("model", [nn.Linear(2, 2), object(), 3, torch.relu])
def test_what_is_no_autoencoder_is_refused(model: Any) -> None:
    name = type(model).__name__
    message = rf"{name} has neither encode/decode methods nor encoder/decoder attributes; say.*Autoencoder\(encoder"
    with pytest.raises(OptionError, match=message):
        wrap(model)


def test_importing_the_library_imports_none_of_the_packages() -> None:
    heavy = ["diffusers", "pythae", "lightning", "pytorch_lightning", "pytest", "transformers"]
    code = f"import sys, vaeaudit; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
