"""Arrays of one value that must agree in their shapes."""

from __future__ import annotations

from typing import Any

from vaeaudit.errors import ReportError


def check_shapes(owner: object, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a value whose arrays or tuples do not have the shapes they must.

    Args:
        owner: the value, for its attributes and its name.
        expected: the shape of each field.

    Raises:
        ReportError: a field has another shape, or nothing in it.
    """
    for field, shape in expected.items():
        _check(f"{type(owner).__name__}.{field}", getattr(owner, field), shape)


def check_entries(owner: object, field: str, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a value whose dictionary of arrays lacks some, has others, or has them in other shapes.

    Args:
        owner: the value, for its name.
        field: which of its fields is the dictionary.
        expected: the shape of each entry.

    Raises:
        ReportError: an entry is missing, unknown, or has another shape, or nothing in it.
    """
    name, entries = f"{type(owner).__name__}.{field}", getattr(owner, field)
    if entries.keys() != expected.keys():
        raise ReportError(f"{name} expects {', '.join(expected)}; got {', '.join(entries) or 'nothing'}")
    for entry, shape in expected.items():
        _check(f"{name}[{entry!r}]", entries[entry], shape)


def _check(name: str, value: Any, shape: tuple[int, ...]) -> None:
    found = (len(value),) if isinstance(value, tuple) else value.shape
    if found != shape:
        raise ReportError(f"{name} has shape {found}, expected {shape}")
    if 0 in shape:
        raise ReportError(f"{name} has shape {found}, expected at least one entry along each axis")
