"""What the pytest plugin costs a session that does not use it, as a ratio to bare pytest.

    python benchmarks/startup.py [--runs 20] [--tests 1000]

Sessions of pytest in a temporary folder, in turns without and with the plugin, all other third-party plugins
off in both. Printed as a markdown table: medians, the ratio of medians (with / without), and its 95 % interval,
bootstrapped over the turns. Then which modules the plugin loads, and whether torch or vaeaudit is among them;
if so, the exit status is 1. About a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

PLUGIN = ("-p", "pytest_vaeaudit.plugin")
HEAVY = ("torch", "vaeaudit", "numpy")
LIST_MODULES = """\
import atexit, json, pathlib, sys

atexit.register(lambda: pathlib.Path("modules.json").write_text(json.dumps(sorted(sys.modules))))
"""


def run_pytest(folder: Path, *arguments: str) -> float:
    """Seconds that one session takes, from the start of the interpreter to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds


def in_turns(folder: Path, arguments: tuple[str, ...], runs: int) -> np.ndarray:
    """Seconds without and with the plugin, `(runs, 2)`; who goes first alternates, and a first turn is dropped."""
    seconds = np.empty((runs + 1, 2))
    for turn in range(runs + 1):
        for arm in (0, 1) if turn % 2 else (1, 0):
            seconds[turn, arm] = run_pytest(folder, *arguments, *(PLUGIN if arm else ()))
    return seconds[1:]


def ratio_interval(seconds: np.ndarray, draws: int = 10_000) -> tuple[float, float, float]:
    """Ratio of medians, with / without, and its 95 % interval over resampled turns."""
    turns = np.random.default_rng(0).integers(len(seconds), size=(draws, len(seconds)))
    bare, loaded = np.median(seconds[turns], axis=1).T
    low, high = np.quantile(loaded / bare, [0.025, 0.975])
    bare, loaded = np.median(seconds, axis=0)
    return loaded / bare, low, high


def write_tests(folder: Path, tests: int) -> Path:
    """A project of so many trivial tests."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_trivial.py").write_text("".join(f"def test_{i}(): pass\n" for i in range(tests)))
    return folder


def modules_loaded(folder: Path, *arguments: str) -> set[str]:
    """Modules in memory when a session ends."""
    (folder / "conftest.py").write_text(LIST_MODULES)
    run_pytest(folder, *arguments)
    return set(json.loads((folder / "modules.json").read_text()))


def print_row(label: str, seconds: np.ndarray) -> None:
    bare, loaded = 1e3 * np.median(seconds, axis=0)
    ratio, low, high = ratio_interval(seconds)
    print(f"| {label} | {bare:.0f} ms | {loaded:.0f} ms | {ratio:.3f} | {low:.3f} to {high:.3f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="turns of each kind of session (default: 20)")
    parser.add_argument("--tests", type=int, default=1000, help="tests of the larger project (default: 1000)")
    options = parser.parse_args()

    print(f"pytest {pytest.__version__}, Python {platform.python_version()}, {platform.machine()}, "
          f"{options.runs} turns each\n")  # fmt: skip
    print("| session | bare pytest | with the plugin | ratio | 95 % interval |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        one = write_tests(Path(temporary) / "one", 1)
        many = write_tests(Path(temporary) / "many", options.tests)
        tests = f"{options.tests:,} trivial tests"
        for label, folder, arguments in (
            ("`pytest --version`", one, ("--version",)),
            ("one trivial test", one, ()),
            (f"collect {tests}", many, ("--collect-only",)),
            (f"run {tests}", many, ()),
        ):
            print_row(label, in_turns(folder, arguments, options.runs))
        extra = modules_loaded(one, *PLUGIN) - modules_loaded(one)

    print(f"\nmodules that only the plugin loads ({len(extra)}): {', '.join(sorted(extra))}")
    loaded = {name for name in HEAVY if name in extra}
    print("; ".join(f"{name} imported: {'YES' if name in loaded else 'no'}" for name in HEAVY))
    return 1 if loaded else 0


if __name__ == "__main__":
    sys.exit(main())
