"""Spectra and condition numbers of a linear model with chosen singular values, and the same by products alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder
from vaeaudit.geometry import jacobians
from vaeaudit.geometry.products import JacobianProducts
from vaeaudit.measurements.spectra import figures_of
from vaeaudit.pullbacks import decomposed_at_once, products_an_image, pullback_arrays, stochastic_arrays

ENCODER, DECODER = (4.0, 2.0, 1.0), (3.0, 2.0, 0.5)


@pytest.fixture
def linear() -> Autoencoder:
    """Singular directions of encoder and decoder are the same three, so their singular values multiply."""
    basis, _ = torch.linalg.qr(torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    into, out = basis * torch.tensor(ENCODER), (basis * torch.tensor(DECODER)).T

    def encode(images: Tensor) -> Tensor:
        return images @ into

    return Autoencoder(encode, lambda latents: latents @ out)


def test_spectra_are_the_squares_of_the_singular_values(linear: Autoencoder) -> None:
    arrays = pullback_arrays(linear, torch.rand(5, 8, dtype=torch.float64), np.array([True, True, True]))
    both = np.multiply(ENCODER, DECODER)
    for part, values in (("encoder", ENCODER), ("decoder", DECODER), ("round_trip", both)):
        expected = np.sort(np.square(values))[::-1]
        found = arrays[f"{part}.eigenvalues"][:, :3]
        np.testing.assert_allclose(found, np.tile(expected, (5, 1)), rtol=1e-5)
        np.testing.assert_allclose(arrays[f"{part}.condition"], np.sqrt(expected[0] / expected[-1]), rtol=1e-5)
        assert arrays[f"{part}.resolved"].all()


def test_only_active_units_enter_the_condition_number(linear: Autoencoder) -> None:
    arrays = pullback_arrays(linear, torch.rand(5, 8, dtype=torch.float64), np.array([True, True, False]))
    np.testing.assert_allclose(arrays["encoder.condition"], ENCODER[0] / ENCODER[1], rtol=1e-5)
    np.testing.assert_allclose(arrays["decoder.condition"], DECODER[0] / DECODER[1], rtol=1e-5)


def test_one_active_unit_has_no_condition_number(linear: Autoencoder) -> None:
    arrays = pullback_arrays(linear, torch.rand(5, 8, dtype=torch.float64), np.array([True, False, False]))
    assert np.isnan(arrays["encoder.condition"]).all()
    assert arrays["encoder.resolved"].all()


@pytest.fixture(scope="module")
def convolutional() -> Autoencoder:
    """4 x 6 x 6 latents of 1 x 12 x 12 images, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        down = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.SiLU(), nn.Conv2d(6, 8, 4, stride=2, padding=1)).double()
        up = nn.Sequential(nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(6, 1, 3, padding=1))
    for layer in (down[0], down[2]):
        layer.weight.data *= 2
    return Autoencoder(lambda x: tuple(down(x).chunk(2, 1)), up.double(), (0, 1), scale="log_variance")


PARTS = ("encoder", "decoder", "round_trip")
IMAGE = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_products_give_what_decomposed_jacobians_give(convolutional: Autoencoder) -> None:
    active = np.arange(144) % 3 > 0
    with convolutional.at_rest():
        exact = pullback_arrays(convolutional, IMAGE, active)
        found = stochastic_arrays(convolutional, IMAGE, active, probes=12, steps=40, seed=1)
    for part in PARTS:
        leading = exact[f"{part}.eigenvalues"][:, :4]
        # the round trip's errors are two standard errors, which one of four may just exceed
        slack = (2 if part == "round_trip" else 1) * found[f"{part}.error"] + 1e-9
        assert (np.abs(found[f"{part}.eigenvalues"] - leading) <= slack).all()
        known, estimated = figures_of(exact, part), figures_of(found, part)
        assert set(known) == set(estimated)
        for score in ("trace", "von_neumann_entropy"):
            assert np.abs(estimated[score] / known[score] - 1) <= 1.5 * found[f"{part}.half_width"], (part, score)
        slack = 1.5 * found[f"{part}.half_width_log"]
        assert np.abs(estimated["log_pseudo_determinant"] - known["log_pseudo_determinant"]) <= slack
        np.testing.assert_allclose(estimated["effective_rank"], np.exp(estimated["von_neumann_entropy"]))
        np.testing.assert_allclose(estimated["entropy_khan2022"], known["entropy_khan2022"], rtol=0.1)
        assert estimated["condition_number"] <= known["condition_number"] * (1 + 1e-6)


def test_products_that_see_the_whole_spectrum_resolve_the_condition_number(convolutional: Autoencoder) -> None:
    active = np.arange(144) < 20
    with convolutional.at_rest():
        exact = pullback_arrays(convolutional, IMAGE, active)
        found = stochastic_arrays(convolutional, IMAGE, active, probes=2, steps=30, seed=0)
    for part in PARTS:
        assert found[f"{part}.resolved"].all()
        np.testing.assert_allclose(found[f"{part}.condition"], exact[f"{part}.condition"], rtol=1e-2)


def test_one_active_unit_has_no_condition_number_by_products_either(convolutional: Autoencoder) -> None:
    with convolutional.at_rest():
        found = stochastic_arrays(convolutional, IMAGE, np.arange(144) == 5, probes=2, steps=5, seed=0)
    assert all(np.isnan(found[f"{part}.condition"]).all() for part in PARTS)


@pytest.mark.parametrize(("probes", "steps"), [(4, 20), (2, 6)])
def test_no_more_products_are_taken_than_counted_on(
    convolutional: Autoencoder, monkeypatch: pytest.MonkeyPatch, probes: int, steps: int
) -> None:
    taken = []
    for way in ("push", "pull"):
        plain = getattr(JacobianProducts, way)
        monkeypatch.setattr(JacobianProducts, way, lambda self, v, plain=plain: taken.append(1) or plain(self, v))
    with convolutional.at_rest():
        stochastic_arrays(convolutional, IMAGE, np.full(144, True), probes=probes, steps=steps, seed=0)
    assert 0.5 * products_an_image(probes, steps) < len(taken) <= products_an_image(probes, steps)


def test_images_at_once_are_those_whose_jacobians_fit(
    convolutional: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with convolutional.at_rest():
        assert decomposed_at_once(convolutional, IMAGE) > 1
        monkeypatch.setattr("vaeaudit.pullbacks.memory_budget", lambda device: 1)
        assert decomposed_at_once(convolutional, IMAGE) == 1
        monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
        assert decomposed_at_once(convolutional, IMAGE) == 0
