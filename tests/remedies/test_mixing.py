"""A mixing is one convex combination for a whole batch, and its weight is Beta distributed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from vaeaudit.remedies.mixing import Mixing, draw_mixing

VALUES = torch.arange(24, dtype=torch.float64).view(4, 2, 3)


def test_each_row_is_mixed_with_its_partner() -> None:
    mixing = Mixing(permutation=torch.tensor([2, 0, 3, 1]), weight=torch.tensor(0.25, dtype=torch.float64))
    for row, partner in enumerate((2, 0, 3, 1)):
        assert torch.allclose(mixing(VALUES)[row], 0.25 * VALUES[row] + 0.75 * VALUES[partner])


@pytest.mark.parametrize(("weight", "expected"), [(1.0, [0, 1, 2, 3]), (0.0, [2, 0, 3, 1])])
def test_at_the_ends_of_the_weight_rows_come_back_exactly(weight: float, expected: list[int]) -> None:
    values = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    mixing = Mixing(permutation=torch.tensor([2, 0, 3, 1]), weight=torch.tensor(weight))
    assert torch.equal(mixing(values), values[expected])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_mixing_keeps_the_dtype_of_what_it_mixes(dtype: torch.dtype) -> None:
    assert draw_mixing(VALUES.to(dtype), 0.5)(VALUES.to(dtype)).dtype == dtype


def drawn(concentration: float, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(5)
    mixings = [draw_mixing(VALUES, concentration, generator) for _ in range(count)]
    return np.array([float(m.weight) for m in mixings]), np.stack([m.permutation.numpy() for m in mixings])


@pytest.mark.parametrize("concentration", [0.05, 0.5, 1.0, 7.0])
def test_weights_follow_the_beta_distribution(concentration: float) -> None:
    weights, _ = drawn(concentration)
    law = scipy.stats.beta(concentration, concentration)
    # the half below: close to 1 a double is too coarse for what Beta(0.05, 0.05) holds there
    below = weights[weights < 0.5]
    assert abs(len(below) - len(weights) / 2) < 4 * len(weights) ** 0.5 / 2
    assert scipy.stats.kstest(below, lambda weight: 2 * law.cdf(weight)).pvalue > 1e-3


def test_a_tiny_concentration_gives_one_of_the_ends_and_never_nan() -> None:
    weights, _ = drawn(1e-6)
    assert set(np.round(weights, 12)) == {0.0, 1.0}
    assert abs(weights.mean() - 0.5) < 4 * 0.5 / len(weights) ** 0.5


def test_permutations_are_uniform() -> None:
    _, permutations = drawn(0.5)
    _, counts = np.unique(permutations, axis=0, return_counts=True)
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
