"""What all tests of benchmarks need: the scripts' folder on the path, as it is when one is run."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        yield


@pytest.fixture
def module() -> Callable[[str], ModuleType]:
    return importlib.import_module
