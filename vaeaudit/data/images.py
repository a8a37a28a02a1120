"""`Images`: the user's data as one tensor with labels, checked once, and a few of very many where that is enough."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from vaeaudit.data.in_memory import already_read, check_room, rows_of, tensor_of
from vaeaudit.data.labels import Integers, given_labels
from vaeaudit.data.loaders import first_images, item_of, size_of, stacked
from vaeaudit.data.positions import drawn_positions, even_positions
from vaeaudit.errors import DataError

_SAMPLED = 16
"""Images that the data are known by."""


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
    """Images as they come, their labels, and their positions in the data."""
    if isinstance(source, DataLoader):
        return first_images(source, limit, include)
    whole = already_read(source)
    if whole is not None:
        images, second = whole
        check_room(min(len(images), limit), math.prod(images.shape[1:]))
        index = drawn_positions(len(images), limit, include, seed)
        labels = None if second is None else given_labels(second, len(images), index)
        return tensor_of(rows_of(images, index)), labels, index
    if isinstance(source, IterableDataset):
        raise DataError("an IterableDataset has no positions to draw from; pass a DataLoader of it")
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, (str, bytes, Mapping)):
        index = drawn_positions(size_of(source), limit, include, seed)
        return *stacked((item_of(source, int(i)) for i in index), len(index)), index
    raise DataError(
        "images must be a tensor, a numpy array, a pair (images, labels), a Dataset or a DataLoader, "
        f"got a {type(source).__name__}"
    )


def _fingerprint_of_source(source: Any, pixels: Tensor) -> str:
    """What identifies the data before anything is drawn from them."""
    if isinstance(source, DataLoader) and hasattr(source.dataset, "__len__"):
        source = source.dataset  # whose order no shuffling changes
    whole = already_read(source)
    if whole is not None:
        size = len(whole[0])
        some = tensor_of(rows_of(whole[0], even_positions(size, _SAMPLED)))
    elif isinstance(source, DataLoader):
        size, some = len(pixels), pixels[:_SAMPLED]
    else:
        size = size_of(source)
        some = stacked((item_of(source, int(i)) for i in even_positions(size, _SAMPLED)), _SAMPLED)[0]
    digest = hashlib.sha256(f"{size}{tuple(some.shape)}{some.dtype}".encode())
    digest.update(some.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check(pixels: Tensor, bounds: tuple[float, float]) -> None:
    """Refuse images that no audit can be made of.

    Raises:
        DataError: too few, not finite, or outside the bounds.
    """
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
