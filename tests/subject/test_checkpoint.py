"""Finished rows are found again by whoever measures the same and by no other; files are whole or absent."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from vaeaudit.arrays import read_arrays, write_arrays
from vaeaudit.checkpoint import Arrays, Checkpoint, Memory
from vaeaudit.errors import FallbackWarning, StorageError
from vaeaudit.files import write_atomically

KEY = {"seed": 0, "preset": "quick", "weights": "abc"}


ROWS = ["a", "b", "c", "d", "e"]


class Measure:
    """A measurement of rows that writes down at which it was made; the first two rows have a picture."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, chunk: np.ndarray[Any, np.dtype[np.int64]]) -> Arrays:
        self.made += chunk.tolist()
        return {
            "gap": np.stack([np.array([0.5, np.nan, i], dtype=np.float32) for i in chunk]),
            "n": np.array([10 * i for i in chunk]),
            "on": chunk % 2 == 0,
            "picture": np.stack([np.full((2, 2), i) for i in chunk])[: int((chunk < 2).sum())],
        }


def measured(
    checkpoint: Checkpoint, measure: Any, rows: list[str] = ROWS, name: str = "curves", **settings: Any
) -> Arrays:
    return checkpoint.measured(name, rows, measure, size=2, settings=settings, progress=lambda finished, total: None)


def _refuse(chunk: Any) -> NoReturn:
    raise AssertionError("measured again")


def test_the_same_run_finds_what_was_finished(tmp_path: Path) -> None:
    first = measured(Checkpoint(tmp_path / "deep" / "kept", KEY), Measure())
    reordered = dict(reversed(KEY.items()))
    again = measured(Checkpoint(tmp_path / "deep" / "kept", reordered), _refuse)
    assert again.keys() == first.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    assert first["gap"].shape == (5, 3)
    assert first["picture"].shape == (2, 2, 2)


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "memory"])
def test_more_rows_measure_only_those_that_are_new(tmp_path: Path, kept: bool) -> None:
    memory: Memory = {}
    measure = Measure()
    for rows in (ROWS[:3], ROWS):
        checkpoint = Checkpoint(tmp_path, KEY) if kept else Checkpoint(None, KEY, memory)
        arrays = measured(checkpoint, measure, rows)
    assert measure.made == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(arrays["n"], [0, 10, 20, 30, 40])


def test_rows_come_in_the_order_asked_for() -> None:
    checkpoint = Checkpoint(None, KEY)
    measured(checkpoint, Measure())
    np.testing.assert_array_equal(measured(checkpoint, _refuse, ["d", "b"])["n"], [30, 10])


def test_progress_counts_the_rows_that_were_finished_before(tmp_path: Path) -> None:
    measured(Checkpoint(tmp_path, KEY), Measure(), ROWS[:2])
    told: list[tuple[int, int]] = []
    Checkpoint(tmp_path, KEY).measured(
        "curves", ROWS, Measure(), size=2, settings={}, progress=lambda *rows: told.append(rows)
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_what_was_finished_before_a_failure_is_kept(tmp_path: Path) -> None:
    measure = Measure()

    def fails(chunk: Any) -> Arrays:
        if 2 in chunk:
            raise KeyboardInterrupt
        return measure(chunk)

    with pytest.raises(KeyboardInterrupt):
        measured(Checkpoint(tmp_path, KEY), fails)
    measured(Checkpoint(tmp_path, KEY), measure)
    assert measure.made == [0, 1, 2, 3, 4]


def test_another_measurement_or_setting_is_not_taken_for_it(tmp_path: Path) -> None:
    checkpoint, measure = Checkpoint(tmp_path, KEY), Measure()
    measured(checkpoint, measure)
    measured(checkpoint, measure, name="spectra")
    measured(checkpoint, measure, strengths=[1.0])
    assert len(measure.made) == 15


@pytest.mark.parametrize("change", [{"seed": 1}, {"weights": "abd"}, {"device": "cpu"}])
def test_another_key_is_measured_anew_and_kept_beside(tmp_path: Path, change: dict[str, Any]) -> None:
    measure = Measure()
    measured(Checkpoint(tmp_path, KEY), measure)
    measured(Checkpoint(tmp_path, {**KEY, **change}), measure)
    assert len(measure.made) == 10
    for key in (KEY, {**KEY, **change}):
        measured(Checkpoint(tmp_path, key), _refuse)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _corrupted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60:200] = bytes(140)
    path.write_bytes(bytes(content))


def _pickled(path: Path) -> None:
    np.savez(path, key=np.array([object()], dtype=object), allow_pickle=True)


def _without_key(path: Path) -> None:
    np.savez(path, gap=np.zeros(3))


def _not_numpy(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("key", "text")


def _single(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


DAMAGES = [
    _truncated, _corrupted, _pickled, _without_key, _not_numpy, _single,
    lambda path: path.write_bytes(b""), lambda path: path.write_text("hello"),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_file_is_measured_anew(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    measure = Measure()
    before = measured(Checkpoint(tmp_path, KEY), measure)
    damaged = next(tmp_path.glob("curves-*.npz"))
    damage(damaged)
    with pytest.warns(FallbackWarning, match=f"{damaged.name} cannot be read .* in other files are kept") as said:
        again = measured(Checkpoint(tmp_path, KEY), measure)
    assert len(said) == 1
    assert 5 < len(measure.made) < 10
    np.testing.assert_array_equal(again["gap"], before["gap"])
    measured(Checkpoint(tmp_path, KEY), _refuse)


def test_nothing_is_ever_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gap expects numbers or text, got objects"):
        measured(Checkpoint(tmp_path, KEY), lambda chunk: {"gap": np.array([{}, {}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_holds_what_it_was_given_and_nothing_else(tmp_path: Path, compressed: bool) -> None:
    """Whatever arguments numpy's own writers know or do not know."""
    arrays = {"gap": np.arange(3.0), "name": np.array("text"), "on": np.array([True])}
    write_arrays(tmp_path / "a.npz", arrays, compressed=compressed)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert sorted(archive.namelist()) == ["gap.npy", "name.npy", "on.npy"]
        packed = archive.getinfo("gap.npy").compress_type
    assert packed == (zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)
    read = read_arrays(tmp_path / "a.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    hidden = np.zeros(2, dtype=[("number", "f8"), ("anything", "O")])
    for objects in (np.array([None]), hidden):
        with pytest.raises(ValueError, match="some expects numbers or text, got objects"):
            write_arrays(tmp_path / "b.npz", {**arrays, "some": objects}, compressed=compressed)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured(Checkpoint(None, KEY), Measure())
    assert list(tmp_path.iterdir()) == []


def test_a_measurement_that_fails_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="measured again"):
        measured(Checkpoint(tmp_path, KEY), _refuse)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_is_written_whole_and_readable_by_those_whom_the_umask_lets(
    tmp_path: Path, umask: int, mode: int
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    before = os.umask(umask)
    try:
        write_atomically(path, lambda file: file.write(b"new"))
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError("disk full"), StorageError), (KeyboardInterrupt("stopped"), KeyboardInterrupt)]
)
@pytest.mark.parametrize("existed", [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, error: BaseException, raised: type[BaseException], existed: bool
) -> None:
    path = tmp_path / "report.json"
    if existed:
        path.write_text("old")

    def write(file: Any) -> None:
        file.write(b"half of")
        raise error

    with pytest.raises(raised, match=str(error)):
        write_atomically(path, write)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * existed
