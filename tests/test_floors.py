"""The house keeps its floors: imports go down only, and heavy packages stay outside until they are needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vaeaudit

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


def _run(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_what_needs_no_model_imports_neither_torch_nor_scipys_statistics() -> None:
    """All in one process: what one line had imported would be there after it."""
    lines = (
        "import vaeaudit",
        "import vaeaudit; dir(vaeaudit), vaeaudit.__all__",
        "from vaeaudit import at_least, at_most, Bar, AuditReport, load, Estimate, OptionError",
        "from vaeaudit import zoo; zoo.names()",
        "import vaeaudit.config",
        "import vaeaudit.spec, vaeaudit.health, vaeaudit.verdict, vaeaudit.report.model",
    )
    heavy = "[name for name in ('torch', 'scipy.stats') if name in sys.modules]"
    assert _run("import sys\n" + "\n".join(f"{line}\nif {heavy}: print({line!r}, {heavy})" for line in lines)) == []


def test_reading_an_audit_file_imports_no_torch(tmp_path: Path) -> None:
    text = 'model = "zoo:mnist-vae"\ndata = "zoo:mnist-vae"\nconfidence = 0.9\n[thresholds]\nhinge.at_least = 0.3\n'
    (tmp_path / "audit.toml").write_text(text)
    code = "import sys, pathlib; from vaeaudit.config import read_audit_file; "
    code += f"print(read_audit_file(pathlib.Path({str(tmp_path / 'audit.toml')!r})).confidence, 'torch' in sys.modules)"
    assert _run(code) == ["0.9", "False"]


@pytest.mark.parametrize(
    "first", ["import vaeaudit.auditing, vaeaudit.planning, vaeaudit.report", "from vaeaudit import *"]
)
def test_every_public_name_is_what_it_says_whatever_was_imported_before_and_comes_with_a_star(first: str) -> None:
    code = f"""{first}
import vaeaudit, types
for name in vaeaudit.__all__:
    found = getattr(vaeaudit, name)
    module = name in vaeaudit._MODULES
    assert isinstance(found, types.ModuleType) == module and found is getattr(vaeaudit, name), name
    assert module or found.__name__ == name and name in dir(vaeaudit), name
from vaeaudit import *
print(*(set(vaeaudit.__all__) - set(globals())))
"""
    assert _run(code) == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vaeaudit' has no attribute 'nope'"):
        vaeaudit.nope  # noqa: B018
