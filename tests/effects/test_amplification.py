"""Gains: of a linear model, whose largest gain is a matrix norm."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from vaeaudit import DataError
from vaeaudit.effects import amplification


def test_the_gain_of_a_linear_model_is_that_of_its_matrix(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, d = linear.points(12, 5, 1), linear.points(12, 20, 2).view(5, 4, 12)
    found = amplification(model.autoencoder, x, x[:, None] + d)
    matrix = model.decoder @ model.weight
    torch.testing.assert_close(found.distortion, d.norm(dim=2))
    torch.testing.assert_close(found.displacement, (d @ matrix.T).norm(dim=2))
    torch.testing.assert_close(found.ratio, (d @ matrix.T).square().mean(2) / d.square().mean(2))
    best = torch.linalg.svd(matrix)[2][0]
    steepest = amplification(model.autoencoder, x, (x + 0.3 * best)[:, None])
    torch.testing.assert_close(steepest.gain, torch.full((5, 1), model.optimal_step(1.0), dtype=torch.float64))
    assert float(found.gain.max()) < float(steepest.gain.min())


def test_no_distortion_has_no_gain(linear: ModuleType) -> None:
    x = linear.points(12, 2, 1)
    found = amplification(linear.linear_gaussian().autoencoder, x, torch.stack([x, x + 1], 1))
    assert found.gain.isnan().tolist() == [[True, False]] * 2
    assert found.displacement[:, 0].tolist() == [0, 0]


def test_distortions_below_the_precision_of_pixels_are_measured_in_float64(linear: ModuleType) -> None:
    x = torch.full((1, 12), 0.7)
    step = torch.nextafter(x, torch.ones(1)) - x
    found = amplification(linear.linear_gaussian(bounds=(0.0, 1.0)).autoencoder, x, (x + step)[:, None])
    assert float(found.distortion) == pytest.approx(float(step.double().norm()), rel=1e-12)


def test_images_that_do_not_belong_together_are_refused(linear: ModuleType) -> None:
    ae, x = linear.linear_gaussian().autoencoder, linear.points(12, 2, 1)
    with pytest.raises(DataError, match=r"expect the shape \(images, budgets, \*event\)"):
        amplification(ae, x, x)
    with pytest.raises(DataError, match="adversarial images must be finite"):
        amplification(ae, x, torch.full((2, 1, 12), torch.nan))
