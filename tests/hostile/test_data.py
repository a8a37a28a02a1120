"""Images and labels of any kind either become what an audit can use, or are refused with a reason."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset

from vaeaudit import AuditError, DataError, OptionError, plan
from vaeaudit.data import load_images
from vaeaudit.data.positions import drawn_positions

fuzzed = settings(max_examples=150, deadline=None, derandomize=True, phases=[Phase.generate])
DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.float8_e4m3fn,
]  # fmt: skip
BOUNDS = [
    (0.0, 1.0),
    (-1.0, 1.0),
    (0.0, 255.0),
    (-math.inf, math.inf),
    (0.0, math.inf),
    (-1e-30, 1e-30),
    (-1e38, 1e308),
]
VALUES = [0.0, 1.0, 0.5, -1.0, 255.0, 1e30, 1e300, math.nan, math.inf, -math.inf]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any shape, type, layout and place."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    flat = torch.tensor(list(itertools.islice(itertools.cycle(values), math.prod(shape))), dtype=torch.float64)
    made = flat.reshape(shape)
    made = (
        made.to(dtype)
        if dtype.is_floating_point or dtype.is_complex
        else made.nan_to_num(0, 9, 0).clamp(0, 99).to(dtype)
    )
    kind = draw(st.sampled_from(["plain", "plain", "plain", "expanded", "gradient", "meta", "sparse", "flipped"]))
    if kind == "expanded":
        return made[None].expand(draw(st.sampled_from([3, 10**12])), *made.shape)
    if kind == "gradient" and dtype in (torch.float32, torch.float64):
        return made.requires_grad_()
    if kind == "meta":
        return made.to("meta")
    if kind == "sparse" and dtype in (torch.float32, torch.float64) and made.ndim:
        return made.to_sparse()
    return made.transpose(0, -1) if kind == "flipped" and made.ndim else made


def check_message(error: AuditError, fewest: int, most: int) -> None:
    """An error's message says something, and not everything."""
    assert fewest < len(str(error)) < most


class Odd(Dataset[Any]):
    """A Dataset of whatever it is given."""

    def __init__(self, items: list[Any], size: Any) -> None:
        self.items, self.size = items, size

    def __len__(self) -> Any:
        return len(self.items) if self.size is None else self.size

    def __getitem__(self, index: int) -> Any:
        return self.items[index % len(self.items)]


def odd_items() -> st.SearchStrategy[Any]:
    """Items of a Dataset."""
    labels = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.none(), tensors())
    pictures = st.one_of(tensors(), tensors().map(_numpy), st.none(), st.just("picture"))
    return st.one_of(
        pictures, st.just(()), st.tuples(pictures, labels), st.lists(pictures, max_size=3),
        st.dictionaries(st.sampled_from(["image", "label", "photo", 3]), pictures, max_size=2),
    )  # fmt: skip


def _numpy(tensor: torch.Tensor) -> Any:
    odd = tensor.is_meta or tensor.layout != torch.strided or tensor.dtype in (torch.bfloat16, torch.float8_e4m3fn)
    return [1, 2] if odd else tensor.detach().numpy()


def sources() -> st.SearchStrategy[Any]:
    """What a user may pass as images."""
    sizes = st.one_of(st.none(), st.sampled_from([0, 1, 10**15, -1, 2**70, "many"]))
    return st.one_of(
        tensors(), tensors().map(_numpy), st.tuples(tensors(), tensors()), st.tuples(tensors(), st.lists(st.integers())),
        st.lists(odd_items(), max_size=3), st.builds(Odd, st.lists(odd_items(), min_size=1, max_size=3), sizes),
        st.none(), st.text(max_size=3), st.integers(), st.binary(max_size=3), st.just({"image": 1}), st.just(iter(())),
    )  # fmt: skip


@settings(fuzzed, max_examples=400)
@given(source=sources(), bounds=st.sampled_from(BOUNDS), limit=st.sampled_from([1, 2, 50, 10**18]))
def test_any_data_become_images_or_are_refused(source: Any, bounds: tuple[float, float], limit: int) -> None:
    try:
        images = load_images(source, bounds=bounds, dtype=torch.float32, limit=limit, seed=0)
    except DataError as error:
        check_message(error, 10, 1000)
        return
    assert images.pixels.dtype == torch.float32
    assert images.pixels.isfinite().all()
    assert 2 <= len(images) == len(images.index)
    assert images.labels is None or images.labels.shape == (len(images),)
    low, high = bounds
    slack = 1e-6 * max(abs(low), abs(high))
    assert low - slack <= float(images.pixels.min()) <= float(images.pixels.max()) <= high + slack


@fuzzed
@given(
    size=st.integers(1, 60), limit=st.integers(1, 70), seed=st.integers(0, 9),
    include=st.lists(st.integers(0, 59), max_size=8),
)  # fmt: skip
def test_positions_are_drawn_without_listing_them_all(size: int, limit: int, seed: int, include: list[int]) -> None:
    include = [i for i in include if i < size]
    drawn = drawn_positions(size, limit, include, seed)
    if size <= limit:
        listed = np.arange(size)
    else:
        wanted = np.unique(np.array(include, dtype=np.int64))
        others = np.setdiff1d(np.arange(size), wanted)
        extra = np.random.default_rng([seed, size]).choice(others, max(limit - len(wanted), 0), replace=False)
        listed = np.sort(np.concatenate([wanted, extra]))
    np.testing.assert_array_equal(drawn, listed)


class Endless(IterableDataset[Any]):
    """Images without end; or nothing, without end."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.read = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            self.read += 1
            yield torch.full((self.rows, 784), 0.5)


def _loaded(source: Any, limit: int = 256, **options: Any) -> Any:
    return load_images(source, bounds=(0, 1), dtype=torch.float32, limit=limit, seed=0, **options)


def test_an_endless_loader_is_read_as_far_as_is_needed() -> None:
    stream = Endless(rows=8)
    assert len(_loaded(DataLoader(stream, batch_size=None))) == 256
    assert stream.read <= 33


def test_an_endless_loader_is_not_read_for_more_than_memory_holds() -> None:
    stream = Endless(rows=8)
    with pytest.raises(DataError, match=r"1,000,000,000,000 images of 784 numbers take 3,136,000,000,000,000 bytes"):
        _loaded(DataLoader(stream, batch_size=None), limit=10**12)
    with pytest.raises(DataError, match=r"1,000,000,000,001 images of 784 numbers take"):
        _loaded(DataLoader(stream, batch_size=None), include=[10**12])
    assert stream.read <= 2


def test_a_loader_without_images_ends() -> None:
    with pytest.raises(DataError, match="the DataLoader gave 0 images and then 1000 batches without any"):
        _loaded(DataLoader(Endless(rows=0), batch_size=None))


HUGE = {
    "expanded tensor": torch.rand(1, 784).expand(10**12, 784),
    "broadcast array": np.broadcast_to(np.random.default_rng(0).random((1, 784)), (10**12, 784)),
    "Dataset": Odd([torch.rand(784)], 10**12),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_few_of_a_trillion_images_are_read_and_no_more(kind: str) -> None:
    images = _loaded(HUGE[kind], include=[10**12 - 1, 7])
    assert len(images) == len(set(images.index)) == 256
    assert {7, 10**12 - 1} <= set(images.index)


@pytest.mark.parametrize("kind", HUGE)
def test_a_trillion_images_are_not_read_at_once(kind: str) -> None:
    with pytest.raises(DataError, match=r"images of .* numbers take .* bytes, and this machine has"):
        _loaded(HUGE[kind], limit=10**12)


def test_labels_of_a_trillion_images_are_looked_at_where_they_are_needed() -> None:
    labels = np.broadcast_to(np.array([3]), (10**12,))
    assert _loaded((HUGE["broadcast array"], labels)).labels.tolist() == [3] * 256


def test_masked_entries_are_not_taken_for_pixels() -> None:
    pixels = np.ma.masked_greater(np.random.default_rng(0).random((9, 4)), 0.9)
    with pytest.raises(DataError, match="images must not have masked entries"):
        _loaded(pixels)
    assert len(_loaded(np.ma.masked_greater(np.full((9, 4), 0.5), 0.9))) == 9


def _ae() -> Any:
    weights = torch.nn.Linear(4, 2)
    return weights, torch.nn.Linear(2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 10**12}, "pairs asks for 1000000000000, and an audit takes at most 1,000,000"),
        ({"pairs": 10**5000}, "pairs asks for .*, and an audit takes at most"),
        ({"pairs": np.broadcast_to(np.array([[0, 1]]), (10**12, 2))}, "pairs asks for 1000000000000"),
        ({"most_pairs": 10**12}, "most_pairs asks for 1000000000000"),
        ({"strengths": 10**9}, "strengths asks for 1000000000, and an audit takes at most 10,000"),
        ({"strengths": range(10**9)}, "strengths asks for 1000000000"),
        ({"strengths": torch.ones(1).expand(10**9)}, "strengths asks for 1000000000"),
        ({"seed": 10**5000}, "seed expects an integer"),
        ({"seed": math.nan}, "seed expects an integer"),
    ],
    ids=lambda value: str(value)[:30] if not isinstance(value, dict) else "-".join(value),
)
def test_absurd_extents_are_refused_before_anything_is_loaded(options: Any, message: str) -> None:
    from vaeaudit import Autoencoder

    class Untouched(Dataset[Any]):
        def __len__(self) -> int:
            raise AssertionError("read")

    with pytest.raises(OptionError, match=message) as caught:
        plan(Autoencoder(*_ae()), Untouched(), **options)
    assert isinstance(caught.value, AuditError)
    assert len(str(caught.value)) < 300
