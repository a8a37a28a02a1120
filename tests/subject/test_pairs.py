"""Pairs of an original and a target: drawn by seed, or given as positions in the user's data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeaudit import DataError
from vaeaudit.data import Images, load_images
from vaeaudit.pairs import draw_pairs, positions_named


def _images(n: int = 12, labels: list[int] | None = None, index: list[int] | None = None) -> Images:
    return Images(
        pixels=torch.zeros(n, 2),
        labels=None if labels is None else np.array(labels),
        index=np.array(index) if index is not None else np.arange(n),
    )


@st.composite
def _drawable(draw: st.DrawFn) -> tuple[Images, int, int]:
    n = draw(st.integers(2, 30))
    labels = draw(
        st.none() | st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(lambda drawn: len(set(drawn)) > 1)
    )
    return _images(n, labels), draw(st.integers(1, n)), draw(st.integers(0, 2**63 - 1))


@given(_drawable())
@settings(deadline=None, max_examples=150)
def test_drawn_pairs_join_different_images_of_different_labels(case: tuple[Images, int, int]) -> None:
    images, count, seed = case
    pairs = draw_pairs(images, count, default=3, seed=seed)
    originals, targets = pairs.T
    assert pairs.shape == (count, 2)
    assert pairs.dtype == np.int64
    assert len(set(originals)) == count
    assert (originals != targets).all()
    assert ((pairs >= 0) & (pairs < len(images))).all()
    assert images.labels is None or (images.labels[originals] != images.labels[targets]).all()


def test_the_same_seed_draws_the_same_pairs_and_another_others() -> None:
    first = draw_pairs(_images(), 8, default=3, seed=4)
    np.testing.assert_array_equal(draw_pairs(_images(), 8, default=3, seed=4), first)
    assert (draw_pairs(_images(), 8, default=3, seed=5) != first).any()


def test_every_image_can_be_original_and_target() -> None:
    pairs = np.concatenate([draw_pairs(_images(4), 2, default=2, seed=s) for s in range(60)])
    assert {tuple(p) for p in pairs} == {(i, j) for i in range(4) for j in range(4) if i != j}


@pytest.mark.parametrize(("default", "expected"), [(5, 5), (50, 12)])
def test_without_a_number_the_presets_is_taken_as_far_as_the_images_go(default: int, expected: int) -> None:
    assert len(draw_pairs(_images(), None, default=default, seed=0)) == expected


@pytest.mark.parametrize("count", [13, 0, -1, np.int64(99)])
def test_more_pairs_than_images_are_refused(count: Any) -> None:
    with pytest.raises(DataError, match=rf"pairs={count} cannot be drawn: 12 images allow 1 to 12 pairs.*more images"):
        draw_pairs(_images(), count, default=3, seed=0)


@pytest.mark.parametrize("pairs", [3, None])
def test_one_class_only_allows_no_targets(pairs: Any) -> None:
    with pytest.raises(
        DataError, match=r"all 12 images have the label 7; a target must differ in label: pass images of"
    ):
        draw_pairs(_images(labels=[7] * 12), pairs, default=3, seed=0)


@pytest.mark.parametrize("given_as", [list, tuple, np.array, torch.tensor])
def test_given_pairs_are_positions_in_the_users_data(given_as: Any) -> None:
    pairs = given_as([[40, 7], [7, 40], [12, 7]])
    rows = draw_pairs(_images(3, index=[7, 12, 40]), pairs, default=3, seed=0)
    assert rows.tolist() == [[2, 0], [0, 2], [1, 0]]
    assert positions_named(pairs) == [40, 7, 7, 40, 12, 7]


def test_given_pairs_are_read_even_when_only_a_subset_is() -> None:
    marked = torch.arange(500.0)[:, None].expand(500, 2) / 500
    pairs = [(499, 3), (3, 250)]
    data = load_images(marked, bounds=(0, 1), dtype=torch.float32, limit=10, include=positions_named(pairs), seed=0)
    rows = draw_pairs(data, pairs, default=3, seed=0)
    assert len(data) == 10
    np.testing.assert_allclose(data.pixels[rows][..., 0] * 500, pairs, rtol=1e-6)


def test_given_pairs_may_share_a_label() -> None:
    assert draw_pairs(_images(labels=[1] * 12), [(0, 1)], default=3, seed=0).tolist() == [[0, 1]]


@pytest.mark.parametrize("pairs", [None, 5, np.int64(5)])
def test_pairs_to_be_drawn_name_no_positions(pairs: Any) -> None:
    assert positions_named(pairs) == []


@pytest.mark.parametrize(
    "pairs", [2.5, True, "all", [], [1, 2], [(1, 2, 3)], [(0.5, 1.0)], [(1, 2), (3,)], [("a", "b")], {}]
)
def test_what_is_neither_number_nor_pairs_is_refused(pairs: Any) -> None:
    message = r"pairs expects a number or a list of \(original, target\) indices, got "
    with pytest.raises(DataError, match=message):
        draw_pairs(_images(), pairs, default=3, seed=0)
    with pytest.raises(DataError, match=message):
        positions_named(pairs)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 12)], r"pairs name image 12, but there are images 0 to 11"),
        ([(-1, 2)], r"pairs name image -1, but there are images 0 to 11"),
        ([(0, 1), (4, 4)], r"pair 1 has one image as original and target"),
    ],
)
def test_impossible_pairs_are_refused(pairs: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw_pairs(_images(), pairs, default=3, seed=0)
