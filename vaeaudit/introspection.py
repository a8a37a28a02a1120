"""Find the modules and tensors behind any callable, and make a copy of it that lives elsewhere."""

from __future__ import annotations

import builtins
import copy
import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaeaudit.bytecode import global_names
from vaeaudit.errors import ModelError

_DEPTH = 6
_FOREIGN = {"torch", "numpy", "logging", builtins.__name__}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a callable computes with: modules (outermost ones) and loose tensors."""

    modules: tuple[nn.Module, ...]
    tensors: tuple[Tensor, ...]

    def named_state(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter, buffer and loose tensor, in a stable order."""
        for i, module in enumerate(self.modules):
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                yield f"{i}.{name}", tensor
        for i, tensor in enumerate(self.tensors):
            yield f"tensor.{i}", tensor

    def __bool__(self) -> bool:
        return bool(self.modules or self.tensors)


def find(*objects: Any) -> Found:
    """Collect modules and tensors from modules, bound methods, closures, partials and globals used."""
    modules: list[nn.Module] = []
    tensors: list[Tensor] = []
    seen: set[int] = set()

    def walk(value: Any, depth: int) -> None:
        if id(value) in seen or depth > _DEPTH:
            return
        seen.add(id(value))
        if isinstance(value, nn.Module):
            modules.append(value)
        elif isinstance(value, Tensor):
            tensors.append(value)
        else:
            for part in _parts(value):
                walk(part, depth + 1)

    for item in objects:
        walk(item, 0)
    inner = {id(child) for m in modules for child in m.modules() if child is not m}
    outer = tuple(m for m in modules if id(m) not in inner)
    owned = {id(t) for m in outer for t in [*m.parameters(), *m.buffers()]} if tensors else set()
    return Found(modules=outer, tensors=tuple(t for t in tensors if id(t) not in owned))


def _parts(value: Any) -> list[Any]:
    """What a value that is neither module nor tensor refers to."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__] if isinstance(value.__self__, nn.Module) else [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        cells = [c.cell_contents for c in value.__closure__ or () if is_filled(c)]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [*cells, *defaults, *_globals_used(value).values()]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if _foreign(value):
        return []
    call = getattr(type(value), "__call__", None)  # noqa: B004 - the function itself is wanted
    return [*attributes_of(value).values(), *([call] if isinstance(call, types.FunctionType) else [])]


def attributes_of(value: Any) -> dict[str, Any]:
    """Attributes of a plain object, those in slots included."""
    slots = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
    return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots}}


def _slots(kind: type) -> tuple[str, ...]:
    names = vars(kind).get("__slots__", ())
    return tuple(n for n in ((names,) if isinstance(names, str) else names) if n not in {"__dict__", "__weakref__"})


def is_filled(cell: types.CellType) -> bool:
    """Whether a closure's variable has been assigned yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _foreign(value: Any) -> bool:
    """Classes, modules of Python and torch's own objects are not looked into."""
    if isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType, torch.device, torch.dtype)):
        return True
    return type(value).__module__.split(".")[0] in _FOREIGN


def _globals_used(function: types.FunctionType) -> dict[str, Any]:
    """What the global names in a function stand for, where it may be or hold a part of a model."""
    space = function.__globals__
    own = {name: space[name] for name in global_names(function.__code__) if name in space}
    return {name: value for name, value in own.items() if _may_hold_a_model(value)}


def _may_hold_a_model(value: Any) -> bool:
    if isinstance(value, types.FunctionType):
        return not (value.__module__ or "").startswith("torch")
    return isinstance(value, (nn.Module, Tensor, list, tuple, dict, types.MethodType)) or not _foreign(value)


def copied(value: Any, device: torch.device, memo: dict[int, Any]) -> Any:
    """Copy a callable with everything it computes with, and move the copy to a device.

    Args:
        value: module, function, bound method, partial, or object of them.
        device: where the copy shall live.
        memo: copies made so far, by identity, so that shared parts stay shared.

    Raises:
        ModelError: it cannot be copied.
    """
    if id(value) in memo:
        return memo[id(value)]
    try:
        made = _copy(value, device, memo)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{type(value).__name__} could not be copied to {device}: {error}. Move the model to {device} yourself "
            "and audit it there."
        ) from error
    memo[id(value)] = made
    return made


def _copy(value: Any, device: torch.device, memo: dict[int, Any]) -> Any:
    again: Callable[[Any], Any] = functools.partial(copied, device=device, memo=memo)
    if isinstance(value, nn.Module):
        return copy.deepcopy(value, memo).to(device)
    if isinstance(value, Tensor):
        moved = value.detach().to(device, copy=True)
        return nn.Parameter(moved, value.requires_grad) if isinstance(value, nn.Parameter) else moved
    if not find(value):
        return value
    if isinstance(value, functools.partial):
        arguments = {key: again(item) for key, item in value.keywords.items()}
        return functools.partial(again(value.func), *map(again, value.args), **arguments)
    if isinstance(value, types.MethodType):
        return types.MethodType(again(value.__func__), again(value.__self__))
    if isinstance(value, types.FunctionType):
        return _copy_function(value, again, memo)
    if isinstance(value, (list, tuple)):
        items = [again(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    made = memo[id(value)] = copy.copy(value)
    if made is value:
        raise TypeError("it cannot be duplicated")
    if isinstance(value, dict):
        made.update({key: again(item) for key, item in value.items()})
        return made
    for name, item in attributes_of(value).items():
        object.__setattr__(made, name, again(item))
    return made


def _copy_function(
    function: types.FunctionType, again: Callable[[Any], Any], memo: dict[int, Any]
) -> types.FunctionType:
    """A function whose closure, defaults and globals are copies; known to `memo` before they are, as it may recur."""
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    space = dict(function.__globals__)
    made = types.FunctionType(function.__code__, space, function.__name__, None, cells or None)
    memo[id(function)] = made
    for empty, cell in zip(cells, function.__closure__ or (), strict=True):
        if is_filled(cell):
            empty.cell_contents = again(cell.cell_contents)
    space.update({name: again(item) for name, item in _globals_used(function).items()})
    made.__defaults__ = None if function.__defaults__ is None else tuple(map(again, function.__defaults__))
    made.__kwdefaults__ = {key: again(item) for key, item in (function.__kwdefaults__ or {}).items()}
    return made
