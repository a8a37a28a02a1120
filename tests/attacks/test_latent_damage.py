"""Untargeted attacks on the posterior: on a linear model the divergence is a quadratic whose maximum is known."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch

from vaeaudit import Autoencoder
from vaeaudit.attacks import latent_damage

RADII = [0.1, 0.7, 2.0]


@pytest.mark.parametrize("divergence", ["kl", "kl_reverse", "symmetric_kl", "mean_l2", "wasserstein"])
def test_the_most_in_an_l2_ball_is_the_leading_singular_value(linear: ModuleType, divergence: str) -> None:
    model = linear.linear_gaussian(seed=2)
    found = latent_damage(model.autoencoder, linear.points(12, 3), RADII, divergence=divergence)
    whitened = "kl" in divergence
    weight = (-0.5 * model.log_variance).exp()[:, None] * model.weight if whitened else model.weight
    gain = float(torch.linalg.matrix_norm(weight, 2)) ** 2 * (0.5 if whitened else 1)
    for j, radius in enumerate(RADII):
        assert found.divergence[:, j].tolist() == pytest.approx([gain * radius**2] * 3, rel=1e-6)
        assert found.distortion[:, j].tolist() == pytest.approx([radius] * 3, rel=1e-9)
    assert found.divergence_name == divergence
    assert bool(found.converged.all())


def test_without_an_eigenvector_to_start_from_it_gets_there_too(linear: ModuleType) -> None:
    model = linear.linear_gaussian(seed=2)
    x = linear.points(12, 2)
    found = latent_damage(model.autoencoder, x, 0.7, divergence="mean_l2", starts=torch.zeros(1, 2, 12), steps=150)
    best = (0.7 * float(torch.linalg.matrix_norm(model.weight, 2))) ** 2
    assert found.divergence[:, 0].tolist() == pytest.approx([best] * 2, rel=1e-5)


def test_the_most_in_a_cube_is_the_l1_norm_of_a_single_row() -> None:
    row = torch.tensor([[0.5, -2.0, 0.0, 1.5]], dtype=torch.float64)
    ae = Autoencoder(lambda x: x @ row.T, lambda z: z @ torch.ones(1, 4, dtype=torch.float64), (-math.inf, math.inf))
    found = latent_damage(ae, torch.zeros(2, 4, dtype=torch.float64), 0.3, "linf", "kl")
    assert found.divergence_name == "mean_l2"
    assert found.objective[:, 0].tolist() == pytest.approx([(0.3 * 4.0) ** 2] * 2, rel=1e-9)


@pytest.mark.parametrize("divergence", ["kl", "kl_reverse", "symmetric_kl", "wasserstein"])
def test_no_random_point_of_the_ball_is_farther(linear: ModuleType, divergence: str) -> None:
    box = (0.0, 1.0)
    model = linear.linear_gaussian(slope=2.0, bounds=box)
    x = linear.points(12, 3, bounds=box)
    found = latent_damage(model.autoencoder, x, 0.5, divergence=divergence, restarts=2)
    noise = torch.randn(400, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shaken = (x[:, None] + 0.5 * noise / noise.norm(dim=1, keepdim=True)).clamp(*box)
    kl, normal = torch.distributions.kl_divergence, torch.distributions.Normal
    clean, moved = model.autoencoder.encode(x), model.autoencoder.encode(shaken.flatten(0, 1))
    q = normal(clean.mean.repeat_interleave(400, 0), clean.std.repeat_interleave(400, 0))
    p = normal(moved.mean, moved.std)
    slow = {
        "kl": lambda: kl(p, q), "kl_reverse": lambda: kl(q, p), "symmetric_kl": lambda: (kl(p, q) + kl(q, p)) / 2,
        "wasserstein": lambda: (p.mean - q.mean) ** 2 + (p.stddev - q.stddev) ** 2,
    }[divergence]().sum(1)  # fmt: skip
    assert bool((slow.view(3, 400).amax(1) <= found.divergence[:, 0]).all())
