"""What each score keeps when latents, inputs or outputs change their units, through whole models."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.geometry import (
    Spectrum,
    decoder_spectrum,
    encoder_jacobians,
    encoder_spectrum,
    round_trip_spectrum,
    scores,
)

FREE_OF_SCALE = (scores.von_neumann_entropy, scores.effective_rank, scores.entropy_khan2022)


@pytest.fixture(scope="module")
def model(linear: ModuleType):
    return linear.linear_gaussian(n=12, k=4, slope=1.0)


@pytest.fixture(scope="module")
def x(linear: ModuleType) -> Tensor:
    return linear.points(12, 3)


def _with_latents(model, scale: Tensor) -> Autoencoder:
    """The same model with latents multiplied, unit by unit; the decoder undoes it."""

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = model.encode(x)
        return mean * scale, log_variance + 2 * scale.log()

    return Autoencoder(encode, lambda z: model.decode(z / scale), model.bounds, scale="log_variance")


def _with_inputs(model, scale: float) -> Autoencoder:
    """The same model for images in other units; reconstructions come out in them as well."""
    return Autoencoder(
        lambda x: model.encode(x / scale), lambda z: scale * model.decode(z), model.bounds, scale="log_variance"
    )


def _scaled_by(found: Spectrum, base: Spectrum, factor: float) -> None:
    torch.testing.assert_close(found.eigenvalues, factor * base.eigenvalues, rtol=1e-6, atol=1e-10)
    for score in (scores.spectral_radius, scores.trace):
        torch.testing.assert_close(score(found.eigenvalues), factor * score(base.eigenvalues), rtol=1e-6, atol=0)
    for score in FREE_OF_SCALE:
        torch.testing.assert_close(score(found.eigenvalues), score(base.eigenvalues), rtol=1e-5, atol=1e-6)
    rank = (base.eigenvalues > base.error).sum(1)
    grown = scores.log_pseudo_determinant(base.eigenvalues, base.error) + rank * math.log(factor)
    torch.testing.assert_close(scores.log_pseudo_determinant(found.eigenvalues, found.error), grown)


@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_latents_in_other_units_scale_the_encoder_unscale_the_decoder_and_leave_the_round_trip(
    model, x: Tensor, factor: float
) -> None:
    base, other = model.autoencoder, _with_latents(model, torch.full((4,), factor, dtype=torch.float64))
    for metric in ("wasserstein", "mean"):
        _scaled_by(encoder_spectrum(other, x, metric), encoder_spectrum(base, x, metric), factor**2)
    _scaled_by(encoder_spectrum(other, x, "fisher"), encoder_spectrum(base, x, "fisher"), 1.0)
    _scaled_by(decoder_spectrum(other, x[:, :4]), decoder_spectrum(base, x[:, :4]), factor**-2)
    for metric in ("round_trip", "round_trip_mean"):
        _scaled_by(round_trip_spectrum(other, x, metric=metric), round_trip_spectrum(base, x, metric=metric), 1.0)


@pytest.mark.parametrize("factor", [0.1, 255.0])
def test_images_in_other_units_unscale_the_encoder_scale_the_decoder_and_leave_the_round_trip(
    model, x: Tensor, factor: float
) -> None:
    base, other = model.autoencoder, _with_inputs(model, factor)
    for metric in ("wasserstein", "mean", "fisher"):
        _scaled_by(encoder_spectrum(other, factor * x, metric), encoder_spectrum(base, x, metric), factor**-2)
    _scaled_by(decoder_spectrum(other, x[:, :4]), decoder_spectrum(base, x[:, :4]), factor**2)
    for metric in ("round_trip", "round_trip_mean"):
        found = round_trip_spectrum(other, factor * x, metric=metric)
        _scaled_by(found, round_trip_spectrum(base, x, metric=metric), 1.0)


def test_latents_rescaled_one_by_one_leave_fisher_and_the_round_trip_alone(model, x: Tensor) -> None:
    base, other = model.autoencoder, _with_latents(model, torch.tensor([0.1, 1.0, 3.0, 20.0], dtype=torch.float64))
    _scaled_by(encoder_spectrum(other, x, "fisher"), encoder_spectrum(base, x, "fisher"), 1.0)
    _scaled_by(round_trip_spectrum(other, x), round_trip_spectrum(base, x), 1.0)
    here, there = (scores.von_neumann_entropy(encoder_spectrum(ae, x).eigenvalues) for ae in (base, other))
    assert bool(((here - there).abs() > 0.1).all()), "the encoder's other metrics do feel it"


@pytest.mark.parametrize("factor", [0.1, 255.0])
def test_the_condition_number_feels_no_common_scale_but_those_of_single_units(model, x: Tensor, factor: float) -> None:
    def condition(ae: Autoencoder, points: Tensor) -> Tensor:
        return scores.condition_number(encoder_jacobians(ae, points).mean, 4)

    base = condition(model.autoencoder, x)
    common = _with_latents(model, torch.full((4,), factor, dtype=torch.float64))
    torch.testing.assert_close(condition(common, x), base, rtol=1e-6, atol=0)
    torch.testing.assert_close(condition(_with_inputs(model, factor), factor * x), base, rtol=1e-6, atol=0)
    single = _with_latents(model, torch.tensor([1, 1, 1, 100.0], dtype=torch.float64))
    assert bool((condition(single, x) > 5 * base).all())


def test_rotated_inputs_and_latents_keep_every_eigenvalue_of_the_mean_metrics(model, x: Tensor) -> None:
    """Rotated latents have no diagonal posterior, so only what knows means alone is kept."""
    generator = torch.Generator().manual_seed(0)
    turn, spin = (torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0] for d in (12, 4))
    other = Autoencoder(
        lambda v: model.encode(v @ turn)[0] @ spin, lambda z: model.decode(z @ spin.T) @ turn.T, model.bounds
    )
    base = model.autoencoder
    _scaled_by(encoder_spectrum(other, x @ turn.T, "mean"), encoder_spectrum(base, x, "mean"), 1.0)
    found = round_trip_spectrum(other, x @ turn.T, metric="round_trip_mean")
    _scaled_by(found, round_trip_spectrum(base, x, metric="round_trip_mean"), 1.0)
