"""Whatever file is loaded, nothing in it is executed: a pickle planted in each of them stays what it is."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaeaudit import AuditError, AuditReport, load, zoo
from vaeaudit.checkpoint import Checkpoint
from vaeaudit.config import read_audit_file
from vaeaudit.errors import FallbackWarning
from vaeaudit.loading import load_data

MakeReport = Callable[..., AuditReport]


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def planted(tmp_path: Path) -> dict[str, bytes]:
    """A pickle by itself, as an array of objects, and as the raw data of an array."""
    payload = pickle.dumps(Payload(tmp_path / "executed"))
    array = np.empty(1, dtype=object)
    array[0] = Payload(tmp_path / "executed")
    npy, npz, raw = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, array, allow_pickle=True)
    names = ("images", "key", "rows", "report", "gap")
    np.savez(npz, allow_pickle=True, **dict.fromkeys(names, array))
    with zipfile.ZipFile(raw, "w") as file:
        for name in names:
            file.writestr(f"{name}.npy", payload)
    return {"pickle": payload, "npy": npy.getvalue(), "npz": npz.getvalue(), "pickles in a zip": raw.getvalue()}


def _alive(tmp_path: Path) -> bool:
    return (tmp_path / "executed").exists()


def test_the_payload_would_work(planted: dict[str, bytes], tmp_path: Path) -> None:
    pickle.loads(planted["pickle"])
    assert _alive(tmp_path)


KINDS = ("pickle", "npy", "npz", "pickles in a zip")


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_checkpoint(planted: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    def measured() -> Any:
        return Checkpoint(tmp_path / "rows", {"seed": 0}).measured(
            "curves", ["a"], lambda chunk: {"gap": np.ones(1)}, size=1, settings={}, progress=lambda *_: None
        )

    measured()
    (file,) = (tmp_path / "rows").glob("*.npz")
    file.write_bytes(planted[kind])
    with pytest.warns(FallbackWarning, match="cannot be read"):
        assert measured()["gap"].tolist() == [1.0]
    assert not _alive(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["report.json", "arrays.npz"])
def test_in_a_report(planted: dict[str, bytes], make_report: MakeReport, tmp_path: Path, name: str, kind: str) -> None:
    folder = make_report(pairs=4, strengths=5, event=(1, 4, 4)).save(tmp_path / "report", page=False)
    (folder / name).write_bytes(planted[kind])
    with pytest.raises(AuditError, match=r"is not a report|cannot be read"):
        load(folder)
    assert not _alive(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_in_images(planted: dict[str, bytes], tmp_path: Path, suffix: str, kind: str) -> None:
    (tmp_path / f"images.{suffix}").write_bytes(planted[kind])
    (tmp_path / "audit.toml").write_text(f'model = "zoo:mnist-vae"\ndata = "images.{suffix}"\n')
    with pytest.raises(AuditError, match=r"cannot read images|expects an array"):
        load_data(read_audit_file(tmp_path / "audit.toml"))
    assert not _alive(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_in_an_audit_file(planted: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    (tmp_path / "audit.toml").write_bytes(planted[kind])
    with pytest.raises(AuditError, match="is not valid TOML"):
        read_audit_file(tmp_path / "audit.toml")
    assert not _alive(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_zoo(planted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(zoo, "_read", lambda name: planted[kind])
    with pytest.raises(Exception, match=r"(?i)header|invalid|deserializ"):
        zoo.load_model("mnist-vae")
    assert not _alive(tmp_path)
