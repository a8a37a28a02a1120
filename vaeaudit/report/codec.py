"""Frozen dataclasses to builtin types and back, without loss and without executing anything."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import OptionError, ReportError, brief

T = TypeVar("T")
_MOST_BYTES = 2**30
"""Of a report's JSON: ten times that of a very large audit."""
_DEEPEST, _NAMED, _FEW = 32, 4, 8
_WHOLE = 2**64
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How JSON, which has no such numbers, spells them."""


def to_builtin(value: Any) -> Any:
    """Dataclasses become dicts, arrays and tuples lists, numpy scalars Python's own."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_builtin(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): to_builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_builtin(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ReportError(f"a report holds plain values only, got {type(value).__name__}")


def from_builtin(kind: Any, data: Any, where: str = "report") -> Any:
    """Rebuild a value of type `kind`; the inverse of `to_builtin`.

    Args:
        kind: a dataclass, or an annotation that one uses.
        data: what `to_builtin` gave, or what strict JSON made of it.
        where: path of the value inside the report, for messages.

    Raises:
        ReportError: the data do not have that type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, where)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else from_builtin(next(a for a in arguments if a is not type(None)), data, where)
    if dtype := dtype_of(kind):
        return _array(dtype, data, where)
    if origin is tuple:
        _expect(isinstance(data, list), "a list", data, where)
        return tuple(from_builtin(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        _expect(isinstance(data, dict), "an object", data, where)
        return {key: from_builtin(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if origin is typing.Literal:
        _expect(data in arguments, f"one of {', '.join(map(repr, arguments))}", data, where)
        return data
    return _scalar(kind, data, where)


def _dataclass(kind: Any, data: Any, where: str) -> Any:
    _expect(isinstance(data, dict), "an object", data, where)
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    missing = [name for name in names if name not in data]
    unknown = [name for name in data if name not in names]
    if missing or unknown:
        found = f"missing {missing or 'nothing'}, unknown {_some(unknown) or 'nothing'}"
        raise ReportError(f"{where}: {found}; written by another version?")
    values = {name: from_builtin(hints[name], data[name], f"{where}.{name}") for name in names}
    try:
        return kind(**values)
    except (OptionError, ReportError) as error:
        raise ReportError(f"{where}: {error}") from error


def dtype_of(kind: Any) -> np.dtype[Any] | None:
    """The dtype of an annotation `NDArray[...]`; None if it is another."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is NDArray:  # since numpy 2.5 an alias that keeps its name, on Python 3.12 and later
        (scalar,) = arguments
    elif origin is np.ndarray:
        (scalar,) = typing.get_args(arguments[1])
    else:
        return None
    dtype: np.dtype[Any] = np.dtype(scalar)
    return dtype


def _array(dtype: np.dtype[Any], data: Any, where: str) -> np.ndarray[Any, Any]:
    try:
        array = np.array(data, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ReportError(f"{where}: expected an array of {dtype.name}: {error}") from error
    kind = {"b": bool, "i": int, "f": float}[array.dtype.kind]
    for item in _leaves(data):
        _scalar(kind, item, where)
    return array


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for item in data:
            yield from _leaves(item)
    else:
        yield data


def _scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        _check_plain(data, where)
        return data
    if kind is float:
        if isinstance(data, str) and data in NON_FINITE:
            return NON_FINITE[data]
        _expect(isinstance(data, (int, float)) and not isinstance(data, bool), "a number", data, where)
        try:
            return float(data)
        except OverflowError as error:
            raise ReportError(f"{where}: expected a number that a float can hold, got a larger one") from error
    _expect(isinstance(data, kind) and (kind is bool or not isinstance(data, bool)), f"a {kind.__name__}", data, where)
    _expect(kind is not int or abs(data) < _WHOLE, "a whole number of at most 64 bits", data, where)
    return data


def _check_plain(data: Any, where: str, depth: int = 0) -> None:
    """Of a value that may be anything: plain types only, and not so deep that whoever walks it runs out of stack."""
    _expect(depth < _DEEPEST, f"no more than {_DEEPEST} levels", data, where)
    if isinstance(data, dict):
        for key, item in data.items():
            _check_plain(item, f"{where}.{str(key)[:60]}" if depth < _NAMED else where, depth + 1)
    elif isinstance(data, list):
        for item in data:
            _check_plain(item, where, depth + 1)
    elif isinstance(data, int):
        _expect(abs(data) < _WHOLE, "a whole number of at most 64 bits", data, where)
    else:
        _expect(data is None or isinstance(data, (float, str)), "a plain value", data, where)


def _expect(condition: bool, expected: str, data: Any, where: str) -> None:
    if not condition:
        raise ReportError(f"{where}: expected {expected}, got {brief(data)}")


def _some(names: list[str]) -> list[str]:
    """The first of names that a foreign file may have any number of."""
    few = [name[:60] for name in names[:_FEW]]
    return [*few, f"and {len(names) - _FEW} more"] if len(names) > _FEW else few


def write_json(data: Any) -> bytes:
    """Strict JSON in UTF-8: NaN and the infinities become the strings "NaN", "Infinity", "-Infinity"."""
    text = json.dumps(_spell_non_finite(data), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # UTF-8 has no lone surrogate; as \ud800 it is JSON's own escape


def _spell_non_finite(data: Any) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    if isinstance(data, dict):
        return {key: _spell_non_finite(item) for key, item in data.items()}
    if isinstance(data, list):
        return [_spell_non_finite(item) for item in data]
    return data


def read_json(path: Path) -> Any:
    """Read strict JSON; a clear error for a missing, truncated or foreign file."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        return json.loads(content.decode())
    except FileNotFoundError as error:
        raise ReportError(f"no report at {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not a report: {error}") from error


def equal(a: Any, b: Any) -> bool:
    """Equality of plain values, arrays compared element by element, NaN equal to NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=np.issubdtype(np.asarray(a).dtype, np.floating))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)
