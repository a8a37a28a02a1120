"""How much memory there is, what a row of a batch costs, and working a batch off within it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from vaeaudit.errors import OptionError
from vaeaudit.geometry.modes import check_gradient_flows
from vaeaudit.memory import free_bytes, is_out_of_memory, release_cached

_SHARE = 4
"""One part in this many of what is free is taken: other programs, and torch's own workspaces, want theirs."""
_MOST_ON_CPU = 2**31
_UNKNOWN = 2**30
_PASS_ON_CPU, _PASS_ELSEWHERE = 2**24, 2**28

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RowCost:
    """What one row of a batch occupies while it is differentiated, in bytes.

    Attributes:
        saved: what a forward pass keeps for the backward pass.
        largest: the largest tensor among them, input and output.
    """

    saved: int
    largest: int


def memory_budget(device: torch.device, asked: int | None = None) -> int:
    """Bytes that may be used: those asked for, or a quarter of what is free on the device (on a CPU 2 GiB at most).

    Raises:
        OptionError: less than a byte is asked for.
    """
    if asked is not None:
        if not asked >= 1:
            raise OptionError(f"memory expects a number of bytes, at least 1, got {asked!r}")
        return int(asked)
    if device.type == "cuda":
        return max(1, free_bytes(device) // _SHARE)
    return max(1, min(_MOST_ON_CPU, _free_on_cpu() // _SHARE))


def _free_on_cpu() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return _UNKNOWN


def bytes_in_a_pass(device: torch.device) -> int:
    """Size of the tensors that a pass should work on.

    Half of 32 MiB on a CPU: a larger tensor is mapped anew by the C library's `malloc` each time it is made, and
    faulting its pages in then costs as much as computing it.
    """
    return _PASS_ON_CPU if device.type == "cpu" else _PASS_ELSEWHERE


def row_cost(function: Callable[[Tensor], Tensor], inputs: Tensor) -> RowCost:
    """What a row costs: the difference between two rows and one, so that weights do not count.

    Raises:
        GradientError: no gradient flows from output to input.
    """
    one, two = (_saved(function, inputs[:1].expand(rows, *inputs.shape[1:])) for rows in (1, 2))
    return RowCost(saved=max(two.saved - one.saved, one.largest), largest=one.largest)


def _saved(function: Callable[[Tensor], Tensor], inputs: Tensor) -> RowCost:
    sizes: dict[int, int] = {}
    rows = len(inputs)
    moving = [inputs[0].numel() * inputs.element_size()]

    def note(tensor: Tensor) -> Tensor:
        size = tensor.numel() * tensor.element_size()
        sizes[tensor.untyped_storage().data_ptr()] = size
        if tensor.ndim and tensor.shape[0] == rows and not tensor.is_leaf:
            moving.append(size // rows)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = function(inputs.detach().clone().requires_grad_())
    check_gradient_flows(outputs)
    moving.append(outputs[0].numel() * outputs.element_size())
    return RowCost(saved=sum(sizes.values()), largest=max(moving))


def in_chunks(work: Callable[[Tensor], T], rows: Tensor, size: int) -> list[T]:
    """`work` on consecutive rows, `size` at once; half as many whenever memory runs out.

    Raises:
        Exception: whatever `work` raises, and its lack of memory if a single row is too much.
    """
    done: list[T] = []
    start = 0
    while start < len(rows):
        try:
            done.append(work(rows[start : start + size]))
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        else:
            start += size
            continue
        # outside the handler: a traceback keeps the failed attempt's tensors alive
        size = max(1, size // 2)
        release_cached(rows.device)
    return done
