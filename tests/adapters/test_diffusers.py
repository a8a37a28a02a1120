"""Autoencoders of diffusers: what is audited is what they compute, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import vaeaudit
from vaeaudit import OptionError, spec, wrap
from vaeaudit.divergences import divergence_kl

diffusers = pytest.importorskip("diffusers", reason="the test extra is not installed")
SMALL: dict[str, Any] = {"block_out_channels": (4,), "norm_num_groups": 2, "latent_channels": 2, "sample_size": 4}
INPUTS = 2 * torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 1


def _asymmetric() -> Any:
    return diffusers.AsymmetricAutoencoderKL(
        down_block_out_channels=(4,), up_block_out_channels=(4,), layers_per_down_block=1, layers_per_up_block=1,
        norm_num_groups=2, latent_channels=2, sample_size=4,
    )  # fmt: skip


def _tiny() -> Any:
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4, 4), decoder_block_out_channels=(4, 4), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1), latent_channels=2,
    )  # fmt: skip


def _vq() -> Any:
    model = diffusers.VQModel(num_vq_embeddings=64, **SMALL)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model


MODELS = {
    "AutoencoderKL": lambda: diffusers.AutoencoderKL(scaling_factor=0.5, shift_factor=0.1, **SMALL),
    "AsymmetricAutoencoderKL": _asymmetric,
    "AutoencoderTiny": _tiny,
    "VQModel": _vq,
}


def _made(name: str) -> Any:
    torch.manual_seed(0)
    return MODELS[name]().eval()


@pytest.mark.parametrize("name", MODELS)
def test_what_is_audited_is_encode_and_decode_before_any_scaling(name: str) -> None:
    model = _made(name)
    ae, encoded = wrap(model), model.encode(INPUTS)
    posterior = ae.encode(INPUTS)
    assert (ae.bounds, ae.name) == ((-1, 1), name)
    if posterior.log_variance is None:
        assert torch.equal(posterior.mean, encoded.latents)
    else:
        assert torch.equal(posterior.mean, encoded.latent_dist.mean)
        torch.testing.assert_close(posterior.std, encoded.latent_dist.std)
    assert (posterior.log_variance is None) == (name in ("AutoencoderTiny", "VQModel"))
    assert torch.equal(ae.decode(posterior.mean), model.decode(posterior.mean).sample)


def test_a_kl_does_not_change_under_the_scaling_of_a_pipeline() -> None:
    model = _made("AutoencoderKL")
    ae, factor, shift = wrap(model), model.config.scaling_factor, model.config.shift_factor
    scaled = vaeaudit.Autoencoder(
        lambda x: {"mean": factor * (ae.encode(x).mean - shift), "logvar": ae.encode(x).log_variance + 2 * torch.tensor(factor).log()},
        lambda z: ae.decode(z / factor + shift), (-1, 1),
    )  # fmt: skip
    ours, theirs = (divergence_kl(one.encode(INPUTS[:3]), one.encode(INPUTS[3:])) for one in (ae, scaled))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:reverse mode is taken:vaeaudit.FallbackWarning")
def test_a_codebook_spoils_what_needs_the_decoders_gradient_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(
        spec.PRESETS["quick"], pairs=4, damaged=4, damage_steps=5, second_looks=1, spectra=2, queries=8, evaluations=20
    )
    monkeypatch.setitem(spec.PRESETS, "quick", few)
    report = vaeaudit.audit(wrap(_made("VQModel")), INPUTS, preset="quick", strengths=[0.1, 1.0, 10.0, 100.0])
    (told,) = (finding for finding in report.health if finding.name == "gradients_disagree")
    assert told.severity == "invalid"
    assert {"damage", "decoder", "round_trip"} <= set(told.affects)
    assert "encoder" not in told.affects
    assert "hinge" not in told.affects


def test_slicing_computes_the_same_and_tiling_is_refused() -> None:
    model = _made("AutoencoderKL")
    whole = wrap(model).encode(INPUTS).mean
    model.enable_slicing()
    torch.testing.assert_close(wrap(model).encode(INPUTS).mean, whole)
    model.enable_tiling()
    with pytest.raises(
        OptionError, match=r"AutoencoderKL is not supported, because it has tiling .*disable_tiling\(\)"
    ):
        wrap(model)


def test_a_decoder_that_draws_noise_is_refused() -> None:
    refused = type("ConsistencyDecoderVAE", (), {"__module__": "diffusers.models", "encode": None, "decode": None})
    model = refused()
    model.encode = model.decode = torch.relu
    with pytest.raises(OptionError, match=r"not supported, because its decoder draws noise.*an AutoencoderKL"):
        wrap(model)


def test_a_decoder_that_needs_more_than_latents_says_how_to_bind_it() -> None:
    model = diffusers.AutoencoderKLTemporalDecoder(block_out_channels=(32,), sample_size=4)
    with pytest.raises(OptionError, match=r"its decode needs num_frames beside the latents.*functools.partial"):
        wrap(model)
