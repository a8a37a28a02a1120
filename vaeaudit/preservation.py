"""The user's model is sacred: everything an audit needs changed is changed here and put back."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
import torch

from vaeaudit.introspection import Found


@contextlib.contextmanager
def preserved(found: Found, seed: int) -> Iterator[None]:
    """Evaluation mode, frozen weights and seeded global randomness inside; all as it was afterwards.

    Restored: the mode of every submodule, `requires_grad` of every parameter and loose tensor,
    the values of buffers and loose tensors (a stateful model may write them even in evaluation
    mode), the global random state of Python, numpy and torch (CPU and every CUDA device), the
    cudnn, TF32, autocast and gradient modes.
    """
    submodules = [child for module in found.modules for child in module.modules()]
    modes = [(child, child.training) for child in submodules]
    weights = [t for _, t in found.named_state() if t.requires_grad and t.is_leaf]
    with _randomness(seed), _numerics(), torch.inference_mode(False), torch.enable_grad(), _values(found):
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


@contextlib.contextmanager
def _values(found: Found) -> Iterator[None]:
    """A forward pass may write buffers in place, replace them or register new ones; all of it is undone."""
    submodules = [child for module in found.modules for child in module.modules()]
    registered = [(c, dict(c._buffers)) for c in submodules if not isinstance(c, torch.jit.ScriptModule)]
    tensors = [*found.tensors, *(b for m in found.modules for b in m.buffers())]
    values = [(t, t.detach().clone()) for t in tensors]
    try:
        yield
    finally:
        for child, before in registered:
            put_back(child._buffers, before)
        with torch.no_grad():
            for tensor, value in values:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


def put_back(table: MutableMapping[Any, Any], before: Mapping[Any, Any]) -> bool:
    """Make a table of a module hold the very objects that it held, in their order; whether it held others."""
    same = list(table) == list(before) and all(table[name] is held for name, held in before.items())
    if not same:
        table.clear()
        table.update(before)
    return not same


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
    """Full float32 and deterministic convolutions: reported figures are no TF32 or autocast figures."""
    cudnn = torch.backends.cudnn
    with _restored(_float32_switches()), _restored([(cudnn, "benchmark"), (cudnn, "deterministic")]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _switch_tf32(on=False)
        cudnn.benchmark, cudnn.deterministic = False, True
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield


def _float32_switches() -> list[tuple[Any, str]]:
    """Settings that let float32 products be computed in less: the old pair, then those of torch 2.9 and later."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    newer = (matmul, cudnn.conv, cudnn.rnn) if hasattr(cudnn, "conv") else ()
    return [(matmul, "allow_tf32"), (cudnn, "allow_tf32"), *((part, "fp32_precision") for part in newer)]


def _switch_tf32(*, on: bool) -> None:
    for place, name in _float32_switches():
        if name == "allow_tf32" and _readable(place, name):
            setattr(place, name, on)
        elif name == "fp32_precision" and (on or getattr(place, name) == "tf32"):
            setattr(place, name, "tf32" if on else "ieee")


@contextlib.contextmanager
def tf32_products() -> Iterator[None]:
    """Inside, a GPU may compute float32 products and convolutions in TF32; the switches are put back afterwards.

    They are the process's own: what other threads compute meanwhile is affected too.
    """
    with _restored(_float32_switches()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _switch_tf32(on=True)
        yield


def _readable(place: Any, name: str) -> bool:
    """The old switches cannot be read once the newer ones contradict them."""
    try:
        getattr(place, name)
    except RuntimeError:
        return False
    return True


@contextlib.contextmanager
def _restored(switches: list[tuple[Any, str]]) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = [(place, name, getattr(place, name)) for place, name in switches if _readable(place, name)]
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for place, name, value in before:
                setattr(place, name, value)
