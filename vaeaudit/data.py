"""The user's data as one tensor of images with labels, and pairs drawn from it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from vaeaudit.errors import DataError
from vaeaudit.memory import machine_bytes

Integers = NDArray[np.int64]
Array = Tensor | NDArray[Any]
_IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "input", "data")
_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_SAMPLED = 16
_NUMBERS_A_POSITION = 16
"""That drawing one takes."""
_HALF = 16
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""Kinds of as many bytes as those that torch 2.5 cannot pick rows of."""
_MOST_EMPTY = 1000
"""Batches without an image that a DataLoader may give in a row."""
_LABEL_KEYS = ("label", "labels", "target", "targets", "y")


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images to audit.

    Attributes:
        pixels: `(n, *event)`, on the CPU.
        labels: `(n,)`, or None.
        index: position of each image in the user's data, `(n,)`.
        source: SHA-256 of how many images there are and of some that lie evenly among them, whatever the seed;
            of an IterableDataset, of its first ones.
    """

    pixels: Tensor
    labels: Integers | None
    index: Integers
    source: str = ""

    def __len__(self) -> int:
        return len(self.pixels)

    def fingerprint(self) -> str:
        """SHA-256 of the images and labels."""
        digest = hashlib.sha256(f"{tuple(self.pixels.shape)}{self.pixels.dtype}".encode())
        digest.update(self.pixels.contiguous().numpy().tobytes())
        digest.update(b"" if self.labels is None else self.labels.tobytes())
        return digest.hexdigest()

    def fingerprint_of(self, row: int) -> str:
        """SHA-256 of one image and its position in the user's data."""
        pixels = self.pixels[row]
        digest = hashlib.sha256(f"{self.index[row]}{tuple(pixels.shape)}{pixels.dtype}".encode())
        digest.update(pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_images(
    source: Any,
    *,
    bounds: tuple[float, float],
    dtype: torch.dtype,
    limit: int,
    include: Sequence[int] = (),
    seed: int,
) -> Images:
    """Read up to `limit` images from whatever the user has.

    Args:
        source: a tensor or array `(n, *event)`, alone or in a pair `(images, labels)`; a Dataset;
            a DataLoader (its first batches are read).
        bounds: lower and upper end of valid inputs.
        dtype: precision to hold them in.
        limit: most images to hold; a tensor's, array's or Dataset's are drawn at random, seeded.
        include: positions that must be among them.
        seed: seed of that draw.

    Raises:
        DataError: empty, not numeric, not finite, outside the bounds, or of uneven shapes.
    """
    read, labels, index = _read(source, limit, include, seed)
    pixels = read.to(dtype=dtype)
    _check(pixels, bounds)
    return Images(pixels=pixels, labels=labels, index=index, source=_fingerprint_of_source(source, read))


def _read(source: Any, limit: int, include: Sequence[int], seed: int) -> tuple[Tensor, Integers | None, Integers]:
    if isinstance(source, DataLoader):
        return _first(source, limit, include)
    whole = _whole(source)
    if whole is not None:
        images, second = whole
        _check_room(min(len(images), limit), math.prod(images.shape[1:]))
        index = _draw(len(images), limit, include, seed)
        labels = None if second is None else _labels_of(images, second, index)
        return _tensor(_rows(images, index)), labels, index
    if isinstance(source, IterableDataset):
        raise DataError("an IterableDataset has no positions to draw from; pass a DataLoader of it")
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, (str, bytes, Mapping)):
        index = _draw(_size(source), limit, include, seed)
        return *_stack((_item(source, int(i)) for i in index), len(index)), index
    raise DataError(
        "images must be a tensor, a numpy array, a pair (images, labels), a Dataset or a DataLoader, "
        f"got a {type(source).__name__}"
    )


def _whole(source: Any) -> tuple[Array, Any] | None:
    """Images, and labels if there are any, that are in memory already; as they came."""
    if isinstance(source, (Tensor, np.ndarray)):
        return _dense(source), None
    if not isinstance(source, (tuple, list)) or len(source) != 2 or not isinstance(source[0], (Tensor, np.ndarray)):
        return None
    if source[1] is not None and tuple(getattr(source[1], "shape", ())) == tuple(source[0].shape):
        return None
    return _dense(source[0]), source[1]


def _dense(images: Array) -> Array:
    """Images that have rows: a single number is one row."""
    if isinstance(images, Tensor) and (images.layout != torch.strided or images.is_quantized or images.is_nested):
        kind = "quantised" if images.is_quantized else "nested" if images.is_nested else str(images.layout)
        raise DataError(f"images must be a dense tensor, got a {kind} one; pass images.to_dense(), or dequantised")
    return images if images.ndim else images[None]


def _rows(images: Array, index: Integers) -> Array:
    """Some of the images; no others are copied or converted."""
    if not isinstance(images, Tensor):
        return images[index]
    places = torch.from_numpy(index).to(images.device)
    if images.dtype in _SIGNED:
        return images.view(_SIGNED[images.dtype])[places].view(images.dtype)
    return images[places]


def _labels_of(images: Array, value: Any, index: Integers) -> Integers:
    labels = _labels(value, len(images), index)
    if labels is None:
        raise DataError(
            f"a pair is read as (images, labels): there are {len(images)} images, so expected as many whole numbers, "
            f"got a {type(value).__name__}{_extent(value)}"
        )
    return labels.numpy()


def _size(source: Any) -> int:
    try:
        return len(source)
    except Exception as error:
        raise DataError(
            f"the {type(source).__name__} does not say how many images it has: {type(error).__name__}: {error}"
        ) from error


def _check_room(count: int, numbers: int) -> None:
    """Refuse what cannot be held, before any of it is read.

    Raises:
        DataError: with the figures.
    """
    needed, there = count * max(numbers, 1) * 4, machine_bytes()
    if needed > there:
        raise DataError(
            f"{count:,} images of {numbers:,} numbers take {needed:,} bytes, and this machine has {there:,}; "
            "audit fewer pairs, or pairs at lower positions"
        )


def _fingerprint_of_source(source: Any, pixels: Tensor) -> str:
    """What identifies the data before anything is drawn from them."""
    if isinstance(source, DataLoader) and hasattr(source.dataset, "__len__"):
        source = source.dataset  # whose order no shuffling changes
    whole = _whole(source)
    if whole is not None:
        size = len(whole[0])
        some = _tensor(_rows(whole[0], _evenly(size)))
    elif isinstance(source, DataLoader):
        size, some = len(pixels), pixels[:_SAMPLED]
    else:
        size = _size(source)
        some = _stack((_item(source, int(i)) for i in _evenly(size)), _SAMPLED)[0]
    digest = hashlib.sha256(f"{size}{tuple(some.shape)}{some.dtype}".encode())
    digest.update(some.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _evenly(size: int) -> Integers:
    return np.unique(np.linspace(0, size - 1, min(size, _SAMPLED)).round().astype(np.int64))


def _extent(value: Any) -> str:
    if hasattr(value, "shape"):
        return f" of shape {tuple(value.shape)}"
    return f" of length {len(value)}" if hasattr(value, "__len__") else ""


def _labels(value: Any, count: int, index: Integers | None = None) -> Tensor | None:
    """Whole numbers, one an image; anything else (captions, boxes, several attributes) is no label.

    Args:
        value: the labels.
        count: images they belong to.
        index: those that are wanted; None wants all.
    """
    wanted = np.arange(count) if index is None else index
    try:
        if isinstance(value, np.ndarray):  # rows first: torch would rather have a copy of its own
            labels = torch.as_tensor(value.reshape(count)[wanted])
        else:
            everything = torch.as_tensor(value).detach().reshape(count)
            labels = everything[torch.from_numpy(wanted).to(everything.device)].cpu()
        if labels.is_complex() or (labels.is_floating_point() and bool((labels.double() % 1 != 0).any())):
            return None
        return labels.long()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _draw(size: int, limit: int, include: Sequence[int], seed: int) -> Integers:
    """A sorted random subset of positions that holds `include`."""
    wanted = np.unique(np.asarray(include, dtype=np.int64))
    if size and len(wanted) and (wanted[0] < 0 or wanted[-1] >= size):
        raise DataError(f"pairs name images {wanted[0]} to {wanted[-1]}, but there are images 0 to {size - 1}")
    _check_room(min(size, limit), _NUMBERS_A_POSITION)
    if size <= limit:
        return np.arange(size)
    ranks = np.random.default_rng([seed, size]).choice(
        size - len(wanted), max(limit - len(wanted), 0), replace=False
    )  # among the others, which are never listed: there may be very many
    extra = ranks + np.searchsorted(wanted - np.arange(len(wanted)), ranks, side="right")
    return np.sort(np.concatenate([wanted, extra]))


def _tensor(value: Any) -> Tensor:
    if np.ma.is_masked(value):
        raise DataError("images must not have masked entries; fill them, or leave these images out")
    if isinstance(value, np.ndarray):
        value = np.require(np.asarray(value), requirements=["C", "W"])
    try:
        tensor = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"images must be numbers, got an array of dtype {value.dtype}: {error}") from error
    if tensor.is_complex():
        raise DataError(f"images must be real numbers, got {tensor.dtype}")
    few_bits = tensor.is_floating_point() and torch.finfo(tensor.dtype).bits < _HALF
    return tensor.float() if few_bits else tensor


def _first(loader: DataLoader[Any], limit: int, include: Sequence[int]) -> tuple[Tensor, Integers | None, Integers]:
    """The first images of a DataLoader; as many as are needed to hold `include`."""
    if len(include) and isinstance(getattr(loader, "sampler", None), _SHUFFLING):
        raise DataError(
            "this DataLoader shuffles, so the positions that pairs name mean nothing; "
            "pass its Dataset, or a DataLoader with shuffle=False"
        )
    limit = max(limit, *(i + 1 for i in include)) if len(include) else limit
    count = min(limit, _size(loader.dataset)) if hasattr(loader.dataset, "__len__") else limit
    pixels, labels = _stack(_until(_batches(loader), limit), count)
    return pixels[:limit], None if labels is None else labels[:limit], np.arange(min(limit, len(pixels)))


def _batches(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor | None]]:
    for batch in _read_batches(loader):
        pixels, labels = _split(batch)
        if not isinstance(pixels, (Tensor, np.ndarray)):
            raise DataError(f"the DataLoader's batches must hold image tensors, got a {type(pixels).__name__}")
        pixels = _dense(pixels)
        yield _tensor(pixels), None if labels is None else _labels(labels, len(pixels))


def _read_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    try:
        yield from loader
    except Exception as error:
        raise DataError(f"the DataLoader failed: {type(error).__name__}: {error}") from error


def _until(batches: Iterable[tuple[Tensor, Tensor | None]], limit: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    count = empty = 0
    for pixels, labels in batches:
        yield pixels, labels
        count += len(pixels)
        empty = 0 if len(pixels) else empty + 1
        if count >= limit:
            return
        if empty == _MOST_EMPTY:
            raise DataError(f"the DataLoader gave {count} images and then {empty} batches without any")


def _item(source: Any, index: int) -> tuple[Tensor, Tensor | None]:
    try:
        item = source[index]
    except Exception as error:
        raise DataError(
            f"item {index} of the {type(source).__name__} failed: {type(error).__name__}: {error}"
        ) from error
    pixels, label = _split(item)
    if not isinstance(pixels, (Tensor, np.ndarray)):
        raise DataError(
            f"item {index} of the Dataset is a {type(pixels).__name__}, expected a tensor; "
            "give the Dataset transform=torchvision.transforms.ToTensor() or the like"
        )
    if isinstance(pixels, Tensor):
        _dense(pixels)
    return _tensor(pixels)[None], None if label is None else _labels(label, 1)


def _split(item: Any) -> tuple[Any, Any]:
    """Images and labels of a Dataset item or a DataLoader batch."""
    if isinstance(item, Mapping):
        image = next((item[key] for key in _IMAGE_KEYS if key in item), None)
        label = next((item[key] for key in _LABEL_KEYS if key in item), None)
        if image is None:
            raise DataError(
                f"an item has the keys {', '.join(map(str, item))}; expected one of {', '.join(_IMAGE_KEYS)}"
            )
        return image, label
    if isinstance(item, (tuple, list)):
        return item[0] if item else None, item[1] if len(item) > 1 else None
    return item, None


def _stack(parts: Iterable[tuple[Tensor, Tensor | None]], count: int) -> tuple[Tensor, Integers | None]:
    """Parts one after the other, of which `count` images at most are expected."""
    pixels: list[Tensor] = []
    labels: list[Tensor] = []
    for part, label in parts:
        if pixels and part.shape[1:] != pixels[0].shape[1:]:
            raise DataError(
                f"all images must have one shape, got {tuple(pixels[0].shape[1:])} and {tuple(part.shape[1:])}"
            )
        if not pixels:
            _check_room(count, math.prod(part.shape[1:]))
        pixels.append(part)
        if label is not None:
            labels.append(label)
    if not pixels:
        return torch.empty(0), None
    complete = sum(map(len, labels)) == sum(map(len, pixels))
    try:
        joined = torch.cat(pixels)
    except RuntimeError as error:
        kinds = ", ".join(sorted({str(part.dtype) for part in pixels}))
        raise DataError(f"all images must have types that go together, got {kinds}") from error
    return joined, torch.cat(labels).numpy() if complete else None


def _check(pixels: Tensor, bounds: tuple[float, float]) -> None:
    if pixels.numel() == 0:
        raise DataError("there are no images: the data are empty; an audit needs at least two")
    if pixels.ndim < 2:
        raise DataError(f"images must have the shape (n, *event), got {tuple(pixels.shape)}; add a batch dimension")
    if len(pixels) == 1:
        raise DataError("there is one image only; an audit needs an original and a target, so at least two")
    if bad := int((~pixels.isfinite()).flatten(1).any(1).sum()):
        raise DataError(f"{bad} of {len(pixels)} images hold NaN or infinite values; remove them or mend the pipeline")
    low, high = float(pixels.min()), float(pixels.max())
    slack = 1e-6 * max(abs(bounds[0]), abs(bounds[1])) if np.isfinite(bounds).all() else 0.0
    if low < bounds[0] - slack or high > bounds[1] + slack:
        raise DataError(
            f"images range over [{low:g}, {high:g}], outside the bounds [{bounds[0]:g}, {bounds[1]:g}]; "
            f"{_likely_cause(low, high, bounds)}"
        )


def _likely_cause(low: float, high: float, bounds: tuple[float, float]) -> str:
    if low >= 0 and 1 < high <= 255 and bounds[1] <= 1:
        return "they look like 8-bit pixels: divide by 255, or pass bounds=(0, 255) if the model takes them so"
    if -1.001 <= low < 0 and high <= 1.001:
        return "they look scaled to [-1, 1]: pass bounds=(-1, 1)"
    if low < 0:
        return "they look standardised: pass bounds=((low - mean) / std, (high - mean) / std), the standardised range"
    return "scale them into the bounds, or pass the bounds of the space that the model takes"
