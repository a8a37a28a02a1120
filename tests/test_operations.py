"""Operations are counted by torch's formulas, two a multiply-add, whatever the way torch would take otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaeaudit.operations import counted_operations


def test_products_and_convolutions_count_two_operations_a_multiply_add() -> None:
    with counted_operations() as counting:
        nn.Linear(5, 7)(torch.ones(3, 5))
        nn.Conv2d(2, 4, 3)(torch.ones(1, 2, 6, 6))
    assert counting.operations == 2 * (3 * 5 * 7 + 4 * 4 * 4 * 2 * 9)


def test_attention_is_counted_though_evaluation_mode_would_fuse_it() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with counted_operations() as counting:
        layer(torch.ones(1, 4, 8))
    projections, scores, feed_forward = 4 * 4 * 8 * 8, 2 * 4 * 4 * 8, 2 * 4 * 8 * 16
    assert counting.operations == 2 * (projections + scores + feed_forward)


def test_layers_in_inference_mode_are_counted_by_their_parts() -> None:
    linear, recurrent = nn.Linear(5, 7), nn.LSTM(5, 4)
    with counted_operations() as counting, torch.inference_mode():
        linear(torch.ones(3, 5))
        recurrent(torch.ones(6, 2, 5))
    assert counting.operations == 2 * (3 * 5 * 7 + 6 * 2 * 4 * 4 * (5 + 4))


@pytest.mark.parametrize("fused", [False, True])
def test_torchs_choice_of_kernels_is_put_back(fused: bool) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(fused)
        with pytest.raises(RuntimeError, match="out of paper"), counted_operations():
            raise RuntimeError("out of paper")
        assert torch.backends.mha.get_fastpath_enabled() is fused
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
