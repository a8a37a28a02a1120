"""Pictures survive their file, and files that are older or wrong are told apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vaeaudit.errors import ReportError
from vaeaudit.report import codec
from vaeaudit.report.gallery import load_gallery, save_gallery

from .conftest import MakeReport


@pytest.fixture
def arrays(make_report: MakeReport, tmp_path: Path) -> Path:
    """A file of pictures of the owner "me"."""
    path = tmp_path / "arrays.npz"
    save_gallery(make_report(sections=False).gallery, path, "me")
    return path


def test_pictures_of_pairs_and_of_images_survive_their_file(make_report: MakeReport, arrays: Path) -> None:
    loaded = load_gallery(arrays, "me")
    assert loaded is not None
    assert loaded.untargeted is not None
    assert codec.equal(loaded, make_report(sections=False).gallery)


def test_a_file_from_before_images_were_pictured_has_those_of_pairs(make_report: MakeReport, tmp_path: Path) -> None:
    gallery = make_report(sections=False).gallery
    assert gallery is not None
    older = dataclasses.replace(gallery, untargeted=None)
    save_gallery(older, tmp_path / "arrays.npz", "me")
    loaded = load_gallery(tmp_path / "arrays.npz", "me")
    assert loaded is not None
    assert loaded.untargeted is None
    assert codec.equal(loaded, older)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("untargeted.displacement", lambda a: a[:, :1], r"displacement has shape \(3, 1\) .* expected numbers of shape \(3, 3\)"),
        ("untargeted.adversarials", lambda a: a[:2], r"adversarials has shape \(2, 3, 1, 12, 12\)"),
        ("untargeted.images", lambda a: a.astype(float), "images has shape .* dtype float64"),
        ("adversarials", lambda a: a[..., :5], "adversarials has shape"),
        ("pairs", lambda a: a.astype(str), "pairs has shape .* dtype <U"),
        ("untargeted.radii", None, "radii"),
    ],
)  # fmt: skip
def test_pictures_of_the_wrong_shape_are_refused(arrays: Path, name: str, change: object, message: str) -> None:
    with np.load(arrays) as kept:
        found = dict(kept)
    if callable(change):
        found[name] = change(found[name])
    else:
        del found[name]
    np.savez(arrays, **found)
    with pytest.raises(ReportError, match=message):
        load_gallery(arrays, "me")
