"""Find the modules and tensors behind any callable, and make a copy of it that lives elsewhere."""

from __future__ import annotations

import builtins
import copy
import functools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaeaudit.bytecode import global_names, names_of
from vaeaudit.errors import ModelError

LIBRARIES = (
    "torch", "torchvision", "torchaudio", "numpy", "scipy", "diffusers", "transformers", "pythae", "lightning",
    "pytorch_lightning", "lightning_fabric", "timm", "einops", "sklearn", "PIL",
)  # fmt: skip
"""Packages that an environment names by version; all other code that a model uses is read."""
NOT_OF_THE_USER = sys.stdlib_module_names | set(LIBRARIES) | {"pytest", "_pytest", "pluggy"}
"""Beside libraries, what pytest writes into the assertions of a test module or conftest, models in it included."""
_DEPTH = 8
_FOREIGN = {"torch", "numpy", "logging", builtins.__name__}
_INSTALLED = {"site-packages", "dist-packages"}
_OURS = {"vaeaudit", "pytest_vaeaudit"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_NO_NAMES: frozenset[str] = frozenset()
_Named = tuple[Any, frozenset[str]]


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

    def weights(self) -> list[Tensor]:
        """Parameters and buffers of modules, and loose parameters; plain tensors may be mere constants."""
        owned = [t for module in self.modules for t in (*module.parameters(), *module.buffers())]
        return [*owned, *(t for t in self.tensors if isinstance(t, nn.Parameter))]

    def __bool__(self) -> bool:
        return bool(self.modules or self.tensors)


def find(*objects: Any) -> Found:
    """Collect the modules and tensors that objects compute with.

    Looked into are modules, bound methods, closures, partials, defaults, containers and plain objects,
    the globals that a function uses, and of the user's own modules and classes the attributes that the
    function's code names. A method of the user's is followed where the code names it.
    """
    return _find([(item, _NO_NAMES) for item in objects])


def _find(reached: list[_Named]) -> Found:
    """Walk over values, each with the names that the code that led there mentions; the nearest come first."""
    modules: dict[int, nn.Module] = {}
    tensors: dict[int, Tensor] = {}
    seen: set[tuple[int, frozenset[str]]] = set()
    for _ in range(_DEPTH + 1):
        following: list[_Named] = []
        for value, names in reached:
            if isinstance(value, _PLAIN) or (id(value), names) in seen:
                continue
            seen.add((id(value), names))
            if isinstance(value, Tensor):
                tensors[id(value)] = value
                continue
            if isinstance(value, nn.Module):
                modules[id(value)] = value
            following += _parts(value, names)
        reached = following
    return _outermost(list(modules.values()), list(tensors.values()))


def _outermost(modules: list[nn.Module], tensors: list[Tensor]) -> Found:
    inner = {id(child) for m in modules for child in m.modules() if child is not m}
    outer = tuple(m for m in modules if id(m) not in inner)
    owned = {id(t) for m in outer for t in [*m.parameters(), *m.buffers()]} if tensors else set()
    return Found(modules=outer, tensors=tuple(t for t in tensors if id(t) not in owned))


def _parts(value: Any, names: frozenset[str]) -> list[_Named]:
    """What a value that is no tensor refers to, with the names that matter there."""
    if isinstance(value, types.FunctionType):
        return _parts_of_function(value)
    if isinstance(value, types.MethodType):
        return [(value.__self__, names), *_followed(value.__func__, value.__self__)]
    if isinstance(value, nn.Module):
        return [part for child in value.modules() for part in _members(type(child), names | {"forward"}, child)]
    if isinstance(value, type):
        return _members(value, names, value)
    if isinstance(value, types.ModuleType):
        return [(item, names) for item in attributes_named(value, names).values()]
    return [(part, names) for part in _held(value, names)] + _members(type(value), names | {"__call__"}, value)


def _held(value: Any, names: frozenset[str]) -> list[Any]:
    """What a container, partial or plain object holds; of an installed library's object, what the code names."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if _foreign(value):
        return []
    held = attributes_of(value)
    if names and _not_the_users(type(value).__module__):  # such an object may lead anywhere, as a test's request does
        return [held[name] for name in sorted(names) if name in held]
    return list(held.values())


def _parts_of_function(function: types.FunctionType) -> list[_Named]:
    """Closure, defaults and globals; the code's own names say what of them is used."""
    cells = [c.cell_contents for c in function.__closure__ or () if is_filled(c)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    names = names_of(function.__code__)
    return [(part, names) for part in [*cells, *defaults, *_globals_used(function).values()]]


def _followed(function: Any, owner: Any) -> list[_Named]:
    """A method, and its owner by the names that the method's code mentions."""
    if not isinstance(function, types.FunctionType):
        return [(function, _NO_NAMES)]
    return [(function, _NO_NAMES), (owner, names_of(function.__code__))]


def _members(kind: type, names: frozenset[str], owner: Any) -> list[_Named]:
    """What a class of the user's, and those that it inherits from, hold under some names."""
    spaces = [vars(base) for base in kind.__mro__ if not _not_the_users(base.__module__)]
    found = [space[name] for name in sorted(names) for space in spaces if name in space]
    parts: list[_Named] = []
    for member in found:
        functions = _functions_behind(member)
        parts += [part for function in functions for part in _followed(function, owner)] or [(member, names)]
    return parts


def _functions_behind(member: Any) -> list[types.FunctionType]:
    """The functions that a member of a class consists of."""
    inner = [getattr(member, name, None) for name in ("__func__", "fget", "func")]
    return [part for part in (member, *inner) if isinstance(part, types.FunctionType)]


def attributes_named(module: types.ModuleType, names: frozenset[str]) -> dict[str, Any]:
    """Of a module of the user's, what some names mean in it; of others, nothing."""
    if _not_the_users(module.__name__):
        return {}
    space = vars(module)
    return {name: space[name] for name in sorted(names) if name in space}


@functools.lru_cache(maxsize=4096)
def _not_the_users(module: str) -> bool:
    """Whether a module comes from Python, from an installed library or from this one, by its name."""
    if module.split(".")[0] in NOT_OF_THE_USER | _OURS:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not _INSTALLED.isdisjoint(Path(file).parts)


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
    """Objects of Python's and torch's own kinds hold no weights as plain attributes."""
    if isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType, torch.device, torch.dtype)):
        return True
    return type(value).__module__.split(".")[0] in _FOREIGN


def _globals_used(function: types.FunctionType) -> dict[str, Any]:
    """What the global names in a function stand for, where it may be or hold a part of a model."""
    space = function.__globals__
    own = {name: space[name] for name in global_names(function.__code__) if name in space}
    return {name: value for name, value in own.items() if _may_hold_a_model(value)}


def _may_hold_a_model(value: Any) -> bool:
    if isinstance(value, (types.ModuleType, type)):
        return not _not_the_users(value.__name__ if isinstance(value, types.ModuleType) else value.__module__)
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
    names = names_of(function.__code__)
    for empty, cell in zip(cells, function.__closure__ or (), strict=True):
        if is_filled(cell):
            empty.cell_contents = _copied_outer(cell.cell_contents, names, again, memo)
    space.update({name: _copied_outer(item, names, again, memo) for name, item in _globals_used(function).items()})
    made.__defaults__ = None if function.__defaults__ is None else tuple(map(again, function.__defaults__))
    made.__kwdefaults__ = {key: again(item) for key, item in (function.__kwdefaults__ or {}).items()}
    return made


def _copied_outer(value: Any, names: frozenset[str], again: Callable[[Any], Any], memo: dict[int, Any]) -> Any:
    """A copy of what a global or a closure's variable means; a module that holds weights under the names used gets a stand-in."""
    if not isinstance(value, types.ModuleType):
        return again(value)
    if not _find([(value, names)]):
        return value
    made = memo.get(id(value))
    if made is None:
        made = memo[id(value)] = types.ModuleType(value.__name__)
        vars(made).update(vars(value))
    for name, item in attributes_named(value, names).items():
        vars(made)[name] = _copied_outer(item, names, again, memo)
    return made
