"""However a command ends, its exit status is that of a verdict only where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vaeaudit import AuditReport, cli
from vaeaudit.commands import reading
from vaeaudit.report.model import JSON_NAME

MakeReport = Callable[..., AuditReport]
MODULE = [sys.executable, "-m", "vaeaudit"]


@pytest.fixture(scope="module")
def saved(make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(gallery=False).save(tmp_path_factory.mktemp("saved"), page=False)


@pytest.mark.parametrize("code", [0, 1, None])
def test_a_call_of_sys_exit_below_a_command_is_no_verdict(
    saved: Path, code: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(path: Path) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(reading, "load", leave)
    assert cli.main(["check", str(saved), "--at-least", "hinge=0.1"]) == 2
    assert f"vaeaudit: SystemExit({code}) ended the command before its verdict; " in capsys.readouterr().err


def test_a_pipe_that_nobody_reads_is_no_failed_bar(saved: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run(
        [*MODULE, "check", str(saved), "--at-least", "hinge=0.1"],
        stdout=write, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (found.returncode, found.stderr) == (2, b"")


def test_what_standard_output_cannot_spell_is_a_question_mark_there(saved: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run([*MODULE, "show", str(saved)], env=environment, capture_output=True, check=True)
    assert b"L?" in found.stdout
    assert found.stderr == b""


def test_a_report_that_is_refused_is_named(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = tmp_path / JSON_NAME
    foreign.write_text('{"schema": 10000}')
    assert cli.main(["compare", str(saved), str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"vaeaudit: {foreign}: the report has schema 10000, this version reads ")
