"""Scores: known values on chosen spectra, scaling laws, and what collapsed units must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vaeaudit.geometry import scores


def _spectra(seed: int = 0, batch: int = 5, r: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, r, generator=generator, dtype=torch.float64).sort(1, descending=True).values * 10


@pytest.mark.parametrize("r", [1, 2, 20])
@pytest.mark.parametrize("size", [1e-6, 1.0, 300.0])
def test_a_flat_spectrum_of_r_directions_has_entropy_ln_r(r: int, size: float) -> None:
    flat = torch.full((3, r), size, dtype=torch.float64)
    assert scores.von_neumann_entropy(flat).tolist() == pytest.approx([math.log(r)] * 3, abs=1e-12)
    assert scores.effective_rank(flat).tolist() == pytest.approx([r] * 3)


def test_zero_eigenvalues_add_nothing_to_entropy_rank_or_trace() -> None:
    spectrum = _spectra()
    padded = torch.cat([spectrum, torch.zeros(5, 4, dtype=torch.float64)], 1)
    for score in (scores.von_neumann_entropy, scores.effective_rank, scores.trace, scores.spectral_radius):
        torch.testing.assert_close(score(padded), score(spectrum))


def test_a_single_direction_has_no_entropy() -> None:
    spectrum = torch.tensor([[3.0, 0.0, 0.0]], dtype=torch.float64)
    assert float(scores.von_neumann_entropy(spectrum)) == 0
    assert float(scores.effective_rank(spectrum)) == 1


def test_scores_are_their_formulas_written_out() -> None:
    spectrum = _spectra()
    for row, values in enumerate(spectrum.numpy()):
        p = values / values.sum()
        s = values / values.max()
        assert float(scores.spectral_radius(spectrum)[row]) == values.max()
        assert float(scores.trace(spectrum)[row]) == pytest.approx(values.sum())
        assert float(scores.von_neumann_entropy(spectrum)[row]) == pytest.approx(-sum(q * math.log(q) for q in p))
        assert float(scores.entropy_khan2022(spectrum)[row]) == pytest.approx(
            -sum(q * math.log(q + 1e-10) for q in s)
        )  # fmt: skip
        clear = torch.full_like(spectrum, 1e-9)
        assert float(scores.log_pseudo_determinant(spectrum, clear)[row]) == pytest.approx(np.log(values).sum())


@pytest.mark.parametrize("factor", [1e-3, 7.0])
def test_scores_scale_as_their_formulas_say(factor: float) -> None:
    spectrum, bar = _spectra(), torch.full((5, 7), 1e-12, dtype=torch.float64)
    scaled = factor * spectrum
    torch.testing.assert_close(scores.spectral_radius(scaled), factor * scores.spectral_radius(spectrum))
    torch.testing.assert_close(scores.trace(scaled), factor * scores.trace(spectrum))
    for score in (scores.von_neumann_entropy, scores.effective_rank, scores.entropy_khan2022):
        torch.testing.assert_close(score(scaled), score(spectrum))
    shift = scores.log_pseudo_determinant(scaled, bar) - scores.log_pseudo_determinant(spectrum, bar)
    torch.testing.assert_close(shift, torch.full_like(shift, 7 * math.log(factor)))


def test_entropy_lies_between_zero_and_ln_r_and_grows_as_a_spectrum_flattens() -> None:
    spectrum = _spectra()
    entropies = torch.stack([scores.von_neumann_entropy(spectrum**power) for power in (4, 2, 1, 0.5, 0.1, 0)])
    assert bool((entropies.diff(dim=0) > 0).all())
    assert bool((entropies > 0).all())
    assert bool((entropies <= math.log(7) + 1e-12).all())


def test_the_pseudo_determinant_leaves_out_what_is_rounding_noise() -> None:
    spectrum = torch.tensor([[4.0, 2.0, 1e-9, 0.0]], dtype=torch.float64)
    error = torch.full_like(spectrum, 1e-7)
    assert float(scores.log_pseudo_determinant(spectrum, error)) == pytest.approx(math.log(8))


def _factor(singular: list[float], n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    k = len(singular)
    left, right = (
        torch.linalg.qr(torch.randn(m, m, generator=generator, dtype=torch.float64))[0] for m in (k, n)
    )  # fmt: skip
    return (left @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ right[:k])[None]


@pytest.mark.parametrize("singular", [[5.0, 2.0, 0.5], [1.0, 1.0], [3.0, 3e-5]])
def test_the_condition_number_is_the_ratio_of_chosen_singular_values(singular: list[float]) -> None:
    tall, wide = _factor(singular, 10).mT, _factor(singular, 10)
    known = singular[0] / singular[-1]
    for factor in (tall, wide):
        assert float(scores.condition_number(factor, len(singular))) == pytest.approx(known, rel=1e-6)


def test_the_condition_number_ignores_scale_and_is_at_least_one() -> None:
    factor = _factor([5.0, 2.0, 0.5], 10)
    assert float(scores.condition_number(1e-4 * factor, 3)) == pytest.approx(10)
    assert float(scores.condition_number(_factor([2.0, 2.0, 2.0], 5), 3)) == pytest.approx(1)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_a_collapsed_unit_does_not_explode_the_condition_number_of_the_active_ones(noise: float) -> None:
    alive = _factor([5.0, 2.0, 0.5], 10)
    dead = torch.full((1, 2, 10), noise, dtype=torch.float64)
    everything = torch.cat([alive[:, :2], dead, alive[:, 2:]], 1)
    active = scores.active_units(torch.tensor([0.9, 0.3, 1e-6, 0.01, 0.02]))
    assert active.tolist() == [True, True, False, False, True]  # exactly 0.01 does not exceed the bar
    assert float(scores.condition_number(everything[:, active], int(active.sum()))) == pytest.approx(10)
    assert float(scores.condition_number(everything, 5)) > 1e6


def test_a_rank_below_the_number_of_units_looks_at_that_many_values_only() -> None:
    factor = _factor([5.0, 2.0, 1e-12], 10)
    assert float(scores.condition_number(factor, 2)) == pytest.approx(2.5)
    assert float(scores.condition_number(factor, 99)) > 1e6
