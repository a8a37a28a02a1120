"""Settings on the pages are settings that the programs take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_vaeaudit.options import OPTIONS
from vaeaudit.config import read_audit_file
from vaeaudit.errors import OptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.blocks("toml")
def test_toml_is_read_as_what_it_is(block: Any, tmp_path: Path) -> None:
    content = tomllib.loads(block.text)
    if "tool" in content or "project" in content:
        _check_ini(content.get("tool", {}).get("pytest", {}).get("ini_options", {}))
    else:
        file = tmp_path / "audit.toml"
        file.write_text(
            block.text if "model" in content else f'model = "zoo:mnist-vae"\ndata = "zoo:mnist-vae"\n{block.text}'
        )
        read_audit_file(file)


def _check_ini(said: dict[str, Any]) -> None:
    known = {option.ini: option for option in OPTIONS.values() if option.session and not option.flag}
    for name, value in said.items():
        if name.startswith("vaeaudit_"):
            assert name in known, f"no ini option {name}"
            assert not known[name].fault(value), known[name].fault(value)


@pytest.mark.blocks("yaml")
def test_yaml_is_tables_and_lists(block: Any) -> None:
    assert all(isinstance(document, (dict, list)) for document in yaml.safe_load_all(block.text))


def test_a_wrong_key_in_an_audit_file_would_be_noticed(tmp_path: Path) -> None:
    file = tmp_path / "audit.toml"
    file.write_text('model = "m:m"\ndata = "d:d"\npresets = "quick"\n')
    with pytest.raises(OptionError, match="unknown key 'presets'"):
        read_audit_file(file)
