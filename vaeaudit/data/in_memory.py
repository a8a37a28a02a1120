"""Images that are in memory already, as tensors or arrays: none are copied or converted but those that are audited."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.data.labels import Integers
from vaeaudit.errors import DataError
from vaeaudit.memory import machine_bytes

Array = Tensor | NDArray[Any]
_HALF = 16
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""Kinds of as many bytes as those that torch 2.5 cannot pick rows of."""


def already_read(source: Any) -> tuple[Array, Any] | None:
    """Images, and labels if there are any, as they came; None where they are not in memory.

    Raises:
        DataError: a tensor without rows of numbers side by side.
    """
    if isinstance(source, (Tensor, np.ndarray)):
        return dense(source), None
    if not isinstance(source, (tuple, list)) or len(source) != 2 or not isinstance(source[0], (Tensor, np.ndarray)):
        return None
    if source[1] is not None and tuple(getattr(source[1], "shape", ())) == tuple(source[0].shape):
        return None
    return dense(source[0]), source[1]


def dense(images: Array) -> Array:
    """Images that have rows: a single number is one row.

    Raises:
        DataError: a sparse, quantised or nested tensor.
    """
    if isinstance(images, Tensor) and (images.layout != torch.strided or images.is_quantized or images.is_nested):
        kind = "quantised" if images.is_quantized else "nested" if images.is_nested else str(images.layout)
        raise DataError(f"images must be a dense tensor, got a {kind} one; pass images.to_dense(), or dequantised")
    return images if images.ndim else images[None]


def rows_of(images: Array, index: Integers) -> Array:
    """Some of the images; no others are copied or converted."""
    if not isinstance(images, Tensor):
        return images[index]
    places = torch.from_numpy(index).to(images.device)
    if images.dtype in _SIGNED:
        return images.view(_SIGNED[images.dtype])[places].view(images.dtype)
    return images[places]


def tensor_of(value: Any) -> Tensor:
    """An array or tensor as a tensor on the CPU; what has fewer bits than float16 as float32.

    Raises:
        DataError: it holds no real numbers, or masked ones.
    """
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


def check_room(count: int, numbers: int) -> None:
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
