"""What a function's code does and which names it uses, whatever file and line it stands in."""

from __future__ import annotations

import dis
import functools
import types
from typing import Any


def instructions(code: types.CodeType) -> list[Any]:
    """Operations with the names and constants they take, as builtin values.

    Constants count by value and not by their index, so that a docstring, which nothing loads, leaves
    no trace; neither do line numbers, file names and comments.
    """
    operations = [(name, _constant(argument)) for name, argument in _operations(code)]
    arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames)
    return [operations, arguments, code.co_freevars, getattr(code, "co_exceptiontable", b"")]


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names that a function and the functions inside it look up as globals; attributes are no such names."""
    return tuple(sorted(_taken(code, frozenset({"LOAD_GLOBAL", "LOAD_NAME"}))))


@functools.lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> frozenset[str]:
    """All names of globals and attributes in a function and the functions inside it."""
    return frozenset(code.co_names).union(*map(names_of, _inner(code)))


def outer_names_written(code: types.CodeType) -> frozenset[str]:
    """Globals and variables of outer functions that a function overwrites: they are no constants."""
    outer = _taken(code, frozenset({"STORE_DEREF"})) & set(code.co_freevars)
    return _taken(code, frozenset({"STORE_GLOBAL"})) | outer


def attributes_written(code: types.CodeType) -> frozenset[str]:
    """Attributes that a function assigns."""
    return _taken(code, frozenset({"STORE_ATTR"}))


@functools.lru_cache(maxsize=4096)
def _taken(code: types.CodeType, operations: frozenset[str]) -> frozenset[str]:
    """Names that some operations take."""
    own = frozenset(str(argument) for name, argument in _operations(code) if name in operations)
    return own.union(*(_taken(part, operations) for part in _inner(code)))


@functools.lru_cache(maxsize=4096)
def _operations(code: types.CodeType) -> tuple[tuple[str, Any], ...]:
    """Each instruction's name and what it takes."""
    return tuple((i.opname, i.argval) for i in dis.get_instructions(code))


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [const for const in code.co_consts if isinstance(const, types.CodeType)]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return instructions(value)
    if isinstance(value, (tuple, frozenset)):
        items = [_constant(item) for item in value]
        return [type(value).__name__, *(items if isinstance(value, tuple) else sorted(items, key=repr))]
    return type(value).__name__, repr(value)
