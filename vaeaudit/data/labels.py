"""Labels: one whole number an image; anything else (captions, boxes, several attributes) is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.errors import DataError

Integers = NDArray[np.int64]


def given_labels(value: Any, count: int, index: Integers) -> Integers:
    """The labels of some images, where a pair says that there are labels.

    Args:
        value: the pair's second member.
        count: images that there are.
        index: those whose labels are wanted.

    Raises:
        DataError: it is no whole number an image.
    """
    labels = whole_labels(value, count, index)
    if labels is None:
        raise DataError(
            f"a pair is read as (images, labels): there are {count} images, so expected as many whole numbers, "
            f"got a {type(value).__name__}{_extent(value)}"
        )
    return labels.numpy()


def _extent(value: Any) -> str:
    if hasattr(value, "shape"):
        return f" of shape {tuple(value.shape)}"
    return f" of length {len(value)}" if hasattr(value, "__len__") else ""


def whole_labels(value: Any, count: int, index: Integers | None = None) -> Tensor | None:
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
