"""The house keeps its floors: imports go down only, and heavy packages stay outside until they are needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("pytest", "_pytest", "diffusers", "pythae", "lightning", "matplotlib.pyplot", "torchvision")


def test_imports_go_down_the_floors() -> None:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if command is None:
        pytest.skip("import-linter is not installed: pip install 'vaeaudit[lint]'")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("the contracts are in the repository's pyproject.toml")
    found = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert " kept, 0 broken" in found.stdout


@pytest.mark.parametrize("module", ["vaeaudit", "vaeaudit.cli"])
def test_importing_the_library_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
