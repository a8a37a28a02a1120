"""The slow reference of MS-SSIM, handed out as a fixture: pytest imports test files by path."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def ssim() -> ModuleType:
    """`tests/reference/ssim.py`."""
    path = Path(__file__).parent.parent / "reference/ssim.py"
    spec = importlib.util.spec_from_file_location("vaeaudit_tests_reference_ssim", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
