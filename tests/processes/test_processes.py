"""Real processes that torchrun starts: they come to the report of one, through kills, errors and differences."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaeaudit
from vaeaudit import cli, spec
from vaeaudit.commands import measuring
from vaeaudit.config import read_audit_file
from vaeaudit.processes.ranks import Ranks

ROOT = Path(__file__).parents[2]
SUBJECT = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests" / "determinism")!r})
from curved import SHORT, Curved, images
from vaeaudit import spec
from vaeaudit.checkpoint import Checkpoint
from vaeaudit.processes.torchrun import Attempt

RANK, ATTEMPT = os.environ.get("RANK"), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
LOG = Path(__file__).parent / "rows.log"
keep, measured = Checkpoint._keep, Checkpoint.measured

def note(*words):
    handle = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, (" ".join(words) + "\\n").encode())
    os.close(handle)

def in_small_chunks(self, name, rows, *measures, size, **others):
    return measured(self, name, rows, *measures, size=min(size, 2), **others)

def noting(self, name, key, rows, arrays):
    keep(self, name, key, rows, arrays)
    for row in rows:
        note("kept", RANK, ATTEMPT, name, key, row)
    if name == "damage" and (RANK, ATTEMPT) == ("1", "0") and "VICTIM" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)

def Model():
    note("made", RANK or "alone", ATTEMPT, *map(str, vars(Attempt.read()).values()))
    return Curved().eval()

if RANK is not None:
    spec.PRESETS["quick"] = SHORT
    Checkpoint._keep, Checkpoint.measured = noting, in_small_chunks
"""
AUDIT = """
model = "shared_subject:Model"
data = "shared_subject:images"
preset = "quick"
pairs = 8
strengths = [0.01, 0.1, 1.0, 10.0, 100.0]
[thresholds]
hinge.at_least = 0.9999
"""
SCRIPT = """
import dataclasses, json, os
from pathlib import Path
import torch
import vaeaudit
from shared_subject import SHORT, Curved, images
from vaeaudit import spec

spec.PRESETS["quick"] = dataclasses.replace(SHORT, jacobian_rows=0)
HERE = Path(__file__).parent
OPTIONS = {"preset": "quick", "pairs": 4, "strengths": [0.01, 0.1, 1.0, 10.0, 100.0]}
rank = int(os.environ["RANK"])
torch.distributed.init_process_group("gloo", init_method=(HERE / "meeting").as_uri(), rank=rank, world_size=2)
said, steps = {}, []

with vaeaudit.together() as ranks:
    report = vaeaudit.audit(Curved().eval(), images(), ranks=ranks, progress=lambda *step: steps.append(step), **OPTIONS)
said["report"], said["steps"] = report.to_dict(), len(steps)

def ended(name, model, fails=False):
    try:
        with vaeaudit.together() as ranks:
            if fails:
                raise vaeaudit.DataError("no images on this machine")
            vaeaudit.audit(model, images(), ranks=ranks, **OPTIONS)
    except vaeaudit.AuditError as error:
        said[name] = f"{type(error).__name__}: {error}"

other = Curved().eval()
if rank == 1:
    with torch.no_grad():
        other.sheet.mul_(1.01)
ended("other weights", other)
ended("failed", Curved().eval(), fails=rank == 1)

alone = torch.distributed.new_group([1])
try:
    with vaeaudit.together(alone) as ranks:
        said["alone"] = ranks.size
except vaeaudit.OptionError as error:
    said["alone"] = str(error)
try:
    with vaeaudit.together() as ranks:
        ranks.meet()
        if rank == 1:
            (HERE / "said-1.json").write_text(json.dumps(said))
            os._exit(0)
        ranks.meet()
except vaeaudit.RanksError as error:
    said["gone"] = str(error)
(HERE / "said-0.json").write_text(json.dumps(said))
os._exit(0)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With a model, an audit file and a script; the model's module can be imported here, and is not left behind."""
    for name, text in (("shared_subject.py", SUBJECT), ("audit.toml", AUDIT), ("script.py", SCRIPT)):
        (tmp_path / name).write_text(text)
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "determinism"))
    monkeypatch.setitem(spec.PRESETS, "quick", importlib.import_module("curved").SHORT)
    yield tmp_path
    for name in ("shared_subject", "curved"):
        sys.modules.pop(name, None)


def _environment(**variables: str) -> dict[str, str]:
    """Of a user's processes; none of the variables of this one are theirs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # without PYTORCH_JIT=0, torch compiles derivatives for two seconds, which these models have no use for
    environment |= {"OMP_NUM_THREADS": "1", "PYTORCH_JIT": "0", **variables}
    if (ROOT / "pyproject.toml").exists():  # a source tree; what is installed is found without
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    return environment


def _torchrun(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Two processes, as a user starts them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    return subprocess.run(
        [*command, "--rdzv-endpoint=localhost:0", *arguments], cwd=folder, env=_environment(**variables),
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def _two(folder: Path, script: str) -> list[tuple[int, str]]:
    """Exit status and errors of two processes that find each other by the script's own doing."""
    started = [
        subprocess.Popen(
            [sys.executable, script], cwd=folder, env=_environment(RANK=rank), stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    try:
        return [(process.returncode, said) for process in started for _, said in [process.communicate(timeout=300)]]
    finally:
        for process in started:
            process.kill()


def _without_clocks(report: dict[str, Any]) -> str:
    """As text, in which what is not a number equals itself."""
    source = {key: value for key, value in report["provenance"].items() if key not in ("seconds", "work")}
    return json.dumps({**report, "provenance": source})


def test_a_killed_process_is_started_again_and_all_come_to_the_report_of_one(folder: Path) -> None:
    """Rank 1 dies after the first chunk of the untargeted attack; the second attempt, which is the last, fails its bar."""
    found = _torchrun(
        folder, "--max-restarts=1", "--rdzv-id=a-run", "-m", "vaeaudit", "run", "audit.toml", "--output=shared", "--quiet",
        VICTIM="1",
    )  # fmt: skip
    assert found.returncode == 1, found.stderr
    assert [line.split()[:2] for line in found.stdout.splitlines()] == [["FAIL", "hinge"]]
    notes = [line.split() for line in (folder / "rows.log").read_text().splitlines()]
    made = Counter(tuple(words) for word, *words in notes if word == "made")
    assert made == {(rank, attempt, "a-run", attempt, "1"): 1 for rank in "01" for attempt in "01"}
    kept = Counter(tuple(row) for word, _, _, *row in notes if word == "kept")
    assert kept
    assert set(kept.values()) == {1}, "a row was measured again"
    assert {rank for word, rank, attempt, *_ in notes if word == "kept" and attempt == "1"} == {"0", "1"}
    assert {path.name for path in (folder / "shared").iterdir()} == {"report.json", "report.html", "arrays.npz"}

    assert cli.main(["run", str(folder / "audit.toml"), "--output", str(folder / "single"), "--quiet"]) == 1
    shared, single = (vaeaudit.load(folder / name).to_dict() for name in ("shared", "single"))
    assert _without_clocks(shared) == _without_clocks(single)


def test_a_verdict_that_torchrun_starts_again_is_repeated_and_nothing_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = [3]
    monkeypatch.setattr(measuring, "_measured", lambda *_: statuses.pop())
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a-run")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    file, found = read_audit_file(folder / "audit.toml"), []
    for attempt in "012":
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        found.append(measuring._measured_once(file, folder / "report", argparse.Namespace(), Ranks()))
    assert found == [3, 3, 3]
    assert capsys.readouterr().err.count("an audit again that has its verdict: exit status 3, as before") == 2
    assert list((folder / "report").iterdir()) == []


def test_a_script_with_a_process_group_of_its_own_shares_an_audit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without spectra, for which torch imports its compiler, some seconds in each process; the audit above has them."""
    short = spec.PRESETS["quick"]
    monkeypatch.setitem(spec.PRESETS, "quick", dataclasses.replace(short, jacobian_rows=0))
    for status, said in _two(folder, "script.py"):
        assert status == 0, said
    first, second = (json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1))
    curved = importlib.import_module("curved")
    alone = curved.audited(pairs=4, strengths=[0.01, 0.1, 1.0, 10.0, 100.0]).to_dict()
    assert first["report"] == second["report"]
    assert _without_clocks(first["report"]) == _without_clocks(alone)
    work = "untargeted attack"
    assert first["report"]["provenance"]["work"][work]["gradients"] > 0
    assert first["steps"] > 0
    assert second["steps"] == 0
    assert first["other weights"] == second["other weights"]
    assert "RanksError: the processes do not measure the same: they differ in behaviour" in first["other weights"]
    assert "weights (rank 0 and 1); start the same audit everywhere" in first["other weights"]
    assert second["failed"] == "DataError: no images on this machine"
    assert first["failed"].endswith("another process, rank 1: DataError: no images on this machine")
    assert first["gone"].startswith("a process of this audit is gone (")
    assert second["alone"] == 1
    assert first["alone"] == "rank 0 is not in the group; only the processes of a group share its audit"
