"""Every kind of data becomes the same images, with labels and positions, and bad data say what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from vaeaudit import AuditError, DataError
from vaeaudit.data import Images, load_images

N = 12
PIXELS = torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N) % 3


class Items(Dataset[Any]):
    """A Dataset that makes its items by a function of the position."""

    def __init__(self, make: Callable[[int], Any], size: int = N) -> None:
        self.make, self.size = make, size
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.make(index)


class Stream(IterableDataset[Any]):
    """Items without positions."""

    def __iter__(self) -> Iterator[Any]:
        return zip(PIXELS, LABELS, strict=True)


def _load(source: Any, **changes: Any) -> Images:
    settings: dict[str, Any] = {"bounds": (0.0, 1.0), "dtype": torch.float32, "limit": 100, "seed": 0}
    return load_images(source, **{**settings, **changes})


LABELLED: dict[str, Callable[[], Any]] = {
    "pair of tensors": lambda: (PIXELS, LABELS),
    "list of tensors": lambda: [PIXELS, LABELS],
    "pair of arrays": lambda: (PIXELS.numpy(), LABELS.numpy()),
    "labels in a list": lambda: (PIXELS, LABELS.tolist()),
    "labels in a column": lambda: (PIXELS, LABELS[:, None]),
    "labels as whole floats": lambda: (PIXELS, LABELS.double().numpy()),
    "TensorDataset": lambda: TensorDataset(PIXELS, LABELS),
    "Dataset": lambda: Items(lambda i: (PIXELS[i], int(LABELS[i]))),
    "Dataset of arrays": lambda: Items(lambda i: (PIXELS[i].numpy(), LABELS[i].numpy())),
    "Dataset of mappings": lambda: Items(lambda i: {"pixel_values": PIXELS[i], "label": int(LABELS[i]), "id": "x"}),
    "Dataset of three": lambda: Items(lambda i: (PIXELS[i], LABELS[i], "a file name")),
    "Subset": lambda: Subset(TensorDataset(PIXELS, LABELS), range(N)),
    "list of items": lambda: [(PIXELS[i], int(LABELS[i])) for i in range(N)],
    "DataLoader": lambda: DataLoader(TensorDataset(PIXELS, LABELS), batch_size=5),
    "DataLoader of mappings": lambda: DataLoader(
        Items(lambda i: {"image": PIXELS[i], "target": int(LABELS[i])}), batch_size=5
    ),
    "DataLoader of a stream": lambda: DataLoader(Stream(), batch_size=5),
}
UNLABELLED: dict[str, Callable[[], Any]] = {
    "tensor": lambda: PIXELS,
    "array": lambda: PIXELS.numpy(),
    "flipped array": lambda: PIXELS.numpy()[..., ::-1][..., ::-1],
    "read-only array": lambda: np.broadcast_to(PIXELS.numpy(), PIXELS.shape),
    "tensor with gradient": lambda: PIXELS.clone().requires_grad_(),
    "pair without labels": lambda: (PIXELS, None),
    "list of tensors": lambda: list(PIXELS),
    "Dataset of tensors": lambda: Items(lambda i: PIXELS[i]),
    "Dataset of 1-tuples": lambda: TensorDataset(PIXELS),
    "DataLoader of tensors": lambda: DataLoader(PIXELS, batch_size=5),  # type: ignore[arg-type]
    "captions": lambda: Items(lambda i: (PIXELS[i], "a cat")),
    "batches of captions": lambda: DataLoader(Items(lambda i: (PIXELS[i], "a cat")), batch_size=5),
    "many attributes": lambda: Items(lambda i: (PIXELS[i], torch.ones(40))),
    "batches of attributes": lambda: DataLoader(Items(lambda i: (PIXELS[i], torch.ones(40))), batch_size=5),
    "boxes": lambda: Items(lambda i: (PIXELS[i], {"boxes": [1, 2]})),
    "regression": lambda: Items(lambda i: (PIXELS[i], i / 7)),
}


@pytest.mark.parametrize("kind", LABELLED)
def test_images_and_labels_are_read_from(kind: str) -> None:
    images = _load(LABELLED[kind]())
    assert torch.equal(images.pixels, PIXELS)
    assert images.labels is not None
    assert images.labels.dtype == np.int64
    np.testing.assert_array_equal(images.labels, LABELS)
    np.testing.assert_array_equal(images.index, np.arange(N))


@pytest.mark.parametrize("kind", UNLABELLED)
def test_images_without_class_labels_are_read_from(kind: str) -> None:
    images = _load(UNLABELLED[kind]())
    assert torch.equal(images.pixels, PIXELS)
    assert not images.pixels.requires_grad
    assert images.labels is None
    assert len(images) == N


def test_a_pair_of_equal_images_shapes_is_two_images() -> None:
    images = _load((PIXELS[0], PIXELS[1]))
    assert torch.equal(images.pixels, PIXELS[:2])
    assert images.labels is None


@pytest.mark.parametrize("event", [(7,), (1, 32), (3, 5, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_of_any_shape_are_held_in_the_precision_wanted(event: tuple[int, ...], dtype: torch.dtype) -> None:
    images = _load(np.full((3, *event), 0.1, dtype=np.float64), dtype=dtype)
    assert images.pixels.shape == (3, *event)
    assert images.pixels.dtype == dtype


def test_whole_numbers_are_images_where_the_bounds_say_so() -> None:
    images = _load(torch.arange(8, dtype=torch.uint8).reshape(2, 4) * 36, bounds=(0, 255))
    assert images.pixels[1].tolist() == [144, 180, 216, 252]


@pytest.mark.parametrize("kind", ["pair of tensors", "TensorDataset", "Dataset"])
def test_a_seeded_subset_is_read_where_there_are_more_images_than_wanted(kind: str) -> None:
    subset = _load(LABELLED[kind](), limit=5)
    assert len(subset) == len(set(subset.index)) == 5
    assert list(subset.index) == sorted(subset.index)
    assert torch.equal(subset.pixels, PIXELS[subset.index])
    assert subset.labels is not None
    np.testing.assert_array_equal(subset.labels, LABELS[subset.index])
    np.testing.assert_array_equal(_load(LABELLED[kind](), limit=5).index, subset.index)
    assert any(list(_load(LABELLED[kind](), limit=5, seed=s).index) != list(subset.index) for s in (1, 2))


def test_only_the_subset_of_a_dataset_is_read() -> None:
    source = Items(lambda i: (PIXELS[i % N], i), size=10_000)
    images = _load(source, limit=4, include=[7777])
    assert len(source.read) == 4 + 16  # the sixteen that identify the data
    assert 7777 in images.index


@pytest.mark.parametrize("kind", ["pair of tensors", "TensorDataset", "Dataset", "DataLoader"])
def test_the_source_is_the_same_for_every_draw_and_another_for_other_images(kind: str) -> None:
    source = LABELLED[kind]
    first = _load(source(), limit=5)
    assert first.source == _load(source(), limit=5, seed=3).source
    assert first.source != _load((1 - PIXELS, LABELS), limit=5).source
    assert _load((PIXELS[:-1], LABELS[:-1]), limit=5).source != _load((PIXELS, LABELS), limit=5).source


@pytest.mark.parametrize("kind", LABELLED)
def test_positions_to_include_are_among_those_read(kind: str) -> None:
    images = _load(LABELLED[kind](), limit=3, include=[10, 2, 10])
    assert {2, 10} <= set(images.index.tolist())
    assert torch.equal(images.pixels, PIXELS[images.index])
    assert kind.startswith("DataLoader") or len(images) == 3


def test_more_positions_than_the_limit_are_all_included() -> None:
    assert list(_load(PIXELS, limit=2, include=[5, 1, 3]).index) == [1, 3, 5]


def test_the_first_batches_of_a_data_loader_are_read_and_no_more() -> None:
    source = Items(lambda i: (PIXELS[i], int(LABELS[i])))
    images = _load(DataLoader(source, batch_size=5), limit=7)
    assert source.read[:10] == list(range(10))
    assert len(source.read) <= 10 + 16  # and those that identify the data
    assert torch.equal(images.pixels, PIXELS[:7])
    assert images.labels is not None
    assert len(images.labels) == len(images.index) == 7


def test_a_shuffling_data_loader_gives_images_with_their_own_labels() -> None:
    marked = torch.arange(N).float()[:, None].expand(N, 4) / N
    loader = DataLoader(TensorDataset(marked, torch.arange(N)), batch_size=5, shuffle=True)
    images = _load(loader, limit=9)
    assert images.labels is not None
    np.testing.assert_allclose(images.pixels[:, 0] * N, images.labels, rtol=1e-6)
    np.testing.assert_array_equal(images.index, np.arange(9))


def test_a_shuffling_data_loader_has_no_positions_to_name() -> None:
    with pytest.raises(DataError, match=r"this DataLoader shuffles, so the positions.*shuffle=False"):
        _load(DataLoader(TensorDataset(PIXELS), shuffle=True), include=[3])


@pytest.mark.parametrize("change", ["pixel", "label", "shape"])
def test_the_fingerprint_of_data_changes_with(change: str) -> None:
    before = _load((PIXELS, LABELS)).fingerprint()
    assert _load(TensorDataset(PIXELS, LABELS)).fingerprint() == before
    pixels, labels = PIXELS.clone(), LABELS.clone()
    if change == "pixel":
        pixels[3, 0, 0, 0] /= 2
    elif change == "label":
        labels[3] += 1
    else:
        pixels = pixels.flatten(1)
    assert _load((pixels, labels)).fingerprint() != before


def _spoiled(value: float, rows: int = 1) -> Tensor:
    pixels = PIXELS.clone()
    pixels[:rows, 0, 1, 2] = value
    return pixels


BAD: dict[str, tuple[Any, str]] = {
    "empty tensor": (torch.empty(0, 1, 4, 4), r"the data are empty; an audit needs at least two"),
    "empty array": (np.empty((0, 3)), r"there are no images: the data are empty"),
    "empty list": ([], r"there are no images: the data are empty"),
    "empty Dataset": (Items(lambda i: i, size=0), r"there are no images: the data are empty"),
    "empty DataLoader": (DataLoader(TensorDataset(torch.empty(0, 3))), r"there are no images: the data are empty"),
    "no pixels": (torch.empty(5, 0), r"there are no images: the data are empty"),
    "one image": (PIXELS[:1], r"there is one image only; an audit needs an original and a target"),
    "one item": (Items(lambda i: PIXELS[i], size=1), r"there is one image only"),
    "numbers": (torch.rand(9), r"must have the shape \(n, \*event\), got \(9,\); add a batch dimension"),
    "NaN": (_spoiled(float("nan")), r"1 of 12 images hold NaN or infinite values; remove them"),
    "infinity": (_spoiled(-float("inf"), rows=3), r"3 of 12 images hold NaN or infinite values"),
    "8 bit": (PIXELS * 254 + 1, r"range over \[1\.\d+, 25\d\.?\d*\], outside the bounds \[0, 1\]; .*divide by 255"),
    "8-bit integers": ((PIXELS * 255).byte(), r"look like 8-bit pixels: divide by 255, or pass bounds=\(0, 255\)"),
    "-1 to 1": (_spoiled(-1.0), r"range over \[-1, 0\.9\d+\], outside.*scaled to \[-1, 1\]: pass bounds=\(-1, 1\)"),
    "standardised": (_spoiled(-2.1179), r"over \[-2.1179, .*they look standardised: pass bounds=\(\(low - mean\)"),
    "16 bit": (PIXELS * 60000, r"outside the bounds \[0, 1\]; scale them into the bounds, or pass the bounds"),
    "just outside": (_spoiled(1.00001), r"range over \[.*, 1.00001\], outside the bounds \[0, 1\]"),
    "complex": (torch.complex(PIXELS, PIXELS), r"images must be real numbers, got torch.complex64"),
    "text": (np.array([["a", "b"], ["c", "d"]]), r"images must be numbers, got an array of dtype <U1"),
    "PIL items": (
        Items(lambda i: (Image.new("L", (4, 4)), i)),
        r"item 0 of the Dataset is a Image, expected a tensor; give the Dataset transform=.*ToTensor\(\)",
    ),
    "uneven items": (
        Items(lambda i: PIXELS[i, :, : 4 - i % 2]),
        r"all images must have one shape, got \(1, 4, 4\) and \(1, 3, 4\)",
    ),
    "uneven batches": (
        DataLoader(Items(lambda i: PIXELS[i, :, : 4 - i // 6]), batch_size=6),
        r"all images must have one shape, got \(1, 4, 4\) and \(1, 3, 4\)",
    ),
    "unknown keys": (
        Items(lambda i: {"photo": PIXELS[i]}),
        r"the keys photo; expected one of image, images, pixel_val",
    ),
    "batches without images": (
        DataLoader(Items(lambda i: ["text", i]), batch_size=6),
        r"the DataLoader's batches must hold image tensors, got a tuple",
    ),
    "labels missing": (
        (PIXELS, LABELS[:5]),
        r"12 images, so expected as many whole numbers, got a Tensor of shape \(5,\)",
    ),
    "labels in thirds": ((PIXELS, LABELS / 3), r"expected as many whole numbers, got a Tensor of shape \(12,\)"),
    "labels one-hot": ((PIXELS, torch.eye(N)), r"read as \(images, labels\).*got a Tensor of shape \(12, 12\)"),
    "labels as names": ((PIXELS, ["cat"] * N), r"expected as many whole numbers, got a list of length 12"),
    "stream": (Stream(), r"an IterableDataset has no positions to draw from; pass a DataLoader of it"),
    "number": (3, r"must be a tensor, a numpy array, a pair \(images, labels\), a Dataset or a DataLoader, got a int"),
    "folder": ("images/", r"must be a tensor.*got a str"),
    "mapping": ({"images": PIXELS}, r"must be a tensor.*got a dict"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_say_what_is_wrong(kind: str) -> None:
    source, message = BAD[kind]
    with pytest.raises(DataError, match=message) as caught:
        _load(source)
    assert isinstance(caught.value, AuditError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("include", [[-1], [N], [0, 99]])
@pytest.mark.parametrize("limit", [3, 100])
def test_positions_that_do_not_exist_are_refused(include: list[int], limit: int) -> None:
    with pytest.raises(DataError, match=r"pairs name images .*, but there are images 0 to 11"):
        _load(PIXELS, include=include, limit=limit)


@pytest.mark.parametrize(
    ("value", "bounds"), [(1 + 5e-7, (0, 1)), (-1e30, (-np.inf, 1)), (1e30, (0, np.inf)), (-0.5, (-1, 1))]
)
def test_rounding_and_open_ends_are_within_bounds(value: float, bounds: tuple[float, float]) -> None:
    assert len(_load(_spoiled(value), bounds=bounds)) == N


def test_an_open_end_does_not_widen_the_other() -> None:
    with pytest.raises(DataError, match=r"outside the bounds \[0, inf\]"):
        _load(_spoiled(-1e-9), bounds=(0, np.inf))
