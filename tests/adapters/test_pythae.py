"""Every model of pythae: from memory and from a saved folder alike, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vaeaudit import OptionError, wrap
from vaeaudit.adapters import load_pythae

pythae = pytest.importorskip("pythae.models", reason="the test extra is not installed")
EVENT = (1, 6, 6)
GAUSSIAN = (
    "VAE", "BetaVAE", "DisentangledBetaVAE", "FactorVAE", "BetaTCVAE", "IWAE", "MIWAE", "CIWAE", "PIWAE", "MSSSIM_VAE",
    "INFOVAE_MMD", "VAMP", "VAEGAN", "Adversarial_AE", "VAE_LinNF", "VAE_IAF", "HVAE", "RHVAE",
)  # fmt: skip
CODES = ("AE", "WAE_MMD", "RAE_L2", "RAE_GP")
REFUSED = {
    "SVAE": "von Mises-Fisher",
    "PoincareVAE": "hyperbolic space",
    "VQVAE": "entries of a codebook: the gradient through the choice is zero",
}
FURTHER: dict[str, dict[str, Any]] = {"VQVAE": {"num_embeddings": 8}, "MSSSIM_VAE": {"window_size": 3}}
INPUTS = torch.rand(3, *EVENT, generator=torch.Generator().manual_seed(0))


def _made(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(pythae, f"{name}Config", None) or getattr(pythae, f"{name}_Config")
    options = {"input_dim": EVENT, "latent_dim": 3, **FURTHER.get(name, {}), **options}
    return getattr(pythae, name)(config(**options)).eval()


def test_every_model_of_the_package_is_known() -> None:
    models = {name for name in pythae.__all__ if not name.endswith("Config")} - {"AutoModel", "BaseAE"}
    assert models == {*GAUSSIAN, *CODES, *REFUSED}


@pytest.mark.parametrize("name", [*GAUSSIAN, *CODES])
def test_a_saved_model_is_the_one_in_memory(name: str, tmp_path: Path) -> None:
    model = _made(name)
    model.save(str(tmp_path))
    ae, loaded = wrap(model), load_pythae(tmp_path)
    posterior, again = ae.encode(INPUTS), loaded.encode(INPUTS)
    assert loaded.name == ae.name == name
    assert posterior.mean.shape == (3, 3)
    assert (posterior.log_variance is None) == (name in CODES)
    assert torch.equal(posterior.mean, again.mean)
    assert torch.equal(posterior.std, again.std)
    assert ae.decode(posterior.mean).shape == INPUTS.shape
    assert torch.equal(ae.decode(posterior.mean), loaded.decode(posterior.mean))


@pytest.mark.parametrize("name", ["VAE", "VAE_LinNF", "VAE_IAF"])
def test_a_reconstruction_is_that_of_the_models_own_forward(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _made(name)
    ae = wrap(model)
    monkeypatch.setattr(model, "_sample_gauss", lambda mean, std: (mean, torch.zeros_like(std)))
    theirs = model({"data": INPUTS}).recon_x
    torch.testing.assert_close(ae.reconstruct(INPUTS), theirs)
    if name != "VAE":
        assert not torch.allclose(theirs, model.decoder(ae.encode(INPUTS).mean)["reconstruction"])


@pytest.mark.parametrize("name", ["VAE", "HVAE"])
def test_the_posterior_is_the_gaussian_that_forward_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = _made(name), []

    def sampled(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((mean, std))
        return mean, torch.zeros_like(std)

    monkeypatch.setattr(model, "_sample_gauss", sampled)
    model({"data": INPUTS})
    posterior = wrap(model).encode(INPUTS)
    torch.testing.assert_close(posterior.mean, seen[0][0])
    torch.testing.assert_close(posterior.std, seen[0][1])


def test_the_deviation_of_an_hvae_is_a_softplus() -> None:
    model = _made("HVAE")
    torch.testing.assert_close(
        wrap(model).encode(INPUTS).std, functional.softplus(model.encoder(INPUTS).log_covariance)
    )


def test_an_adversarial_autoencoder_without_variances_has_a_code() -> None:
    assert wrap(_made("Adversarial_AE", deterministic_posterior=True)).encode(INPUTS).log_variance is None


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_gaussian_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    model = _made(name)
    model.save(str(tmp_path))
    for attempt in (lambda: wrap(model), lambda: load_pythae(tmp_path)):
        with pytest.raises(OptionError, match=f"{name} is not supported, because .*{REFUSED[name]}"):
            attempt()


def test_a_users_own_class_of_that_name_is_not_taken_for_it() -> None:
    assert (
        wrap(type("VQVAE", (type(_made("VAE")),), {})(pythae.VAEConfig(input_dim=EVENT, latent_dim=3))).name == "VQVAE"
    )


def test_pickles_are_loaded_only_where_they_are_allowed(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    model = _made("VAE")
    model.save(str(tmp_path))
    (tmp_path / "encoder.pkl").write_bytes(b"cos\nmkdir\n(V" + str(ran).encode() + b"\ntR.")
    with pytest.raises(OptionError, match=r"holds pickles \(encoder.pkl\), which run code.*allow_pickle=True"):
        load_pythae(tmp_path)
    assert not ran.exists()
    assert load_pythae(tmp_path, allow_pickle=True).name == "VAE"  # its configuration asks for no encoder of its own


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no folder of a pythae model: model_config.json cannot be read"),
        ("{", "is no folder of a pythae model"),
        ("[]", "names no model of pythae"),
        ('{"name": "NopeConfig"}', "pythae cannot load the model"),
        ('{"name": "VAEConfig"}', "pythae cannot load the model"),
    ],
)
def test_a_folder_without_a_model_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model_config.json").write_text(content)
    with pytest.raises(OptionError, match=message):
        load_pythae(tmp_path)


def test_an_audit_file_names_a_folder(tmp_path: Path) -> None:
    from vaeaudit.config import read_audit_file
    from vaeaudit.loading import load_model

    _made("VAE").save(str(tmp_path / "saved"))
    (tmp_path / "audit.toml").write_text(
        'model = "pythae:saved"\ndata = "zoo:mnist-vae"\nname = "mine"\nbounds = [0, 2]\n'
    )
    ae = load_model(read_audit_file(tmp_path / "audit.toml"))
    assert (ae.name, ae.bounds) == ("mine", (0, 2))


def test_a_path_is_no_model(tmp_path: Path) -> None:
    for path in (tmp_path, str(tmp_path)):
        with pytest.raises(OptionError, match=r"is a path and no model; load it first.*load_pythae\(folder\)"):
            wrap(path)
