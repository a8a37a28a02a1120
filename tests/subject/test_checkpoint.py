"""Finished measurements are found again by the same run and by no other; files are whole or absent."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.files import write_atomically

KEY = {"seed": 0, "preset": "quick", "weights": "abc"}


class Measure:
    """A measurement that counts how often it is made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Arrays:
        self.made += 1
        return {
            "gap": np.array([[0.5, np.nan, np.inf]], dtype=np.float32),
            "n": np.array(self.made),
            "on": np.array([True]),
        }


def _refuse() -> NoReturn:
    raise AssertionError("measured again")


def test_the_same_run_finds_what_was_finished(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "deep" / "kept", KEY).measured("curves", Measure())
    reordered = dict(reversed(KEY.items()))
    again = Checkpoint(tmp_path / "deep" / "kept", reordered).measured("curves", _refuse)
    assert again.keys() == first.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype


def test_another_measurement_is_not_taken_for_it(tmp_path: Path) -> None:
    checkpoint, measure = Checkpoint(tmp_path, KEY), Measure()
    checkpoint.measured("curves", measure)
    assert int(checkpoint.measured("spectra", measure)["n"]) == 2


@pytest.mark.parametrize("change", [{"seed": 1}, {"weights": "abd"}, {"device": "cpu"}])
def test_another_key_is_measured_anew_and_kept_instead(tmp_path: Path, change: dict[str, Any]) -> None:
    measure = Measure()
    Checkpoint(tmp_path, KEY).measured("curves", measure)
    assert int(Checkpoint(tmp_path, {**KEY, **change}).measured("curves", measure)["n"]) == 2
    assert int(Checkpoint(tmp_path, {**KEY, **change}).measured("curves", _refuse)["n"]) == 2


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
    Checkpoint(tmp_path, KEY).measured("curves", measure)
    damage(tmp_path / "curves.npz")
    assert int(Checkpoint(tmp_path, KEY).measured("curves", measure)["n"]) == 2
    assert int(Checkpoint(tmp_path, KEY).measured("curves", _refuse)["n"]) == 2


def test_nothing_is_ever_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved when allow_pickle=False"):
        Checkpoint(tmp_path, KEY).measured("curves", lambda: {"gap": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint, measure = Checkpoint(None, KEY), Measure()
    checkpoint.measured("curves", measure)
    assert int(checkpoint.measured("curves", measure)["n"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_measurement_that_fails_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="measured again"):
        Checkpoint(tmp_path, KEY).measured("curves", _refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt("stopped")])
@pytest.mark.parametrize("existed", [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, error: BaseException, existed: bool
) -> None:
    path = tmp_path / "report.json"
    if existed:
        path.write_text("old")

    def write(file: Any) -> None:
        file.write(b"half of")
        raise error

    with pytest.raises(type(error), match=str(error)):
        write_atomically(path, write)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * existed
