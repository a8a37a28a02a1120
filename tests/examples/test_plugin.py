"""The example plugin is installed as its users install it, and its own tests pass there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the plugin is installed in, and nothing else, from a copy: building leaves files behind."""
    work = tmp_path_factory.mktemp("plugin")
    source, target = work / "source", work / "target"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
        "--no-build-isolation", "--target", str(target), str(source),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def _python(installed: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VAEAUDIT_"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=installed.parent / "source", capture_output=True, text=True, check=False,
        env={**clean, "PYTHONPATH": path, **variables},
    )  # fmt: skip


def test_its_own_tests_pass_where_it_is_installed(installed: Path) -> None:
    done = _python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_an_audit_file_may_bar_its_score_and_naming_it_imports_no_torch(installed: Path) -> None:
    text = 'model = "zoo:mnist-vae"\ndata = "zoo:mnist-vae"\n[thresholds]\nexample.detail.at_least = 0.5\n'
    (installed.parent / "audit.toml").write_text(text)
    code = "import pathlib, sys; from vaeaudit.config import read_audit_file; "
    code += "print(*read_audit_file(pathlib.Path('../audit.toml')).bars, 'torch' in sys.modules)"
    assert _python(installed, "-c", code).stdout.split() == ["example.detail", "False"]
    without = _python(installed, "-c", code, VAEAUDIT_PLUGINS="none")
    assert without.returncode == 1
    assert "unknown score 'example.detail'" in without.stderr


def test_importing_the_library_loads_no_plugin(installed: Path) -> None:
    code = "import sys, vaeaudit; vaeaudit.at_least(1); print('vaeaudit_example' in sys.modules)"
    assert _python(installed, "-c", code).stdout.split() == ["False"]


def test_a_plugin_that_is_wanted_and_not_installed_is_an_error(installed: Path) -> None:
    done = _python(installed, "-c", "import vaeaudit; vaeaudit.extensions.active()", VAEAUDIT_PLUGINS="example,other")
    assert "VAEAUDIT_PLUGINS names 'other', and installed are example" in done.stderr
