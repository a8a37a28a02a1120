"""Full disks, folders that are gone or held by another, models that fail in the middle: what was finished is safe."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import vaeaudit
from vaeaudit import AuditReport, Autoencoder, ModelError, StorageError, cli
from vaeaudit.arrays import read_arrays, write_arrays
from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.commands import statuses
from vaeaudit.files import alone_in, write_atomically
from vaeaudit.report.codec import equal

MakeReport = Callable[..., AuditReport]
ROOT = Path(vaeaudit.__file__).parents[1]
ENVIRONMENT = {**os.environ, **({"PYTHONPATH": str(ROOT)} if (ROOT / "pyproject.toml").exists() else {})}
ROWS = [f"row {i}" for i in range(12)]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Rows:
    """Measures rows, and writes down which."""

    def __init__(self, before: Callable[[int], object] = lambda chunk: None, numbers: int = 4) -> None:
        self.made: list[int] = []
        self.before = before
        self.numbers = numbers

    def __call__(self, chunk: Any) -> Arrays:
        self.before(len(self.made))
        self.made += chunk.tolist()
        return {"gap": np.random.default_rng(chunk[0]).random((len(chunk), self.numbers))}


def measured(folder: Path, measure: Any) -> Arrays:
    return Checkpoint(folder, {"seed": 0}).measured(
        "curves", ROWS, measure, size=3, settings={}, progress=lambda *_: None
    )


def scraps(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_disk_that_is_full_stops_with_what_is_safe_and_the_next_call_goes_on(tmp_path: Path) -> None:
    """The third chunk finds no room; its rows are the only ones measured again."""
    room = [10**6, 10**6, 100, 100]
    limits = iter(room)
    measure = Rows(lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (next(limits), -1)))
    with (
        files_of_at_most(10**6),
        pytest.raises(StorageError, match=r"File too large.*finished before is safe in .*rows"),
    ):
        measured(tmp_path / "rows", measure)
    assert measure.made == list(range(9))
    assert scraps(tmp_path / "rows") == []
    again = Rows()
    np.testing.assert_array_equal(
        measured(tmp_path / "rows", again)["gap"], measured(tmp_path / "elsewhere", Rows())["gap"]
    )
    assert again.made == list(range(6, 12))


def test_a_real_disk_without_room(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with pytest.raises(StorageError, match=r"No space left on device.*is safe in"):
            measured(place / "rows", Rows(numbers=5000))
        assert scraps(place / "rows") == []
        kept = len(list((place / "rows").glob("*.npz")))
        assert kept == 2
        again = Rows(numbers=5000)
        with pytest.raises(StorageError, match="No space left on device"):
            measured(place / "rows", again)
        assert again.made == [6, 7, 8]
    finally:
        subprocess.run(["umount", str(place)], check=False)


def test_arrays_are_written_without_being_packed_in_memory_first(tmp_path: Path) -> None:
    arrays = {"rows": np.zeros(2**23)}
    tracemalloc.start()
    try:
        write_arrays(tmp_path / "arrays.npz", arrays)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < arrays["rows"].nbytes
    assert (tmp_path / "arrays.npz").stat().st_size > arrays["rows"].nbytes


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("room", [10, 1000, 200_000])
def test_arrays_that_a_full_disk_cuts_short_leave_the_older_file_and_nothing_to_complain_of(
    tmp_path: Path, room: int, compressed: bool
) -> None:
    path, rows = tmp_path / "arrays.npz", np.random.default_rng(0).random((3, 20_000))
    write_arrays(path, {"rows": rows[:, :5]})
    with (
        files_of_at_most(room),
        pytest.raises(StorageError, match="File too large; what lay there before is as it was"),
    ):
        write_arrays(path, {"rows": rows, "more": rows}, compressed=compressed)
    gc.collect()
    np.testing.assert_array_equal(read_arrays(path)["rows"], rows[:, :5])
    assert scraps(tmp_path) == []


def test_a_ctrl_c_while_arrays_are_written_leaves_nothing_to_complain_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(file: Any, array: Any, **_: Any) -> None:
        file.write(b"some of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_arrays(tmp_path / "arrays.npz", {"rows": np.zeros(3)})
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/rows", "/proc/nowhere"])
def test_a_folder_that_cannot_be_made_is_said_before_anything_is_measured(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    measure = Rows()
    with pytest.raises(StorageError, match="nothing can be written to the folder"):
        measured(tmp_path / place, measure)
    assert measure.made == []


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "rows"

    def vanish(made: int) -> None:
        if made == 6:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    measured(folder, Rows(vanish))
    again = Rows()
    measured(folder, again)
    assert again.made == list(range(6))


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    code = f"""
    import sys, time
    import numpy as np
    from pathlib import Path
    from vaeaudit.checkpoint import Checkpoint
    place = Path({str(tmp_path)!r})
    (place / f"ready{{sys.argv[1]}}").touch()
    while len(list(place.glob("ready*"))) < 3:
        time.sleep(0.01)
    for turn in range(5):
        found = Checkpoint(place / "rows", {{"seed": 0, "turn": turn}}).measured(
            "curves", [f"row {{i}}" for i in range(30)], lambda chunk: {{"gap": np.ones((len(chunk), 500)) * chunk[:, None]}},
            size=int(sys.argv[1]), settings={{}}, progress=lambda *_: None)
        assert (found["gap"] == np.arange(30)[:, None]).all()
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    processes = [
        subprocess.Popen([*command, str(n)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for n in (1, 2, 3)
    ]
    assert [process.communicate(timeout=200)[1] for process in processes] == [""] * 3
    assert scraps(tmp_path / "rows") == []


def test_a_write_that_is_killed_at_any_moment_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    code = f"""
    from pathlib import Path
    from vaeaudit.files import write_atomically
    path = Path({str(tmp_path / "file")!r})
    for turn in range(10**9):
        write_atomically(path, lambda file: file.write(bytes([turn % 256]) * 300_000))
    """
    moments = np.random.default_rng(0)
    seen = set()
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=ENVIRONMENT)
        while not (tmp_path / "file").exists():
            time.sleep(0.01)
        time.sleep(0.3 * moments.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = (tmp_path / "file").read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1
        seen.add(content[0])
        (tmp_path / "file").unlink()
    assert len(seen) > 1
    for scrap in scraps(tmp_path):
        os.utime(tmp_path / scrap, (1, 1))
    write_atomically(tmp_path / "file", lambda file: file.write(b"new"))
    assert scraps(tmp_path) == []


def test_one_process_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    code = f"""
    import time
    from pathlib import Path
    from vaeaudit.files import alone_in
    with alone_in(Path({str(tmp_path / "report")!r})):
        print("held", flush=True)
        time.sleep(600)
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StorageError, match=r"another process is writing to .*report"), alone_in(tmp_path / "report"):
        raise AssertionError("held twice")
    holder.kill()
    holder.communicate()
    with alone_in(tmp_path / "report"):
        (tmp_path / "report" / "kept").touch()
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["kept"]


def test_a_folder_that_was_held_in_vain_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="bad"), alone_in(tmp_path / "report"):
        raise ModelError("bad")
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_finds_no_room_leaves_the_older_one(make_report: MakeReport, tmp_path: Path) -> None:
    old = make_report(pairs=4, strengths=5, event=(1, 4, 4))
    old.save(tmp_path, page=False)
    with (
        files_of_at_most(3000),
        pytest.raises(StorageError, match=r"File too large; what lay there before is as it was"),
    ):
        make_report(seed=1).save(tmp_path, page=False)
    assert vaeaudit.load(tmp_path) == old
    assert scraps(tmp_path) == []


def test_a_report_that_cannot_be_saved_does_not_take_the_measurements_with_it(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older report in the same folder once made the command believe that the new one was saved."""
    import vaeaudit.auditing

    def audited(*_: Any, checkpoint: Path, **options: Any) -> AuditReport:
        measured(checkpoint, Rows())
        return make_report(seed=1)

    def full(report: AuditReport, folder: Path) -> Path:
        raise StorageError("report.json could not be written: No space left on device")

    make_report().save(tmp_path / "out", page=False)
    monkeypatch.setattr(vaeaudit.auditing, "audit", audited)
    with monkeypatch.context() as patched:
        patched.setattr(AuditReport, "save", full)
        assert cli.main(["demo", "--output", str(tmp_path / "out"), "--quiet"]) == statuses.USAGE
    said = capsys.readouterr().err
    assert f"Finished measurements are kept in {tmp_path}/out/partial; the same command goes on from there." in said
    assert "No space left on device" in said
    assert len(list((tmp_path / "out" / "partial").glob("*.npz"))) == 4
    assert cli.main(["demo", "--output", str(tmp_path / "out"), "--quiet"]) == statuses.PASS
    assert not (tmp_path / "out" / "partial").exists()


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_model_that_fails_in_the_middle_costs_only_what_was_under_way(
    linear: ModuleType, tmp_path: Path, share: float
) -> None:
    model = linear.linear_gaussian(n=6, k=2)
    images = linear.points(6, 16)
    left = [10**9]

    def encode(x: torch.Tensor) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the GPU fell off the bus")
        return model.encode(x)

    def audited(folder: Path | None) -> AuditReport:
        ae = Autoencoder(encode, model.decode, bounds=linear.FREE, scale="log_variance")
        return vaeaudit.audit(ae, images, "quick", pairs=4, strengths=[0.01, 0.1, 1.0, 10.0], checkpoint=folder)

    whole = audited(None)
    left[0] = int(share * (10**9 - left[0]))
    with pytest.raises(ModelError, match=r"the encoder failed on inputs of shape .*the GPU fell off the bus"):
        audited(tmp_path / "rows")
    left[0] = 10**9
    resumed = audited(tmp_path / "rows")
    for name in ("hinge", "auddc", "damage", "curves", "encoder", "decoder", "local", "gallery"):
        assert equal(getattr(resumed, name), getattr(whole, name)), name
    if share > 0.8:  # the targeted attack comes before, and was finished
        assert resumed.provenance.work["targeted attack"].gradients == 0
