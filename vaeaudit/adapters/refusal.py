"""How an adapter says that it knows a model and cannot audit it, and where a class comes from."""

from __future__ import annotations

from collections.abc import Container

from vaeaudit.errors import OptionError


def unsupported(model: object, because: str, instead: str) -> OptionError:
    """The error for a model that is known and cannot be audited as it is.

    Args:
        model: the model.
        because: why not.
        instead: what to do.
    """
    return OptionError(f"{type(model).__name__} is not supported, because {because}. {instead}")


def comes_from(package: str, model: object) -> bool:
    """Whether a package defines the model's class or one that it extends."""
    return any(kind.__module__.split(".")[0] == package for kind in type(model).__mro__)


def class_among(package: str, model: object, names: Container[str]) -> str:
    """The first of a package's classes of these names that the model's class is or extends; empty if none."""
    own = (kind for kind in type(model).__mro__ if kind.__module__.split(".")[0] == package)
    return next((kind.__name__ for kind in own if kind.__name__ in names), "")
