"""The command line: what it prints, where, and with which exit status. Audits are stand-ins."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaeaudit
from vaeaudit import AuditReport, cli, zoo
from vaeaudit.commands import progress, reading, statuses
from vaeaudit.errors import DataError
from vaeaudit.health import Finding
from vaeaudit.report.model import HTML_NAME, JSON_NAME

MakeReport = Callable[..., AuditReport]
BLIND = Finding(name="gradient_masked", severity="invalid", message="Blind.", remedy="See.", affects=("hinge",))
ZOO_TOML = 'model = "zoo:mnist-vae"\ndata = "zoo:mnist-vae"\n'


def half(make_report: MakeReport, **options: Any) -> AuditReport:
    """A report whose hinges and AUDDCs spread evenly from 0.3 to 0.7: both are 0.5, surely above 0.4 and below 0.6."""
    report = make_report(hinges=np.linspace(0.3, 0.7, 50), gallery=False, **options)
    curves = dataclasses.replace(report.curves, auddc=report.curves.hinge)
    auddc = dataclasses.replace(report.auddc, value=0.5, low=0.4, high=0.6)
    return dataclasses.replace(report, curves=curves, auddc=auddc)


@pytest.fixture(scope="module")
def saved(make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose hinge and AUDDC are 0.5."""
    return half(make_report).save(tmp_path_factory.mktemp("saved"))


class Audit:
    """Stands in for `vaeaudit.audit`: notes how it was called, reports progress, and returns a chosen report."""

    def __init__(self, report: AuditReport) -> None:
        self.report = report
        self.options: dict[str, Any] | None = None
        self.steps: tuple[tuple[str, int, int], ...] = ()
        self.ends: BaseException | None = None
        self.shown = False

    def __call__(self, *_: Any, **options: Any) -> AuditReport:
        self.options = options
        if self.shown:
            options["progress"].__self__.timer.join()
        for step in self.steps:
            options["progress"](*step)
        if self.ends is not None:
            raise self.ends
        return self.report


@pytest.fixture
def stub(make_report: MakeReport, plain_pages: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Audit:
    """A stand-in audit, in an empty folder with an audit.toml."""
    audit = Audit(half(make_report))
    monkeypatch.setattr(importlib.import_module("vaeaudit.auditing"), "audit", audit)
    monkeypatch.chdir(tmp_path)
    Path("audit.toml").write_text(ZOO_TOML)
    return audit


@pytest.mark.parametrize(
    ("bars", "status"),
    [
        (["--at-least", "hinge=0.3"], 0),
        (["--at-least", "hinge=0.7"], 1),
        (["--at-least", "hinge=0.5"], 3),
        (["--at-least", "hinge=0.3", "--at-least", "auddc=0.7"], 1),
        (["--at-least", "hinge=0.5", "--at-least", "auddc=0.7"], 1),
        (["--at-least", "hinge=0.5", "--at-least", "auddc=0.3"], 3),
        (["--at-most", "encoder.spectral_radius=1e9", "--at-most", "condition_number=1e9"], 0),
    ],
)
def test_check_exits_with_the_worst_verdict(saved: Path, bars: list[str], status: int) -> None:
    assert cli.main(["check", str(saved / JSON_NAME), *bars]) == status


@pytest.mark.parametrize(("auddc", "status"), [("0.3", 4), ("0.5", 4), ("0.7", 1)])
def test_an_invalid_measurement_counts_unless_another_bar_failed(
    make_report: MakeReport, tmp_path: Path, auddc: str, status: int
) -> None:
    half(make_report, health=(BLIND,)).save(tmp_path, page=False)
    assert cli.main(["check", str(tmp_path), "--at-least", "hinge=0.3", "--at-least", f"auddc={auddc}"]) == status


def test_check_prints_one_line_a_verdict(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["check", str(saved), "--at-least", "hinge=0.3", "--at-least", "auddc=0.7"])
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["PASS", "hinge"], ["FAIL", "auddc"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at-most", "hinge=0.3"], "hinge: higher is more robust, so the bar is at_least(...), got at_most(0.3)"),
        (["--at-least", "hinge=30"], "hinge is never above 1, so no model can pass at_least(30)"),
        (["--at-least", "hinge=0.3", "--confidence", "0.5"], "confidence expects a number above 0.5 and below 1"),
        (
            ["--at-least", "hing=0.3"],
            "unknown score 'hing' (did you mean 'hinge'?); choose one of hinge, auddc, linearity",
        ),
        ([], "check expects at least one --at-least or --at-most, such as --at-least hinge=0.3"),
        (["--at-least", "reach=2", "--at-most", "reach=9"], "check expects one bar a score"),
    ],
)
def test_a_bar_that_makes_no_sense_is_a_usage_error(
    saved: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["check", str(saved), *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"vaeaudit: {message}")
    assert out == ""


@pytest.mark.parametrize("text", ["hinge", "hinge=", "hinge=much", "hinge=nan", "hinge=inf"])
def test_a_malformed_bar_shows_how_to_write_one(saved: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["check", str(saved), "--at-least", text])
    assert f"argument --at-least: expected SCORE=NUMBER such as hinge=0.3, got {text!r}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check", "{}", "--at-least", "hinge=0"], ["compare", "{}", "{}"]])
def test_a_report_that_cannot_be_read_is_said_without_a_traceback(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    whole = (saved / JSON_NAME).read_text()
    half, gone = tmp_path / "half.json", tmp_path / "gone.json"
    half.write_text(whole[: len(whole) // 2])
    for path, message in ((gone, f"no report at {gone}"), (half, f"{half} is not a report: ")):
        assert cli.main([part.format(path) for part in command]) == 2
        assert capsys.readouterr().err.startswith(f"vaeaudit: {message}")


@pytest.mark.parametrize(("confidence", "status"), [("0.6", 0), ("0.95", 0), ("0.999", 3)])
def test_check_takes_a_confidence(
    saved: Path, capsys: pytest.CaptureFixture[str], confidence: str, status: int
) -> None:
    assert cli.main(["check", str(saved), "--at-least", "hinge=0.44", "--confidence", confidence]) == status
    assert f"({100 * float(confidence):g} %, 50 pairs)" in capsys.readouterr().out


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("name", ["", JSON_NAME])
def test_show_prints_a_saved_report_and_names_its_page(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["show", str(saved / name)]) == 0
    assert _lines(capsys.readouterr().out) == [
        *_lines(str(vaeaudit.load(saved))),
        "",
        "With pictures:",
        str(saved / HTML_NAME),
    ]


def test_show_names_no_page_that_is_not_there(
    make_report: MakeReport, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    report = half(make_report)
    report.save(tmp_path, page=False)
    assert cli.main(["show", str(tmp_path)]) == 0
    assert _lines(capsys.readouterr().out) == _lines(str(report))


def test_compare_names_both_models_within_eighty_columns(
    make_report: MakeReport, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, shift in (("before", 0.0), ("after", 0.2)):
        make_report(name=name, shift=shift, gallery=False).save(tmp_path / name, page=False)
    assert cli.main(["compare", str(tmp_path / "before"), str(tmp_path / "after" / JSON_NAME)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("before (old) against after (new)")
    assert max(map(len, lines)) <= 80
    assert next(line for line in lines if line.startswith("Hinge")).split()[-1] == "better"


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"vaeaudit {metadata.version('vaeaudit')}\n"


@pytest.mark.parametrize("command", [[], ["demo"], ["run"], ["check"], ["show"], ["compare"], ["leaderboard"]])
def test_help_fits_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([*command, "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(" ".join(["usage: vaeaudit", *command]))


def test_the_help_of_demo_lists_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["demo", "--help"])
    assert set(zoo.names()) <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [[], ["audit"], ["demo", "--model", "nope"], ["run", "a", "--seed", "x"]])
def test_unknown_usage_exits_with_two(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(arguments)
    assert "usage: vaeaudit" in capsys.readouterr().err


def test_demo_saves_and_prints_its_report(stub: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    assert vaeaudit.load("vaeaudit-demo") == stub.report
    assert Path("vaeaudit-demo", HTML_NAME).stat().st_size > 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{stub.report.name}  preset standard")
    assert out.endswith("vaeaudit-demo\n")
    assert err == ""


@pytest.mark.parametrize("command", [["demo"], ["run", "audit.toml"]])
@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_profile_prints_where_the_time_went_after_the_report(
    stub: Audit,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    quiet: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([*command, *quiet]) == 0
    without = capsys.readouterr().out
    assert cli.main([*command, *quiet, "--profile"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(without)
    table = out[len(without) :].splitlines()
    assert table[1].split() == ["Time", "Seconds", "Share", "In", "the", "model", "Gradients", "a", "second"]
    assert {line.split()[0] for line in table if "%" in line} == {"targeted", "damage", "geometry", "all"}
    assert max(map(len, table)) <= 80
    assert "profile" not in (stub.options or {})


def test_run_writes_where_the_file_says_beside_the_file(stub: Audit, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "my.toml").write_text(ZOO_TOML + 'output = "found/here"\n')
    assert cli.main(["run", str(other / "my.toml"), "--quiet"]) == 0
    assert vaeaudit.load(other / "found" / "here") == stub.report


def test_the_command_line_goes_before_the_file(stub: Audit) -> None:
    Path("audit.toml").write_text(ZOO_TOML + 'preset = "thorough"\nseed = 3\npairs = 7\noutput = "a"\n')
    assert cli.main(["run", "audit.toml", "--preset", "quick", "--output", "b", "--seed", "0"]) == 0
    assert stub.options is not None
    assert {key: stub.options[key] for key in ("preset", "seed", "pairs")} == {"preset": "quick", "seed": 0, "pairs": 7}
    assert [Path(name).exists() for name in "ab"] == [False, True]


@pytest.mark.parametrize(("bar", "status"), [(0.3, 0), (0.7, 1), (0.5, 3)])
def test_run_exits_with_the_verdict_on_its_thresholds(stub: Audit, bar: float, status: int) -> None:
    Path("audit.toml").write_text(ZOO_TOML + f"[thresholds]\nhinge.at_least = {bar}\n")
    assert cli.main(["run", "audit.toml", "--quiet"]) == status


def test_run_tells_github_what_it_found_and_at_which_line(stub: Audit) -> None:
    Path("audit.toml").write_text(ZOO_TOML + "[thresholds]\nauddc = { at_least = 0.4 }\nhinge = { at_least = 0.6 }\n")
    assert cli.main(["run", "audit.toml", "--summary", "summary.md", "--sarif", "out.sarif"]) == 1
    assert "1 FAIL, 1 PASS" in Path("summary.md").read_text()
    results = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    (failed,) = [result for result in results if result["ruleId"].startswith("bar/")]
    where = failed["locations"][0]["physicalLocation"]
    assert failed["ruleId"] == "bar/hinge"
    assert (where["artifactLocation"]["uri"], where["region"]["startLine"]) == ("audit.toml", 5)


def test_run_without_thresholds_still_sums_up(stub: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("audit.toml").write_text(ZOO_TOML)
    assert cli.main(["run", "audit.toml", "--quiet"]) == 0
    assert Path("summary.md").read_text().startswith("## Robustness of ")


def test_quiet_prints_verdicts_only(stub: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    Path("audit.toml").write_text(ZOO_TOML + "[thresholds]\nhinge.at_least = 0.3\n")
    cli.main(["run", "audit.toml"])
    table = capsys.readouterr().out
    cli.main(["run", "audit.toml", "--quiet"])
    out, err = capsys.readouterr()
    assert out.startswith("PASS")
    assert out.count("\n") == 1
    assert err == ""
    assert table.endswith("\n\n" + out)


@pytest.mark.parametrize("output", ["audit.toml", "audit.toml/below", "/proc/nowhere"])
def test_an_output_folder_that_cannot_be_is_said_before_measuring(
    stub: Audit, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    assert cli.main(["run", "audit.toml", "--output", output]) == 2
    assert stub.options is None
    err = capsys.readouterr().err
    assert err.startswith(f"vaeaudit: no report can be written to {output}: ")
    assert err.endswith("; choose another folder with --output\n")


def test_a_full_disk_is_said_before_measuring(stub: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        status = cli.main(["demo", "--output", "full"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 2
    assert stub.options is None
    assert capsys.readouterr().err == (
        "vaeaudit: no report can be written to full: File too large; choose another folder with --output\n"
    )
    assert not Path("full").exists()


@pytest.mark.parametrize("error", [DataError("there are [bold]no images[/bold]"), OSError("the disk is gone")])
def test_bad_input_is_one_line_on_standard_error(
    stub: Audit, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    stub.ends = error
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr() == ("", f"vaeaudit: {error}\n")


def test_a_crash_is_never_the_status_of_a_failed_bar(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(path: Path) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(reading, "load", crash)
    assert cli.main(["check", str(saved), "--at-least", "hinge=0.1"]) == statuses.USAGE
    assert "RuntimeError: a bug" in capsys.readouterr().err


def test_an_interrupt_says_what_was_finished_and_where_it_lies(stub: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    stub.steps = (("targeted attack", 0, 50), ("targeted attack", 50, 50), ("targeted attack", 0, 9), ("spectra", 2, 4))
    stub.ends = KeyboardInterrupt()
    Path("out/partial").mkdir(parents=True)
    Path("out/partial/tradeoff-0.npz").touch()
    assert cli.main(["demo", "--output", "out"]) == 130
    assert capsys.readouterr() == (
        "",
        "Interrupted.\n"
        "  targeted attack: 50 of 50 finished\n"
        "  targeted attack 2: 0 of 9 finished\n"
        "  spectra: 2 of 4 finished\n"
        "Finished measurements are kept in out/partial; the same command goes on from there.\n",
    )


def test_an_interrupt_before_anything_was_finished_says_so(stub: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    stub.ends = KeyboardInterrupt()
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "Interrupted.\nNothing was finished yet.\n"


def test_an_interrupt_while_the_report_is_written_does_not_lose_it(
    stub: Audit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = AuditReport.save, itertools.count()

    def interrupted_once(report: AuditReport, folder: Path) -> Path:
        if next(calls) == 0:
            raise KeyboardInterrupt
        return save(report, folder)

    monkeypatch.setattr(AuditReport, "save", interrupted_once)
    assert cli.main(["demo", "--output", "out"]) == 130
    assert capsys.readouterr().err == "Interrupted.\nEverything was measured; the report lies in out.\n"
    assert vaeaudit.load("out") == stub.report


def _on_terminal(arguments: list[str]) -> str:
    """What a command that passes shows on a standard error that is a terminal."""
    pty = pytest.importorskip("pty")
    mine, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as reader:  # a terminal that nobody reads would soon hold up who writes to it
        seen = reader.submit(_read_until_closed, mine)
        with os.fdopen(theirs, "w") as stream, contextlib.redirect_stderr(stream):
            assert cli.main(arguments) == 0
    return seen.result().decode()


def _read_until_closed(terminal: int) -> bytes:
    """All that is written to a terminal, in pieces that may end within a character."""
    pieces = []
    with os.fdopen(terminal, "rb", buffering=0) as stream, contextlib.suppress(OSError):  # how Linux says it is closed
        while piece := stream.read(2**16):
            pieces.append(piece)
    return b"".join(pieces)


def test_a_terminal_shows_progress_and_is_left_clean(stub: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    stub.shown, stub.steps = True, (("targeted attack", 25, 50),)
    seen = _on_terminal(["demo"])
    assert "targeted attack" in seen
    assert "25/50" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert seen.endswith("\x1b[2K")


@pytest.mark.parametrize(("patience", "arguments"), [(0.0, ["--quiet"]), (1e6, [])])
def test_a_terminal_stays_empty_if_quiet_or_quick(
    stub: Audit, monkeypatch: pytest.MonkeyPatch, patience: float, arguments: list[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    stub.steps = (("targeted attack", 25, 50),)
    assert _on_terminal(["demo", *arguments]) == ""


def test_a_pipe_shows_no_progress_even_where_colour_is_forced(
    stub: Audit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    stub.steps = (("targeted attack", 25, 50),)
    assert cli.main(["demo"]) == 0
    assert capsys.readouterr().err == ""


LIGHT = ("--version", "demo --help", "check {} --at-least hinge=0.3", "show {}", "compare {} {}", "leaderboard {}")


def test_what_needs_no_model_and_names_and_cards_of_the_zoo_do_not_import_torch(saved: Path) -> None:
    """All in one process: what one of them had imported would be there after it."""
    code = """
import shlex, sys, vaeaudit.cli
from vaeaudit import zoo

def note(*what):
    print(*what, *sorted({"torch", "torchvision", "matplotlib"} & set(sys.modules)), file=sys.stderr)

zoo.card(zoo.names()[0])
note("zoo")
for command in map(shlex.split, sys.argv[1:]):
    try:
        status = vaeaudit.cli.main(command)
    except SystemExit as left:
        status = left.code
    note(command[0], status)
"""
    place = shlex.quote(str(saved))
    commands = [command.format(place, place) for command in LIGHT]
    found = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=True)
    assert found.stderr.splitlines() == ["zoo", *(f"{command.split()[0]} 0" for command in LIGHT)]


INTERRUPTING = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10**9):
        pass
except BaseException:
    raise ImportError("half a module")
"""
"""A package that is interrupted while it is imported, and makes something else of it."""


@pytest.mark.parametrize(
    ("package", "command"), [("rich", "check"), ("numpy", "check"), ("torch", "demo"), ("torch", "run")]
)
def test_an_interrupt_during_an_import_leaves_quietly(tmp_path: Path, package: str, command: str) -> None:
    (tmp_path / f"{package}.py").write_text(INTERRUPTING)
    (tmp_path / "audit.toml").write_text(ZOO_TOML)
    arguments = {"check": ["check", "r", "--at-least", "hinge=0"], "demo": ["demo"], "run": ["run", "audit.toml"]}
    found = subprocess.run(
        [sys.executable, "-m", "vaeaudit", *arguments[command]],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (cli.INTERRUPTED, "", "")


def test_a_handler_of_ones_own_is_left_alone_and_the_usual_one_put_back() -> None:
    import signal

    from vaeaudit.interrupts import leave_at_once

    usual = signal.getsignal(signal.SIGINT)
    with leave_at_once():
        assert signal.getsignal(signal.SIGINT) is not usual
    assert signal.getsignal(signal.SIGINT) is usual
    own = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGINT, own)
    try:
        with leave_at_once():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, usual)
