"""An audit.toml becomes a model, data, settings and bars; what is wrong with it is said before anything is measured."""

from __future__ import annotations

import gzip
import itertools
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from vaeaudit import OptionError, at_least, at_most, zoo
from vaeaudit.config import AuditFile, read_audit_file
from vaeaudit.loading import load_data, load_model
from vaeaudit.score_names import DIRECTIONS

Write = Callable[..., AuditFile]
ZOO = '"zoo:mnist-vae"'
SUBJECT = """
import functools
import torch

class Model:
    def __init__(self, scale=1.0):
        self.scale = scale
    def encode(self, images):
        return self.scale * images.flatten(1)
    def decode(self, latents):
        return latents.view(-1, 1, 2, 2)

made = Model(3.0)
part = functools.partial(Model, scale=4.0)

class Box:
    model = made

def model():
    return Model(2.0)

def pair():
    return Model(5.0).encode, Model().decode

def neighbourly():
    import NEIGHBOUR
    return Model(NEIGHBOUR.SCALE)

def images():
    return torch.full((2, 1, 2, 2), 0.25)

def fails():
    read("weights.pt")

def read(path):
    raise RuntimeError(f"{path} is missing")

def nothing():
    return None

def leaves():
    raise SystemExit(0)

def needs(argument):
    return argument
"""
_numbers = itertools.count()


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[str]:
    """Name of a module that lies beside the audit.toml and nowhere else."""
    name = f"audit_subject_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(SUBJECT.replace("NEIGHBOUR", f"{name}_neighbour"))
    (tmp_path / f"{name}_neighbour.py").write_text("SCALE = 6.0\n")
    yield name
    for module in (name, f"{name}_neighbour"):
        sys.modules.pop(module, None)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an audit.toml of these keys, and read it."""

    def written(extra: str = "", **keys: str) -> AuditFile:
        lines = [f"{key} = {value}" for key, value in ({"model": ZOO, "data": ZOO} | keys).items() if value]
        path = tmp_path / "audit.toml"
        path.write_text("\n".join([*lines, extra]))
        return read_audit_file(path)

    return written


def test_the_zoo_needs_no_module(write: Write) -> None:
    file = write()
    images, labels = load_data(file)
    assert load_model(file).name == "mnist-vae"
    assert (images.shape, labels.shape) == ((300, 1, 28, 28), (300,))


def test_name_and_bounds_apply_to_any_model(write: Write, subject: str) -> None:
    for model in (ZOO, f'"{subject}:model"', f'"{subject}:pair"'):
        found = load_model(write(model=model, name='"mine"', bounds="[-1, 2.5]", scale='"std"'))
        assert (found.name, found.bounds, found.scale) == ("mine", (-1.0, 2.5), "std")


@pytest.mark.parametrize(
    ("attribute", "scale"),
    [("model", 2), ("Model", 1), ("made", 3), ("part", 4), ("Box.model", 3), ("pair", 5), ("neighbourly", 6)],
)
def test_a_model_is_made_from_whatever_the_reference_names(
    write: Write, subject: str, attribute: str, scale: float
) -> None:
    before = list(sys.path)
    found = load_model(write(model=f'"{subject}:{attribute}"'))
    assert sys.path == before
    assert found.bounds == (0.0, 1.0)
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.reconstruct(images), scale * images)


def test_data_may_come_from_a_function_too(write: Write, subject: str) -> None:
    torch.testing.assert_close(load_data(write(data=f'"{subject}:images"')), torch.full((2, 1, 2, 2), 0.25))


def test_arrays_lie_beside_the_file_with_or_without_labels(write: Write, tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).random((5, 1, 4, 4)), np.arange(5)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", images=images)
    np.savez(tmp_path / "c.npz", images=images, labels=labels)
    np.testing.assert_array_equal(load_data(write(data='"a.npy"')), images)
    np.testing.assert_array_equal(load_data(write(data='"b.npz"')), images)
    found = load_data(write(data='"c.npz"'))
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)


def _mnist(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """A folder in the format of MNIST with three training and two test images."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    halves = {"train": rng.integers(0, 256, (3, 28, 28), np.uint8), "t10k": rng.integers(0, 256, (2, 28, 28), np.uint8)}
    for half, pixels in halves.items():
        images = struct.pack(">IIII", 2051, *pixels.shape) + pixels.tobytes()
        labels = struct.pack(">II", 2049, len(pixels)) + bytes(range(len(pixels)))
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            (raw / f"{half}-{kind}-ubyte").write_bytes(content)
            (raw / f"{half}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return halves


@pytest.mark.parametrize(("extra", "half"), [("", "t10k"), (", train = true", "train"), (", train = false", "t10k")])
def test_a_data_set_of_torchvision_is_its_test_half_unless_told(
    write: Write, tmp_path: Path, extra: str, half: str
) -> None:
    pixels = _mnist(tmp_path / "here")[half]
    found = load_data(write(data=f'{{ torchvision = "MNIST", root = "here"{extra} }}'))
    assert [label for _, label in found] == list(range(len(pixels)))
    np.testing.assert_array_equal(torch.stack([image for image, _ in found])[:, 0], np.float32(pixels) / 255)


@pytest.mark.parametrize(("extra", "split"), [("", "test"), (", train = true", "train")])
def test_a_data_set_that_knows_splits_is_given_one(
    write: Write, monkeypatch: pytest.MonkeyPatch, extra: str, split: str
) -> None:
    class Split:
        def __init__(self, root: str, split: str) -> None:
            self.root, self.split = root, split

    monkeypatch.setattr(torchvision.datasets, "Split", Split, raising=False)
    assert load_data(write(data=f'{{ torchvision = "Split"{extra} }}')).split == split


def test_settings_are_passed_on_and_nothing_is_made_up(write: Write, tmp_path: Path) -> None:
    file = write(preset='"quick"', pairs="6", seed="3", strengths="[0.5, 2]", divergence='"kl"', output='"o"')
    assert file.options == {"preset": "quick", "pairs": 6, "seed": 3, "strengths": [0.5, 2], "divergence": "kl"}
    assert (file.output, file.folder) == (Path("o"), tmp_path)
    file = write(devices='["cuda:0", "cuda:1"]', precision='"bfloat16"', penalty='"l2"', work="1e14")
    assert file.options == {"devices": ["cuda:0", "cuda:1"], "precision": "bfloat16", "penalty": "l2", "work": 1e14}
    assert write().options == {}
    assert write().confidence is None
    assert write(confidence="0.99").confidence == 0.99
    assert write().output == Path("vaeaudit-report")


def test_bars_may_be_written_in_every_way_of_toml(write: Write) -> None:
    file = write(
        "[thresholds]\nhinge = { at_least = 0.3 }\nauddc.at_least = 1\nreach.at_most = 9\n"
        'decoder.trace.at_most = 3\n"round_trip.trace" = { at_most = 4 }\n'
        "[thresholds.condition_number]\nat_most = 200\n"
    )
    assert file.bars == {
        "hinge": at_least(0.3), "auddc": at_least(1), "reach": at_most(9), "condition_number": at_most(200),
        "decoder.trace": at_most(3), "round_trip.trace": at_most(4),
    }  # fmt: skip


def test_every_score_of_a_report_can_have_a_bar(make_report: Callable[..., Any]) -> None:
    assert set(DIRECTIONS) == set(make_report().scores())


BAD_FILES = {
    "model = ": "audit.toml is not valid TOML: ",
    f"data = {ZOO}": r'audit.toml: model is missing; say model = "package.module:name" or "zoo:mnist-vae"',
    f"model = {ZOO}": "audit.toml: data is missing",
    f"model = {ZOO}\ndata = {ZOO}\nmodle = 1": "unknown key 'modle'; known are model, data, name",
    "model = 3": "model expects a string, got 3",
    "data = 3": "data expects a string or a table, got 3",
    "pairs = 'six'": "pairs expects an integer, got 'six'",
    "pairs = true": "pairs expects an integer, got True",
    f"model = {ZOO}\ndata = {ZOO}\nconfidence = 0.5": "confidence expects a number above 0.5 and below 1, got 0.5",
    "confidence = 1.0": "confidence expects a number above 0.5 and below 1, got 1.0",
    "confidence = 95": "confidence expects a number above 0.5 and below 1, got 95",
    "confidence = nan": "confidence expects a number above 0.5 and below 1, got nan",
    "confidence = '95 %'": "confidence expects a number, got '95 %'",
    "bounds = ['a', 1]": "bounds and strengths expect lists of numbers",
    "strengths = ['a']": "bounds and strengths expect lists of numbers",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.toml").write_text(text)
    with pytest.raises(OptionError, match=BAD_FILES[text]):
        read_audit_file(tmp_path / "audit.toml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"cannot read .*gone.toml: No such file or directory"):
        read_audit_file(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(OptionError, match=r"latin.toml is not valid TOML: .*utf-8"):
        read_audit_file(tmp_path / "latin.toml")


BAD_BARS = {
    "hinge = 0.3": r"thresholds.hinge expects \{ at_least = NUMBER \} or \{ at_most = NUMBER \}, got 0.3",
    "hinge = {}": r"thresholds.hinge expects .*, got \{\}",
    "hinge.minimum = 3": r"thresholds.hinge expects .*, got \{'minimum': 3\}",
    "hinge = { at_least = 1, at_most = 2 }": "thresholds.hinge expects ",
    "decoder = 3": "thresholds.decoder expects ",
    "hinge.at_least = 'x'": "audit.toml: thresholds: at_least expects a number, got 'x'",
    "hinge.at_least = nan": "audit.toml: thresholds: at_least expects a finite number, got nan",
    "hing.at_least = 0.3": r"thresholds: unknown score 'hing' \(did you mean 'hinge'\?\); choose one of hinge, auddc, ",
    "decoder.traces.at_most = 1": r"thresholds: unknown score 'decoder.traces' \(did you mean 'decoder.trace'\?\); choose one of ",
    "hinge.at_most = 0.3": r"hinge: higher is more robust, so the bar is at_least\(...\), got at_most\(0.3\)",
    "trace.at_least = 1": r"audit.toml: thresholds: encoder.trace: lower is more robust, so the bar is at_most\(...\), got at_least\(1\)",
}


@pytest.mark.parametrize("bar", BAD_BARS)
def test_a_bar_that_makes_no_sense_is_refused_before_anything_is_measured(write: Write, bar: str) -> None:
    with pytest.raises(OptionError, match=BAD_BARS[bar]):
        write(f"[thresholds]\n{bar}\n")


BAD_MODELS = {
    "{}": 'model expects "package.module:name", "zoo:NAME" or "pythae:FOLDER", got ',
    ":model": "model expects ",
    "zoo:nope": "unknown zoo model 'nope'; choose one of mnist-vae",
    "audit_subject_gone:model": "No module named 'audit_subject_gone'; it is looked for on sys.path and in /",
    "{}:Absent": "has no 'Absent'",
    "{}:Box.absent": "has no 'Box.absent'",
    "{}:fails": r"model '\w+:fails' failed with RuntimeError: weights.pt is missing \(/.*\.py, line 36\)",
    "{}:leaves": "failed with SystemExit: 0",
    "{}:needs": r"failed with TypeError: needs\(\) missing 1 required positional argument",
    "{}:nothing": "NoneType has neither encode/decode methods nor encoder/decoder attributes",
}


@pytest.mark.parametrize("model", BAD_MODELS)
def test_a_model_that_cannot_be_made_is_refused(write: Write, subject: str, model: str) -> None:
    with pytest.raises(OptionError, match=BAD_MODELS[model]):
        load_model(write(model=f'"{model.format(subject)}"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (", r"failed with SyntaxError: invalid syntax \(\w+.py, line 1\)"),
        ("\n1 / 0", r"failed with ZeroDivisionError: division by zero \(/.*.py, line 2\)"),
        ("import audit_subject_gone", "No module named 'audit_subject_gone'"),
        ("from math import absent", r"failed with ImportError: cannot import name 'absent' from 'math'"),
    ],
)
def test_a_module_that_does_not_import_says_why(
    write: Write, tmp_path: Path, subject: str, text: str, message: str
) -> None:
    (tmp_path / f"{subject}.py").write_text(text)
    with pytest.raises(OptionError, match=message):
        load_model(write(model=f'"{subject}:model"'))


BAD_DATA = {
    '"images.pt"': r'data expects "package.module:name", "zoo:NAME", a .npy or .npz file, or a table \{ torchvision = ',
    '"zoo:mnist"': "unknown zoo model 'mnist'",
    '"gone.npy"': r"cannot read images from /.*gone.npy: No such file or directory$",
    '"empty.npy"': "cannot read images from .*empty.npy: No data left in file",
    '"broken.npz"': "cannot read images from .*broken.npz: File is not a zip file",
    '"other.npz"': r"other.npz expects an array 'images' \(and 'labels'\), it has pixels",
    '{ torchvision = "Nope" }': "torchvision has no dataset 'Nope'",
    '{ torchvision = "mnist" }': "torchvision has no dataset 'mnist'",
    "{ torchvision = 3 }": 'data expects { torchvision = "MNIST", root = "data" }, perhaps with train = true',
    '{ root = "data" }': 'data expects { torchvision = "MNIST"',
    '{ torchvision = "MNIST", roots = "x" }': 'data expects { torchvision = "MNIST"',
    '{ torchvision = "MNIST", train = "yes" }': 'data expects { torchvision = "MNIST"',
    '{ torchvision = "MNIST" }': r"torchvision's MNIST in /.*/data \(download = true fetches it\) failed with RuntimeError",
}


@pytest.mark.parametrize("data", BAD_DATA)
def test_data_that_cannot_be_read_is_refused(write: Write, tmp_path: Path, data: str) -> None:
    (tmp_path / "empty.npy").touch()
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "other.npz", pixels=np.zeros((2, 1, 2, 2)))
    with pytest.raises(OptionError, match=BAD_DATA[data]):
        load_data(write(data=data))


def test_a_model_of_the_zoo_is_the_same_as_from_python(write: Write) -> None:
    assert load_model(write(model='"zoo:mnist-ae"')).fingerprint() == zoo.load("mnist-ae").fingerprint()
