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

from vaeaudit.errors import ModelError

_DEPTH = 6


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
    return Found(modules=tuple(m for m in modules if id(m) not in inner), tensors=tuple(tensors))


def _parts(value: Any) -> list[Any]:
    """What a value that is neither module nor tensor refers to."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__]
    if isinstance(value, types.FunctionType):
        cells = [c.cell_contents for c in value.__closure__ or () if _filled(c)]
        return [
            *cells,
            *(value.__defaults__ or ()),
            *(value.__kwdefaults__ or {}).values(),
            *_globals_used(value).values(),
        ]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if _foreign(value):
        return []
    return list(vars(value).values()) if hasattr(value, "__dict__") else []


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _foreign(value: Any) -> bool:
    """Classes, modules of Python and torch's own objects are not looked into."""
    if isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType, torch.device, torch.dtype)):
        return True
    return type(value).__module__.split(".")[0] in {"torch", "numpy", builtins.__name__}


def _globals_used(function: types.FunctionType) -> dict[str, Any]:
    """Global names a function mentions whose values are modules, tensors or functions of their own."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes.extend(c for c in code.co_consts if isinstance(c, types.CodeType))
    space = function.__globals__
    own = {name: space[name] for name in sorted(names) if name in space}
    wanted = (nn.Module, Tensor, functools.partial, types.MethodType)
    return {
        name: value for name, value in own.items()
        if isinstance(value, wanted)
        or (isinstance(value, types.FunctionType) and not value.__module__.startswith("torch"))
        or (not _foreign(value) and not isinstance(value, types.FunctionType) and find_in_attributes(value))
    }  # fmt: skip


def find_in_attributes(value: Any) -> bool:
    """Whether an object holds a module or tensor directly, such as a plain wrapper class does."""
    return any(isinstance(part, (nn.Module, Tensor)) for part in getattr(value, "__dict__", {}).values())


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
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"{type(value).__name__} could not be copied to {device}: {error}. Move the model to {device} yourself "
            "and audit it there."
        ) from error
    memo[id(value)] = made
    return made


def _copy(value: Any, device: torch.device, memo: dict[int, Any]) -> Any:
    again: Callable[[Any], Any] = functools.partial(copied, device=device, memo=memo)
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    if isinstance(value, functools.partial):
        arguments = {key: again(item) for key, item in value.keywords.items()}
        return functools.partial(again(value.func), *map(again, value.args), **arguments)
    if isinstance(value, types.MethodType):
        return types.MethodType(value.__func__, again(value.__self__))
    if isinstance(value, types.FunctionType):
        return _copy_function(value, again)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(again, value))
    if type(value) is dict:
        return {key: again(item) for key, item in value.items()}
    if _foreign(value) or not hasattr(value, "__dict__"):
        return value
    made = copy.copy(value)
    vars(made).update({key: again(item) for key, item in vars(value).items()})
    return made


def _copy_function(function: types.FunctionType, again: Callable[[Any], Any]) -> types.FunctionType:
    if not (find(function).modules or find(function).tensors):
        return function
    cells = tuple(types.CellType(again(c.cell_contents)) if _filled(c) else c for c in function.__closure__ or ())
    space = {**function.__globals__, **{name: again(item) for name, item in _globals_used(function).items()}}
    defaults = None if function.__defaults__ is None else tuple(map(again, function.__defaults__))
    made = types.FunctionType(function.__code__, space, function.__name__, defaults, cells or None)
    made.__kwdefaults__ = {key: again(item) for key, item in (function.__kwdefaults__ or {}).items()}
    return made
