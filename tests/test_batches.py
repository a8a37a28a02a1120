"""Micro-batches: a row's result depends on nothing but the row."""

from __future__ import annotations

import pytest
import torch

from vaeaudit import zoo
from vaeaudit.batches import in_batches, micro_batched, rows_at_once


@pytest.fixture(scope="module")
def encode():
    model = zoo.load_model("mnist-vae")
    return lambda images: model.encode(images)[0]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return zoo.images("mnist-vae")[0]


def test_results_come_back_in_order_and_number(images: torch.Tensor) -> None:
    for count in (1, 63, 64, 65, 200):
        assert torch.equal(in_batches(lambda x: 2 * x, images[:count]), 2 * images[:count])


@pytest.mark.parametrize("count", [1, 3, 64, 130])
def test_a_row_is_the_same_to_the_last_bit_alone_and_in_company(encode, images: torch.Tensor, count: int) -> None:
    together = in_batches(encode, images)
    assert torch.equal(in_batches(encode, images[:count]), together[:count])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    assert torch.equal(in_batches(encode, images[order]), together[order])


def test_the_function_sees_one_size_only(images: torch.Tensor) -> None:
    seen = set()
    in_batches(lambda x: (seen.add(len(x)), x)[1], images)
    assert seen == {rows_at_once(784, images.device)}


def test_several_arguments_and_results_stay_together(images: torch.Tensor) -> None:
    index = torch.arange(len(images))
    total, same = micro_batched(lambda x, i: (x.flatten(1).sum(1) + i, i), images, index)
    torch.testing.assert_close(total, images.flatten(1).sum(1) + index)
    assert torch.equal(same, index)


def test_large_inputs_come_in_fewer_rows() -> None:
    cpu = torch.device("cpu")
    assert rows_at_once(784, cpu) == 64
    assert rows_at_once(3 * 64 * 64, cpu) == 5
    assert rows_at_once(10**9, cpu) == 1
