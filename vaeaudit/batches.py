"""Micro-batches of one fixed size: what a row comes to depends on nothing but the row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_MOST_ROWS = {"cpu": 64}
_MOST_ELEMENTS = {"cpu": 2**16}
_MOST_ROWS_ELSEWHERE, _MOST_ELEMENTS_ELSEWHERE = 512, 2**21


def rows_at_once(n: int, device: torch.device) -> int:
    """Rows of `n` input elements in a micro-batch: enough to be efficient, few enough to pad cheaply."""
    rows = _MOST_ROWS.get(device.type, _MOST_ROWS_ELSEWHERE)
    elements = _MOST_ELEMENTS.get(device.type, _MOST_ELEMENTS_ELSEWHERE)
    return max(1, min(rows, elements // n))


def micro_batched(
    function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor, n: int | None = None
) -> tuple[Tensor, ...]:
    """Apply a function of independent rows in micro-batches of one fixed size, the last one padded.

    A matrix product may round a row differently in a batch of another size, and an optimiser amplifies
    that. At a fixed size a row's result depends neither on its place nor on its company.

    Args:
        function: takes rows of each argument, returns tensors with as many rows.
        *arguments: tensors with equally many rows.
        n: elements that a row occupies; by default those of a row of the first argument.
    """
    count = len(arguments[0])
    size = rows_at_once(n or arguments[0][0].numel(), arguments[0].device)
    parts = []
    for start in range(0, count, size):
        rows = torch.arange(start, start + size, device=arguments[0].device).clamp_max(count - 1)
        outputs = function(*(argument[rows] for argument in arguments))
        parts.append([output[: count - start] for output in outputs])
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def in_batches(function: Callable[..., Tensor], *arguments: Tensor, n: int | None = None) -> Tensor:
    """`micro_batched` for a function of one result, without gradients."""
    with torch.no_grad():
        return micro_batched(lambda *rows: (function(*rows),), *arguments, n=n)[0]
