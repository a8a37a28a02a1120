"""Commands on the pages are commands that exist, and what takes no model is run."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_vaeaudit.options import OPTIONS
from vaeaudit.cli import main
from vaeaudit.commands.parser import argument_parser
from vaeaudit.commands.statuses import USAGE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PLAIN = ("cd", "git", "export", "scontrol", "head", "ruff", "mypy", "lint-imports", "nox", "sphinx-build")
"""Commands of others, whose arguments are theirs to check."""
NAMES = (".", "vaeaudit-report", "report", "old", "new", "baseline", "candidate-1", "candidate-2", "runs/one", "runs/two",
         "reports/one", "reports/two")  # fmt: skip
"""What pages call folders of reports."""
QUICK = ("show", "check", "compare", "leaderboard", "schema")
"""Commands of ours that take no model."""
OWN = ("benchmarks", "digits", "examples")
"""Packages of the repository."""


@pytest.fixture
def folder(saved_report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a report under every name that pages give one."""
    for name in NAMES:
        shutil.copytree(saved_report, tmp_path / name, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.blocks("sh", "yaml")
def test_commands_are_known(block: Any, commands: Any, folder: Path) -> None:
    for words in commands(block):
        _check(words)


def _check(words: list[str]) -> None:
    name, *rest = words
    if name == "vaeaudit":
        _check_ours(rest)
    elif name == "pytest":
        _check_pytest(rest)
    elif name == "pip":
        _check_pip(rest)
    elif name == "srun":
        _check(words[words.index("torchrun") :])
    elif name in ("python", "torchrun"):
        _check_python(rest)
    else:
        assert name in PLAIN, f"nobody checks {' '.join(words)!r}: teach this test, or mark the block as not run"


def _check_ours(words: list[str]) -> None:
    argument_parser().parse_args(words)  # leaves with status 2 where it does not understand
    if words[0] in QUICK:
        assert main(words) != USAGE, f"vaeaudit {' '.join(words)} ends as a mistake in usage"


def _check_pytest(words: list[str]) -> None:
    known = {option.command_line: option for option in OPTIONS.values() if option.session or option.flag}
    for word in words:
        if word.startswith("--vaeaudit"):
            flag, _, value = word.partition("=")
            assert flag in known, f"no option {flag}"
            option = known[flag]
            fault = "" if option.flag else option.fault(option.kind(value))
            assert not fault, f"{word}: {fault}"


def _check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        for names in re.findall(r"^(?:\.|vaeaudit)\[(.+)\]", word):
            unknown = set(names.split(",")) - extras.keys()
            assert not unknown, f"{word}: no extra {unknown}"


def _check_python(words: list[str]) -> None:
    """A script of the repository is there, a module of ours too, and the library's own command is understood."""
    script = next((word for word in words if word.endswith(".py")), None)
    if script is not None:
        assert (ROOT / script).exists(), f"no file {script}"
        return
    module, *rest = words[words.index("-m") + 1 :]
    if module == "vaeaudit":
        _check_ours(rest)
    elif module.split(".")[0] in OWN:
        places = [base / module.replace(".", "/") for base in (ROOT, ROOT / "examples" / "ci")]
        assert any(place.with_suffix(".py").exists() or place.is_dir() for place in places), f"no module {module}"
