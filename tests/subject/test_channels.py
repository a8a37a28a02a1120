"""Channels of a latent: which units belong to one, and how far it moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vaeaudit.channels import channel_deviations, channel_movement, counted_deviations
from vaeaudit.latent import Layout, Posterior


def _code(mean: Tensor, layout: Layout | None = None) -> Posterior:
    return Posterior(mean=mean, log_variance=None, layout=layout)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_channel_moves_by_the_root_mean_square_over_its_places() -> None:
    clean, shift = _draw(4, 3, 2, 5), torch.zeros(4, 3, 2, 5, dtype=torch.float64)
    shift[:, 0], shift[:, 1, 0, 0] = 2.0, 10.0  # everywhere; at one place of ten
    expected = torch.tensor([2.0, 10**0.5, 0.0], dtype=torch.float64).expand(4, 3)
    torch.testing.assert_close(channel_movement(_code(clean + shift), _code(clean)), expected)


def test_each_unit_of_a_vector_is_a_channel_and_so_is_a_latent_of_one_number() -> None:
    clean, shift = _draw(4, 3), torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(channel_movement(_code(clean + shift), _code(clean)), shift.abs().expand(4, 3))
    numbers = channel_movement(_code(clean[:, 0] + 3), _code(clean[:, 0]))
    torch.testing.assert_close(numbers, torch.full((4, 1), 3.0, dtype=torch.float64))


def test_groups_are_counted_one_after_the_other() -> None:
    grid, vector = _draw(6, 2, 3, 3), _draw(6, 4, seed=1)
    layout = Layout(shapes=((2, 3, 3), (4,)))
    clean, moved = (_code(layout.joined([grid * scale, vector * scale]), layout) for scale in (1.0, 3.0))
    apart = [channel_movement(_code(3 * part), _code(part)) for part in (grid, vector)]
    torch.testing.assert_close(channel_movement(moved, clean), torch.cat(apart, 1))
    deviations = [channel_deviations(_code(part)) for part in (grid, vector)]
    torch.testing.assert_close(channel_deviations(clean), torch.cat(deviations))


def test_no_deviation_counts_as_less_than_a_thousandth_of_the_largest() -> None:
    assert counted_deviations([2.0, 0.0, 0.0019, 0.0021]) == pytest.approx((2.0, 0.002, 0.002, 0.0021))
    assert counted_deviations([0.0, 0.0]) == (0.0, 0.0)
