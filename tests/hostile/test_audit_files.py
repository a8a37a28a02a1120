"""An `audit.toml` of any content is read, or refused with a reason."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vaeaudit import AuditError, OptionError
from vaeaudit.config import keys_of, read_audit_file
from vaeaudit.loading import load_data, load_model

VALUES = (
    "true", "0", "-1", "0.3", "nan", "inf", "-inf", "1e400", "1" + "0" * 400, "9" * 5000, '""', '"\\u0000"', '"\\u202e"',
    '"\\u001b[31m"', '"zoo:mnist-vae"', '"zoo:"', '"zoo:nope"', '"a:b"', '":"', '"a.b.c:d.e"', '"..:x"', '"os:nope"', "[]",
    "[0, 1]", "[1, 0]", "[true, false]", "[nan, 1]", "[[0]]", '["a"]', "{}", "{ at_least = 0.3 }", "{ at_most = true }",
    "{ at_least = nan }", "{ at_least = 1" + "0" * 400 + " }", "{ hinge = { at_least = 0.3 } }", "{ torchvision = 3 }",
    '{ torchvision = "__doc__" }', '{ torchvision = "VisionDataset", root = "\\u0000" }', "1979-05-27", "07:32:00", '"x.npy"',
    '"\\u0000.npz"', "[" * 50 + "]" * 50, "[" * 3000 + "]" * 3000, "{ a = " * 3000 + "1" + " }" * 3000,
)  # fmt: skip
KEYS = (
    "model", "data", "name", "preset", "bounds", "scale", "pairs", "seed", "device", "strengths", "divergence", "penalty",
    "output", "thresholds", "confidence", "thresholds.hinge", "thresholds.encoder", "thresholds.encoder.trace", "surprise",
    '"\\u0000"', '""', "thresholds.hinge.at_least",
)  # fmt: skip
fuzzed = settings(
    max_examples=150, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def text(chance: random.Random) -> bytes:
    """An audit file, with a few lines of it changed, and sometimes a few bytes."""
    lines = {"model": '"zoo:mnist-vae"', "data": '"zoo:mnist-vae"'} if chance.random() < 0.8 else {}
    for _ in range(chance.randint(1, 4)):
        lines[chance.choice(KEYS)] = chance.choice(VALUES)
    content = bytearray("\n".join(f"{key} = {value}" for key, value in lines.items()).encode())
    while chance.random() < 0.2:
        at = chance.randrange(len(content))
        content[at : at + chance.randint(0, 2)] = chance.choice(
            [b"\xff", b"\x00", b"\r", b"\r\n", b"[[", b'"""', b"#", b"="]
        )
    return bytes(content)


@fuzzed
@given(seed=st.integers(0, 2**32 - 1))
def test_any_audit_file_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "audit.toml"
    file.write_bytes(text(random.Random(seed)))
    read: Any = None
    try:
        read = read_audit_file(file)
    except OptionError as error:
        said = str(error)
    else:
        said = f"{file}: read"
    assert str(file) in said
    assert len(said) < 1500
    if read is not None:
        for load in (load_model, load_data):
            try:
                load(read)
            except AuditError as error:
                said = str(error)
            assert len(said) < 1500


@pytest.mark.parametrize("content", [b"\x00", b"\xff\xfe", b"\x80\x04\x95", b"x = " + b"9" * 5000, b"a = [" * 5000])
def test_bytes_that_are_no_toml_say_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "audit.toml").write_bytes(content)
    for read in (read_audit_file, keys_of):
        with pytest.raises(OptionError, match=r"audit.toml is not valid TOML"):
            read(tmp_path / "audit.toml")


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(OptionError, match="/dev/zero is no audit file: it has more than 1,048,576 bytes"):
        read_audit_file(Path("/dev/zero"))


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(OptionError, match=r"cannot read .*null byte"):
        read_audit_file(Path("a\x00b.toml"))
