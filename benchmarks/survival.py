"""What a killed audit loses: `vaeaudit run` and pytest with the plugin, killed at random moments until enough have died.

    python benchmarks/survival.py [--kills 50] [--seed 0] [--face run|pytest|both]

A small model is audited to the end once without being disturbed. Then the same audit is started again and again in a
fresh folder, killed with SIGKILL after a random time, and started anew in what it left behind, until it comes to its
end. The model's module writes down which rows are begun and which of them were kept. Printed as a markdown
table: how many processes were killed, and where; rows that were kept before a kill and measured again, which should
be none; most chunks that a kill took with it, which should be the one under way; files that cannot be read; and
reports that differ from the undisturbed one in any bit, but for the time they took. The exit status is 1 if anything
was lost. About ten seconds a kill.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import vaeaudit
from vaeaudit.arrays import read_arrays

FACES = ("run", "pytest")
_PATIENCE = 600.0
_LOG = "rows.log"
_HEADER = "| face | killed | at start / measuring / end | runs | measured again | most lost | half files | differ |"
SUBJECT = """
import dataclasses, hashlib, os
from pathlib import Path
import torch
from torch import nn
from vaeaudit import spec
from vaeaudit.checkpoint import Checkpoint

spec.PRESETS["quick"] = dataclasses.replace(spec.PRESETS["quick"], **{quick})

LOG = Path(__file__).parent / "rows.log"

def note(*words):
    handle = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, (" ".join(map(str, (os.getpid(), *words))) + "\\n").encode())
    os.close(handle)

keep, measured = Checkpoint._keep, Checkpoint.measured

def observed(self, name, rows, *measures, size, settings, **others):
    self.observed = name + "-" + hashlib.sha256(repr((self.key, settings)).encode()).hexdigest()[:12]
    def watched(measure):
        def noting(chunk):
            note("started", self.observed, *(rows[i] for i in chunk))
            return measure(chunk)
        return noting
    few = min(size, {chunk})
    return measured(self, name, rows, *map(watched, measures), size=few, settings=settings, **others)

def observed_keep(self, name, key, rows, arrays):
    keep(self, name, key, rows, arrays)
    note("kept", self.observed, *rows)

Checkpoint.measured, Checkpoint._keep = observed, observed_keep
note("began")

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.down = nn.Parameter(torch.randn({inputs}, 5, generator=generator) / {inputs} ** 0.5)
        self.up = nn.Parameter(torch.randn(5, {inputs}, generator=generator) / 5**0.5)
    def encode(self, images):
        mean = 3 * torch.tanh(images.flatten(1) @ self.down)
        return mean, -3 - mean.square() / 9
    def decode(self, latents):
        return torch.sigmoid(latents @ self.up).view(-1, 1, {inputs} // 64, 64)

def images():
    return torch.rand({images}, 1, {inputs} // 64, 64, generator=torch.Generator().manual_seed(1))
"""
AUDIT = """
model = "subject:Model"
data = "subject:images"
preset = "quick"
pairs = {pairs}
strengths = {strengths}
output = "report"
"""
TEST = """
import sys
sys.path.insert(0, {folder!r})
from subject import Model, images

def test_model(vae_audit):
    vae_audit(Model(), images(), preset="quick", pairs={pairs}, max_pairs={pairs}, strengths={strengths}, seed=0)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """How large the audits are.

    Attributes:
        inputs: numbers in an image, a multiple of 64.
        images: that there are.
        pairs: that are attacked.
        strengths: of the series of C.
        chunk: most rows that are measured at once; fewer than the library would take, so that there are many chunks.
        quick: settings of the preset `quick` that are other than usual.
    """

    inputs: int = 256
    images: int = 40
    pairs: int = 24
    strengths: int = 10
    chunk: int = 4
    quick: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Tally:
    """What came of the kills.

    Attributes:
        killed: processes that died.
        phases: how many of them before the model was made, while rows were measured, and after the last.
        runs: audits that were brought to their end.
        again: rows that were kept before a kill and measured after it.
        lost: most chunks that were begun and not kept when a process died.
        half: files that were not whole after a kill.
        differ: reports that are not the undisturbed one.
        said: output of processes that ended by themselves, and not well.
    """

    killed: int = 0
    phases: Counter[str] = dataclasses.field(default_factory=Counter)
    runs: int = 0
    again: int = 0
    lost: int = 0
    half: int = 0
    differ: int = 0
    said: list[str] = dataclasses.field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether nothing was lost but what was under way."""
        return not (self.again or self.lost > 1 or self.half or self.differ or self.said)

    def row(self, face: str) -> str:
        """A row of the table."""
        phases = " / ".join(str(self.phases[phase]) for phase in ("start", "measuring", "end"))
        figures = (self.killed, phases, self.runs, self.again, self.lost, self.half, self.differ)
        return f"| {face} | {' | '.join(map(str, figures))} |"


def prepare(folder: Path, size: Size) -> None:
    """Write the model, the audit file and the test into a fresh folder."""
    folder.mkdir()
    (folder / "subject.py").write_text(
        SUBJECT.replace("{inputs}", str(size.inputs))
        .replace("{images}", str(size.images))
        .replace("{chunk}", str(size.chunk))
        .replace("{quick}", repr(dict(size.quick)))
    )
    settings = {"pairs": size.pairs, "strengths": size.strengths}
    (folder / "audit.toml").write_text(AUDIT.format(**settings))
    (folder / "test_subject.py").write_text(TEST.format(folder=str(folder), **settings))


def start(folder: Path, face: str) -> subprocess.Popen[str]:
    """Start the audit of a folder in a process group of its own."""
    plain = ("-m", "pytest", "-q", "-p", "pytest_vaeaudit.plugin", "--rootdir=.", "test_subject.py")
    command = [sys.executable, *(("-m", "vaeaudit", "run", "audit.toml", "--quiet") if face == "run" else plain)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    root = Path(vaeaudit.__file__).parents[1]
    if (root / "pyproject.toml").exists():  # a source tree; what is installed is found without
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def reports_in(folder: Path, face: str) -> list[Path]:
    """The finished report of an audit, if it is there: what came after it is not worth a row."""
    pattern = "report/report.json" if face == "run" else ".pytest_cache/d/vaeaudit/*/*-pairs/report.json"
    return list(folder.glob(pattern))


def report_of(folder: Path, face: str) -> vaeaudit.AuditReport:
    """The report that an audit left, without what clocks say."""
    (file,) = reports_in(folder, face)
    report = vaeaudit.load(file)
    return dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, seconds={}, work={}))


def undisturbed(folder: Path, face: str, size: Size) -> tuple[vaeaudit.AuditReport, float, float]:
    """The report of an audit that nobody kills; seconds until its model is made, and until its end."""
    prepare(folder, size)
    began = time.perf_counter()
    process = start(folder, face)
    while not (folder / _LOG).exists() and process.poll() is None:
        time.sleep(0.01)
    made = time.perf_counter() - began
    said, _ = process.communicate(timeout=_PATIENCE)
    if process.returncode:
        sys.exit(f"the undisturbed audit ended with {process.returncode}:\n{said}")
    return report_of(folder, face), made, time.perf_counter() - began


def killed_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process group when its time is up; False if it has ended before."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def half_files(folder: Path) -> int:
    """Files, of those that have their final names, that cannot be read."""
    bad = 0
    for path in folder.rglob("*.npz"):
        try:
            read_arrays(path)
        except ValueError:
            bad += 1
    for path in folder.rglob("report.json"):
        try:
            vaeaudit.load(path)
        except vaeaudit.ReportError:
            bad += 1
    return bad


def chunks_of(folder: Path) -> dict[int, dict[str, list[set[str]]]]:
    """Chunks of rows that each process began and kept, by process in the order of their start."""
    found: dict[int, dict[str, list[set[str]]]] = {}
    lines = (folder / _LOG).read_text().splitlines() if (folder / _LOG).exists() else []
    for process, what, *words in map(str.split, lines):
        chunks = found.setdefault(int(process), {"started": [], "kept": []})
        if what != "began":
            chunks[what].append({f"{words[0]} {row}" for row in words[1:]})
    return found


def measured_again(folder: Path) -> int:
    """Rows that one process had kept and a later one began."""
    kept: set[str] = set()
    again = 0
    for chunks in chunks_of(folder).values():
        again += len(kept & set().union(*chunks["started"]))
        kept = kept.union(*chunks["kept"])
    return again


def brought_to_its_end(
    folder: Path,
    face: str,
    size: Size,
    tally: Tally,
    moments: np.random.Generator,
    span: tuple[float, float],
    most: int,
) -> None:
    """Start an audit, kill it at random moments, and start it again until it ends; at most so many kills."""
    prepare(folder, size)
    made, end = span
    for _ in range(most):
        process = start(folder, face)
        # one in eight while packages are imported; resumed runs are shorter, so early moments are as likely as late
        early = moments.random() < 1 / 8
        latest = made + (end - made) * moments.random()
        if not killed_after(process, moments.uniform(0, made) if early else moments.uniform(made, latest)):
            break
        _note_kill(folder, tally, process.pid)
        if reports_in(folder, face):
            break
    else:
        process = start(folder, face)
    said, _ = process.communicate(timeout=_PATIENCE)
    tally.runs += 1
    if process.returncode and not reports_in(folder, face):
        tally.said.append(f"ended with {process.returncode}:\n{said}")
    tally.again += measured_again(folder)


def _note_kill(folder: Path, tally: Tally, process: int) -> None:
    tally.killed += 1
    tally.half += half_files(folder)
    chunks = chunks_of(folder)
    if process not in chunks:
        tally.phases["start"] += 1
        return
    mine = chunks[process]
    tally.lost = max(tally.lost, len(mine["started"]) - len(mine["kept"]))
    tally.phases["end" if any(folder.rglob("report.json")) else "measuring"] += 1


def stress(face: str, kills: int, seed: int, size: Size | None = None, progress: bool = False) -> Tally:
    """Kill audits until enough have died.

    Args:
        face: "run" for `vaeaudit run`, "pytest" for the plugin.
        kills: how many.
        seed: of the moments.
        size: of the audits.
        progress: whether to say how far it is.
    """
    size, tally, moments = size or Size(), Tally(), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        whole, *span = undisturbed(Path(place) / "whole", face, size)
        while tally.killed < kills and not tally.said:
            folder = Path(place) / str(tally.runs)
            brought_to_its_end(folder, face, size, tally, moments, (span[0], span[1]), kills - tally.killed)
            if not tally.said and report_of(folder, face) != whole:
                tally.differ += 1
            if progress:
                print(f"{face}: {tally.killed} of {kills} killed", file=sys.stderr, flush=True)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of each face")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--face", choices=(*FACES, "both"), default="both")
    options = parser.parse_args()
    faces = FACES if options.face == "both" else (options.face,)
    tallies = {face: stress(face, options.kills, options.seed, progress=True) for face in faces}
    print(_HEADER, "|---" * _HEADER.count(" |") + "|", sep="\n")
    for face, tally in tallies.items():
        print(tally.row(face))
        for said in tally.said:
            print(said, file=sys.stderr)
    return 0 if all(tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
