"""Packages that only some calls need, and that are therefore not installed with the library."""

from __future__ import annotations

import importlib
from typing import Any

from vaeaudit.errors import PackageError


def optional(package: str, purpose: str) -> Any:
    """Import a package that is not among the library's own requirements.

    Args:
        package: its name, as it is imported and installed.
        purpose: what needs it, for the message.

    Raises:
        PackageError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise PackageError(
            f"{purpose} needs {package}, which could not be imported ({error}); pip install {package}"
        ) from error
