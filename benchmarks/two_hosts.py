"""One audit on two hosts: two network namespaces with a wire between them, each with its own torchrun and folder.

    sudo python benchmarks/two_hosts.py [--processes 2] [--pairs 8]

The audit of a bundled model is measured by one process, then by two hosts with so many processes each, and once more
while a process of the second host is killed with SIGKILL as soon as it has kept its first rows: torchrun's elastic
agents start all of them again, and the audit goes on. The hosts share neither network devices nor a folder.
Printed are seconds and how far each report lies from that of the single process, the largest difference of a score's value
or interval as a share of it. The exit status is 1 if that is more than rounding, or if anything was left behind on the
second host. Needs root and iproute2.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import vaeaudit

AUDIT = """
model = "zoo:mnist-vae"
data = "zoo:mnist-vae"
preset = "quick"
pairs = {pairs}
strengths = 8
output = "report"
"""
ROUNDING = 1e-4
"""Of a score: what float32 leaves of it behind some hundred steps of an optimiser."""
_PORT = 29_400
_PATIENCE = 1800.0
_ADDRESSES = ("10.77.0.1", "10.77.0.2")
_WIRE = "vaeaudit0"


@dataclass(frozen=True, kw_only=True)
class Host:
    """A network namespace that stands for a machine.

    Attributes:
        name: of the namespace.
        address: on the wire.
        folder: its disk.
    """

    name: str
    address: str
    folder: Path

    def start(self, processes: int, rank: int) -> subprocess.Popen[str]:
        """Start torchrun there, as docs/distributed.md says."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": _WIRE}
        command = [
            "ip", "netns", "exec", self.name, sys.executable, "-m", "torch.distributed.run", "--nnodes=2",
            f"--nproc-per-node={processes}", "--max-restarts=2", "--rdzv-backend=c10d",
            f"--rdzv-endpoint={_ADDRESSES[0]}:{_PORT}", "--rdzv-id=two-hosts", f"--local-addr={self.address}",
            f"--rdzv-conf=is_host={int(rank == 0)}",  # a namespace has a device of that address, and no name for it

            "-m", "vaeaudit", "run", "audit.toml", "--quiet",
        ]  # fmt: skip
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def main() -> int:
    """Run the audits and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2, help="on each host (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="that are attacked (default: %(default)s)")
    options = parser.parse_args()
    if (missing := why_not()) is not None:
        print(f"not run: {missing}")
        return 0
    with tempfile.TemporaryDirectory() as place:
        return compare(Path(place), options.processes, options.pairs)


def why_not() -> str | None:
    """What is missing to make network namespaces; None where nothing is."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    made = subprocess.run(["ip", "netns", "add", "vaeaudit-trial"], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces cannot be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", "vaeaudit-trial"], check=True)
    return None


def compare(place: Path, processes: int, pairs: int) -> int:
    """Audit in the three ways, one line of a table each."""
    print("| hosts | processes | killed | seconds | farthest from the single process | left on the second host |")
    print("|---|---|---|---|---|---|")
    began = time.perf_counter()
    single = prepare(place / "single", pairs)
    command = [sys.executable, "-m", "vaeaudit", "run", "audit.toml", "--quiet"]
    subprocess.run(command, cwd=single, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    print(f"| 1 | 1 | no | {time.perf_counter() - began:.0f} | – | – |", flush=True)
    wrong = 0
    for kill in (False, True):
        began = time.perf_counter()
        folders = [prepare(place / f"{name}-{kill}", pairs) for name in ("first", "second")]
        with wired(folders) as hosts:
            run(hosts, processes, kill=kill)
        apart = farthest(vaeaudit.load(single / "report"), vaeaudit.load(folders[0] / "report"))
        left = sorted(path.name for path in folders[1].iterdir() if path.name != "audit.toml")
        wrong += apart > ROUNDING or bool(left)
        seconds = time.perf_counter() - began
        print(
            f"| 2 | {2 * processes} | {'yes' if kill else 'no'} | {seconds:.0f} | {apart:.1g} | {left or 'nothing'} |",
            flush=True,
        )
    return int(wrong > 0)


def prepare(folder: Path, pairs: int) -> Path:
    """A host's disk, with an audit file on it."""
    folder.mkdir()
    (folder / "audit.toml").write_text(AUDIT.format(pairs=pairs))
    return folder


@contextlib.contextmanager
def wired(folders: list[Path]) -> Iterator[list[Host]]:
    """Two hosts with a wire between them, which are taken down afterwards."""
    names = [f"vaeaudit-{os.getpid()}-{number}" for number in range(2)]
    hosts = [Host(name=name, address=address, folder=folder)
             for name, address, folder in zip(names, _ADDRESSES, folders, strict=True)]  # fmt: skip
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", _WIRE, "netns", names[0], "type", "veth", "peer", "name", _WIRE, "netns", names[1])
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", _WIRE)
            for device in ("lo", _WIRE):
                _ip("-n", host.name, "link", "set", device, "up")
        yield hosts
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def run(hosts: list[Host], processes: int, *, kill: bool) -> None:
    """Audit on both hosts to the end.

    Raises:
        RuntimeError: torchrun ended badly on one of them.
    """
    launched = [host.start(processes, rank) for rank, host in enumerate(hosts)]
    try:
        if kill:
            kill_one(hosts[1], launched[1])
        said = [process.communicate(timeout=_PATIENCE)[0] for process in launched]
    finally:
        for process in launched:
            process.kill()
    for host, process, words in zip(hosts, launched, said, strict=True):
        if process.returncode:
            raise RuntimeError(f"torchrun ended with status {process.returncode} on {host.name}:\n{words}")


def kill_one(host: Host, launched: subprocess.Popen[str]) -> None:
    """Kill a process that torchrun has started, as soon as one of them has kept rows."""
    while not any((host.folder / "report" / "partial").glob("*.npz")):
        if launched.poll() is not None:
            return
        time.sleep(0.01)
    children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"vaeaudit" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(workers[-1], signal.SIGKILL)


def farthest(one: vaeaudit.AuditReport, other: vaeaudit.AuditReport) -> float:
    """Largest difference of two reports' scores and their intervals, as a share of the score."""
    scores = other.scores()
    return max(
        abs(getattr(score, end) - getattr(scores[name], end)) / max(abs(score.value), 1e-12)
        for name, score in one.scores().items()
        for end in ("value", "low", "high")
        if np.isfinite(getattr(score, end))
    )


if __name__ == "__main__":
    sys.exit(main())
