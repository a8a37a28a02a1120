"""Distances to the target: a slow loop with the same noise, one image and one sample at a time."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from vaeaudit import batches
from vaeaudit.reconstruction import TargetDistances, target_distances

PAIRS, STRENGTHS, SAMPLES = 4, 3, 6
KEYS = [(0, i, 7 - i) for i in range(PAIRS)]


def _images(linear: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    x, t = linear.points(12, PAIRS, 1), linear.points(12, PAIRS, 2)
    return x, t, linear.points(12, PAIRS * STRENGTHS, 3).view(PAIRS, STRENGTHS, 12)


def _measure(model, x: Tensor, t: Tensor, attacked: Tensor, keys=KEYS, samples: int = SAMPLES) -> TargetDistances:
    return target_distances(model.autoencoder, x, t, attacked, samples=samples, keys=keys)


def _slow(model, image: Tensor, target: Tensor, key: tuple[int, ...], samples: int) -> list[float]:
    """Distances of sampled reconstructions of one image to its target; the noise belongs to the pair."""
    noise = np.random.default_rng(key).standard_normal((samples, 4), dtype=np.float32)
    distances = []
    for eps in torch.from_numpy(noise).double():
        mean, log_variance = (part[0] for part in model.encode(image[None]))
        z = mean + (0.5 * log_variance).exp() * eps
        distances.append(float((model.decode(z[None])[0] - target).norm()))
    return distances


def test_every_term_is_that_of_a_slow_loop_over_the_same_noise(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, t, attacked = _images(linear)
    found = _measure(model, x, t, attacked)
    for i in range(PAIRS):
        original = np.array(_slow(model, x[i], t[i], KEYS[i], SAMPLES))
        target = np.array(_slow(model, t[i], t[i], KEYS[i], SAMPLES))
        assert float(found.original[i]) == pytest.approx(original.mean())
        assert float(found.target[i]) == pytest.approx(target.mean())
        spread = (original - target).std(ddof=1) / math.sqrt(SAMPLES)
        assert float(found.reach_error[i]) == pytest.approx(spread)
        for j in range(STRENGTHS):
            slow = _slow(model, attacked[i, j], t[i], KEYS[i], SAMPLES)
            assert float(found.adversarial[i, j]) == pytest.approx(np.mean(slow))


def test_an_attack_that_stays_or_arrives_shares_its_noise_with_the_end_it_equals(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, t, attacked = _images(linear)
    attacked[:, 0], attacked[:, 2] = x, t
    found = _measure(model, x, t, attacked)
    assert torch.equal(found.adversarial[:, 0], found.original)
    assert torch.equal(found.adversarial[:, 2], found.target)


def test_neither_the_order_of_pairs_nor_their_company_matters(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, t, attacked = _images(linear)
    together = _measure(model, x, t, attacked)
    order = [2, 0, 3, 1]
    shuffled = _measure(model, x[order], t[order], attacked[order], [KEYS[i] for i in order])
    alone = _measure(model, x[1:2], t[1:2], attacked[1:2], KEYS[1:2])
    for name in ("adversarial", "original", "target", "reach_error"):
        assert torch.equal(getattr(shuffled, name), getattr(together, name)[order])
        assert torch.equal(getattr(alone, name)[0], getattr(together, name)[1])


def test_another_key_draws_other_noise(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    images = _images(linear)
    first, other = _measure(model, *images), _measure(model, *images, keys=[(1, *key[1:]) for key in KEYS])
    assert not (first.original == other.original).any()


@pytest.mark.parametrize("size", [1, 5, 13, 60])
def test_working_in_chunks_changes_nothing(linear: ModuleType, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    model = linear.linear_gaussian(slope=1.0)
    whole = _measure(model, *_images(linear))
    monkeypatch.setitem(batches._MOST_ELEMENTS, "cpu", size * 12)
    parts = _measure(model, *_images(linear))
    torch.testing.assert_close(parts.adversarial, whole.adversarial)
    torch.testing.assert_close(parts.reach_error, whole.reach_error)


def test_a_deterministic_code_is_decoded_once(linear: ModuleType) -> None:
    model = linear.linear_gaussian(deterministic=True)
    x, t, attacked = _images(linear)
    found = _measure(model, x, t, attacked)
    assert not found.reach_error.any()
    torch.testing.assert_close(found.original, (model.decode(model.encode(x)) - t).norm(dim=1))
    moved = model.decode(model.encode(attacked.flatten(0, 1))).view_as(attacked) - t[:, None]
    torch.testing.assert_close(found.adversarial, moved.norm(dim=2))


def test_the_mean_over_many_samples_approaches_the_expectation(linear: ModuleType) -> None:
    """E |r - t|^2 of a linear decoder is known; the mean of norms lies just below its root."""
    model = linear.linear_gaussian()
    x, t, attacked = _images(linear)
    found = _measure(model, x, t, attacked, samples=4000)
    centre = (model.decode(model.encode(x)[0]) - t).square().sum(1)
    spread = (model.decoder.square() @ model.log_variance.exp()).sum()
    assert bool((found.original < (centre + spread).sqrt()).all())
    torch.testing.assert_close(found.original, (centre + spread).sqrt(), rtol=0.1, atol=0)
    assert bool((found.original > centre.sqrt()).any())
