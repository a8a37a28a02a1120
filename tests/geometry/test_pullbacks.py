"""Spectra and condition numbers of a linear model with chosen singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.pullbacks import pullback_arrays

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
