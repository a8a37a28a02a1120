"""Images that are made one by one: items of a Dataset, and batches of a DataLoader."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from vaeaudit.data.in_memory import check_room, dense, tensor_of
from vaeaudit.data.labels import Integers, whole_labels
from vaeaudit.errors import DataError

_IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "input", "data")
_LABEL_KEYS = ("label", "labels", "target", "targets", "y")
_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_MOST_EMPTY = 1000
"""Batches without an image that a DataLoader may give in a row."""


def size_of(source: Any) -> int:
    """How many items a Dataset has.

    Raises:
        DataError: it does not say.
    """
    try:
        return len(source)
    except Exception as error:
        raise DataError(
            f"the {type(source).__name__} does not say how many images it has: {type(error).__name__}: {error}"
        ) from error


def item_of(source: Any, index: int) -> tuple[Tensor, Tensor | None]:
    """One image of a Dataset as a row, `(1, *event)`, and its label if it has one.

    Raises:
        DataError: there is no such item, or it is no image.
    """
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
        dense(pixels)
    return tensor_of(pixels)[None], None if label is None else whole_labels(label, 1)


def first_images(
    loader: DataLoader[Any], limit: int, include: Sequence[int]
) -> tuple[Tensor, Integers | None, Integers]:
    """The first images of a DataLoader with labels and positions; as many as are needed to hold `include`.

    Raises:
        DataError: it fails, gives no images, or shuffles while `include` names positions.
    """
    if len(include) and isinstance(getattr(loader, "sampler", None), _SHUFFLING):
        raise DataError(
            "this DataLoader shuffles, so the positions that pairs name mean nothing; "
            "pass its Dataset, or a DataLoader with shuffle=False"
        )
    limit = max(limit, *(i + 1 for i in include)) if len(include) else limit
    count = min(limit, size_of(loader.dataset)) if hasattr(loader.dataset, "__len__") else limit
    pixels, labels = stacked(_until(_batches(loader), limit), count)
    return pixels[:limit], None if labels is None else labels[:limit], np.arange(min(limit, len(pixels)))


def _batches(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor | None]]:
    for batch in _read_batches(loader):
        pixels, labels = _split(batch)
        if not isinstance(pixels, (Tensor, np.ndarray)):
            raise DataError(f"the DataLoader's batches must hold image tensors, got a {type(pixels).__name__}")
        pixels = dense(pixels)
        yield tensor_of(pixels), None if labels is None else whole_labels(labels, len(pixels))


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


def stacked(parts: Iterable[tuple[Tensor, Tensor | None]], count: int) -> tuple[Tensor, Integers | None]:
    """Parts one after the other, of which `count` images at most are expected; labels where all have one.

    Raises:
        DataError: parts of different shapes or types, or more than can be held.
    """
    pixels: list[Tensor] = []
    labels: list[Tensor] = []
    for part, label in parts:
        if pixels and part.shape[1:] != pixels[0].shape[1:]:
            raise DataError(
                f"all images must have one shape, got {tuple(pixels[0].shape[1:])} and {tuple(part.shape[1:])}"
            )
        if not pixels:
            check_room(count, math.prod(part.shape[1:]))
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
