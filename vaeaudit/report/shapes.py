"""Arrays of one value that must agree in their shapes."""

from __future__ import annotations

from vaeaudit.errors import ReportError


def check_shapes(owner: object, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a value whose arrays or tuples do not have the shapes they must.

    Args:
        owner: the value, for its attributes and its name.
        expected: the shape of each field.

    Raises:
        ReportError: a field has another shape, or nothing in it.
    """
    kind = type(owner).__name__
    for field, shape in expected.items():
        value = getattr(owner, field)
        found = (len(value),) if isinstance(value, tuple) else value.shape
        if found != shape:
            raise ReportError(f"{kind}.{field} has shape {found}, expected {shape}")
        if 0 in shape:
            raise ReportError(f"{kind}.{field} has shape {found}, expected at least one entry along each axis")
