"""What a model's code computes, as one fingerprint: it follows the code, not where the code stands."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaeaudit.bytecode import attributes_written, global_names, instructions, names_of, outer_names_written
from vaeaudit.introspection import LIBRARIES, NOT_OF_THE_USER, attributes_of, is_filled

_SIMPLE = (bool, int, float, complex, str, bytes, type(None), type(...), torch.dtype, torch.device, np.generic)
_OF_ITS_PLACE = {"__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__"}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_MOST_PARTS = 20_000


@dataclass(frozen=True, kw_only=True)
class Code:
    """The user's code behind modules, functions, methods, partials and objects.

    Attributes:
        fingerprint: SHA-256 of what it computes. Read are the instructions of every method of their classes and of every
            function these call by a global name, with the constants, defaults, closures and settings that enter. Line
            numbers, file names, comments, docstrings and the module that a class stands in leave no trace; values that
            the code itself overwrites, and weights, do not count.
        libraries: versions of the `LIBRARIES` that it comes from and uses, by name.
    """

    fingerprint: str
    libraries: dict[str, str]


def read_code(*objects: Any) -> Code:
    """Read the code behind objects."""
    reading, digest = _Reading(list(objects)), hashlib.sha256()
    for tokens in reading.all_tokens():
        digest.update(repr(tokens).encode())
    return Code(fingerprint=digest.hexdigest(), libraries={name: version(name) for name in sorted(reading.libraries)})


def version(package: str) -> str:
    """Installed version of a package, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@dataclass
class _Reading:
    """A walk over all that a model's code consists of; each part is read once and referred to by its number."""

    parts: list[Any]
    numbers: dict[int, int] = field(default_factory=dict)
    libraries: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.numbers = {id(part): i for i, part in enumerate(self.parts)}

    def all_tokens(self) -> Iterator[list[Any]]:
        """What each part says, in the order they were found in."""
        i = 0
        while i < min(len(self.parts), _MOST_PARTS):
            yield self._tokens(self.parts[i])
            i += 1

    def _ref(self, value: Any) -> Any:
        """A simple value itself; the number of anything else, which is then read in its turn."""
        if isinstance(value, _SIMPLE):
            return type(value).__name__, repr(value)
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.parts)
            self.parts.append(value)
        return self.numbers[id(value)]

    def _refs(self, named: Iterable[tuple[Any, Any]]) -> list[Any]:
        return [(name, self._ref(value)) for name, value in named]

    def _tokens(self, value: Any) -> list[Any]:
        if isinstance(value, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
            return ["script", _script(value)]
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return ["method", self._ref(value.__func__), self._ref(value.__self__)]
        if isinstance(value, functools.partial):
            return ["partial", self._ref(value.func), *map(self._ref, value.args), self._refs(value.keywords.items())]
        return self._value(value)

    def _value(self, value: Any) -> list[Any]:
        if isinstance(value, Tensor):
            return ["tensor"]
        if isinstance(value, np.ndarray):
            return ["array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
        if isinstance(value, (tuple, frozenset)):
            items = value if isinstance(value, tuple) else sorted(value, key=repr)
            return [type(value).__name__, *map(self._ref, items)]
        if isinstance(value, (list, dict)):
            items = value if isinstance(value, list) else list(value.values())
            return [type(value).__name__, *(self._ref(item) for item in items if not _is_state(item))]
        if isinstance(value, types.ModuleType) or self._is_foreign(type(value).__module__):
            return [type(value).__name__, getattr(value, "__name__", ""), *self._wrapped(value)]
        functions = [(n, v) for n, v in sorted(attributes_of(value).items()) if not _is_state(v) or _is_setting(n, v)]
        return ["object", self._ref(type(value)), self._refs(_unwritten(functions, type(value)))]

    def _module(self, module: nn.Module) -> list[Any]:
        attributes = sorted(vars(module).items())
        settings = [(n, v) for n, v in attributes if _is_setting(n, v) and n != "training"]
        callables = [
            (n, v) for n, v in attributes if isinstance(v, (types.FunctionType, types.MethodType, functools.partial))
        ]
        hooks = [hook for name in _HOOKS for hook in getattr(module, name, {}).values()]
        return [
            "module", self._ref(type(module)), self._refs(_unwritten(settings, type(module))), self._refs(callables),
            self._refs(module.named_children()), [self._ref(hook) for hook in hooks],
        ]  # fmt: skip

    def _class(self, kind: type) -> list[Any]:
        if self._is_foreign(kind.__module__):
            return ["class", kind.__module__, kind.__qualname__]
        own = [
            (name, part)
            for name, member in sorted(vars(kind).items())
            if name not in _OF_ITS_PLACE
            for part in _functions_of(member)
        ]
        return ["class", self._refs(own), [self._ref(base) for base in kind.__bases__]]

    def _function(self, function: types.FunctionType) -> list[Any]:
        home = function.__globals__.get("__name__") or ""
        if self._is_foreign(home):
            return ["function", home, function.__code__.co_name, *self._wrapped(function)]
        code = function.__code__
        written = outer_names_written(code)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        closure = [(n, c.cell_contents) for n, c in cells if n not in written and is_filled(c)]
        defaults = [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]
        return [
            "function", *instructions(code), self._refs(closure), [self._ref(d) for d in defaults],
            self._globals(function, written),
        ]  # fmt: skip

    def _globals(self, function: types.FunctionType, written: frozenset[str]) -> list[Any]:
        space, names = function.__globals__, global_names(function.__code__)
        used = [(name, space[name]) for name in names if name in space and name not in written]
        return [
            (name, self._of_namespace(value, names_of(function.__code__), 0))
            if isinstance(value, types.ModuleType)
            else (name, self._ref(value))
            for name, value in used
        ]

    def _of_namespace(self, module: types.ModuleType, names: frozenset[str], depth: int) -> list[Any]:
        """Of an imported module, only what the function's names can mean."""
        if self._is_foreign(module.__name__) or depth > 3:
            return ["module", module.__name__.split(".")[0]]
        found = sorted((name, vars(module)[name]) for name in names if name in vars(module))
        return [
            (n, self._of_namespace(v, names, depth + 1) if isinstance(v, types.ModuleType) else self._ref(v))
            for n, v in found
        ]

    def _wrapped(self, value: Any) -> list[Any]:
        """What a decorator or compiler of a library was put around."""
        inner = getattr(value, "_torchdynamo_orig_callable", None) or getattr(value, "__wrapped__", None)
        return [] if inner is None or inner is value else [self._ref(inner)]

    def _is_foreign(self, module: str | None) -> bool:
        top = (module or "").split(".")[0]
        if top in LIBRARIES:
            self.libraries.add(top)
        return top in NOT_OF_THE_USER


def _functions_of(member: Any) -> list[Any]:
    """The functions and constants that a member of a class consists of."""
    if isinstance(member, (staticmethod, classmethod)):
        return [member.__func__]
    if isinstance(member, property):
        return [f for f in (member.fget, member.fset, member.fdel) if f is not None]
    if isinstance(member, functools.cached_property):
        return [member.func]
    return [member] if isinstance(member, (types.FunctionType, *_SIMPLE, tuple, frozenset)) else []


def _is_state(value: Any) -> bool:
    """Numbers and texts that lie in something mutable may be counters; they are no part of the code."""
    return isinstance(value, _SIMPLE)


def _is_setting(name: str, value: Any) -> bool:
    return not name.startswith("_") and isinstance(value, (*_SIMPLE, tuple, frozenset))


def _unwritten(named: list[tuple[str, Any]], kind: type) -> list[tuple[str, Any]]:
    """Attributes that no method but the constructor writes; the others are state."""
    members = [(n, f) for base in kind.__mro__ for n, m in vars(base).items() for f in _functions_of(m)]
    functions = [f for n, f in members if isinstance(f, types.FunctionType) and n not in {"__init__", "__post_init__"}]
    written = {name for function in functions for name in attributes_written(function.__code__)}
    return [(name, value) for name, value in named if name not in written]


def _script(value: Any) -> Any:
    """Text of a scripted or traced model, with what it holds as constants; its name where there is none."""
    with contextlib.suppress(Exception):
        text, constants = value.code_with_constants
        tensors = [(name, str(tensor)) for name, tensor in sorted(constants.const_mapping.items())]
        children = value.named_children() if isinstance(value, nn.Module) else ()
        return [text, tensors, [(name, _script(child)) for name, child in children]]
    with contextlib.suppress(Exception):
        return str(value.code)
    return type(value).__name__
