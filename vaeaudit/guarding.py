"""Around code that an audit lets compute with the user's model: what that leaves changed is put back, and told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vaeaudit.errors import ModelError
from vaeaudit.introspection import Found
from vaeaudit.preservation import preserved, put_back

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@contextlib.contextmanager
def untouched(found: Found, seed: int) -> Iterator[None]:
    """As `preserved`, and of the model its weights and hooks as well; of the process, default dtype and threads.

    Keeps a copy of the weights meanwhile. What was changed inside and put back there is not seen.

    Args:
        found: the model.
        seed: of the global random state inside, each time anew.

    Raises:
        ModelError: the model was left changed; an error from inside goes before.
    """
    changed: list[str] = []
    with _process_settings(), preserved(found, seed):
        before = _Kept(found)
        try:
            yield
        finally:
            changed += before.put_back()
    if changed:
        raise ModelError(
            f"it left the model changed ({', '.join(changed)}); work on a copy, or put back what you change"
        )


class _Kept:
    """Weights, modes and hooks of a model, to be held against what they are later.

    Args:
        found: the model.
    """

    def __init__(self, found: Found) -> None:
        children = [child for module in found.modules for child in module.modules()]
        eager = [child for child in children if not isinstance(child, torch.jit.ScriptModule)]
        self._modes = [(child, child.training) for child in children]
        self._parameters = [(child._parameters, dict(child._parameters)) for child in eager]
        self._hooks = [(table, dict(table)) for child in eager for table in (getattr(child, name) for name in _HOOKS)]
        loose = (tensor for tensor in found.tensors if isinstance(tensor, nn.Parameter))
        weights = [*(weight for module in found.modules for weight in module.parameters()), *loose]
        self._values = [(w, w.detach().clone(), w.requires_grad, w.grad) for w in weights]

    def put_back(self) -> list[str]:
        """Make the model what it was, and name what had changed."""
        looks = {"weights": self._weights(), "training mode": self._mode(), "hooks": _tables(self._hooks)}
        return [name for name, changed in looks.items() if changed]

    def _weights(self) -> bool:
        changed = _tables(self._parameters)
        for weight, value, required, grad in self._values:
            if _differ(weight, value):
                weight.data = value
                changed = True
            changed |= weight.requires_grad != required
            weight.requires_grad_(required)
            weight.grad = grad
        return changed

    def _mode(self) -> bool:
        changed = any(child.training != mode for child, mode in self._modes)
        for child, mode in self._modes:
            child.training = mode
        return changed


def _tables(tables: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> bool:
    """Whether any table holds something else than it did; afterwards each holds the same again."""
    changed = [put_back(table, before) for table, before in tables]
    return any(changed)


def _differ(weight: Tensor, value: Tensor) -> bool:
    """Whether a weight is another than it was; what is not a number equals itself."""
    if (weight.device, weight.dtype, weight.shape) != (value.device, value.dtype, value.shape):
        return True
    return not torch.equal(weight, value) and not torch.equal(weight.nan_to_num(), value.nan_to_num())


@contextlib.contextmanager
def _process_settings() -> Iterator[None]:
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
