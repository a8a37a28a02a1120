"""The user's model is sacred: everything an audit needs changed is changed here and put back."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from vaeaudit.introspection import Found


@contextlib.contextmanager
def preserved(found: Found, seed: int) -> Iterator[None]:
    """Evaluation mode, frozen weights and seeded global randomness inside; all as it was afterwards.

    Restored: the mode of every submodule, `requires_grad` of every parameter and loose tensor, the
    values of buffers (a stateful model may write them even in evaluation mode), the global random
    state of Python, numpy and torch (CPU and every CUDA device), the cudnn and TF32 flags.
    """
    submodules = [child for module in found.modules for child in module.modules()]
    modes = [(child, child.training) for child in submodules]
    weights = [t for _, t in found.named_state() if t.requires_grad and t.is_leaf]
    buffers = [(b, b.detach().clone()) for m in found.modules for b in m.buffers()]
    with _randomness(seed), _numerics(), torch.inference_mode(False), torch.enable_grad():
        try:
            for module in found.modules:
                module.eval()
            for weight in weights:
                weight.requires_grad_(False)
            yield
        finally:
            for weight in weights:
                weight.requires_grad_(True)
            for child, mode in modes:
                child.training = mode
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):
                        buffer.copy_(before)


@contextlib.contextmanager
def _randomness(seed: int) -> Iterator[None]:
    python, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)


@contextlib.contextmanager
def _numerics() -> Iterator[None]:
    """Full float32 and deterministic convolutions: reported figures are not TF32 figures."""
    matmul = torch.backends.cuda.matmul
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = matmul.allow_tf32
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False
    ):
        try:
            matmul.allow_tf32 = False
            yield
        finally:
            matmul.allow_tf32 = before
