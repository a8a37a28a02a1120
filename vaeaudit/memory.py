"""Memory of a device: how much is free, how much a computation takes, and whether it ran out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Of torch's plain RuntimeErrors; on a CPU it has no class for memory running out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is memory running out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def machine_bytes() -> int:
    """Bytes of memory that this process can ever have; a great many where the system does not say."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**62
    try:
        return min(physical, int(_GROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such group, or "max"
        return physical


def release_cached(device: torch.device) -> None:
    """Hand memory that torch keeps for itself back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Bytes of a CUDA device that are free, those among them that torch keeps cached."""
    free = torch.cuda.mem_get_info(device)[0]
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes of a CUDA device that a computation occupies beside what lay there before.

    It is run twice, for the first run also makes the workspaces that libraries keep. Torch's own record of the
    peak begins anew.
    """
    work()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return max(0, torch.cuda.max_memory_allocated(device) - before)
