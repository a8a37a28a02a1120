"""A report.json or arrays.npz that was changed in any way loads, or is refused with a reason; nothing else happens."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vaeaudit import AuditError, AuditReport, ReportError, load
from vaeaudit.arrays import read_arrays
from vaeaudit.report.pages.html import render

MakeReport = Callable[..., AuditReport]
EXAMPLES = 50
"""By default; many more were run while these tests were written."""
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
chances = st.integers(0, 2**32 - 1).map(random.Random)


@pytest.fixture(scope="module")
def plain(make_report: MakeReport) -> dict[str, Any]:
    """A small report in builtin types."""
    return make_report(pairs=4, strengths=5, event=(1, 4, 4)).to_dict()


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    inner: Any = 1.0
    for _ in range(levels):
        inner = [inner]
    return inner


HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, math.nan, math.inf, "NaN", "-Infinity", "",
    "\x00", "\ud800", "\u202egnp.exe", "<script>", "9" * 5000, [], [[]], [1, [2]], {}, {"value": 1}, {"": None}, deep(40),
    deep(600), {"a": deep(300)}, [math.nan] * 5, list(range(5)), "[" * 100, ["x"] * 3, [None], {"NaN": math.nan},
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested dicts and lists."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(data: dict[str, Any], chance: random.Random) -> Any:
    """A copy in which a few places hold something else, or are missing, doubled, or new."""
    data = copy.deepcopy(data)
    for _ in range(chance.randint(1, 3)):
        everywhere = list(places(data))
        path = chance.choice([place for place in everywhere if len(place) <= chance.choice((1, 2, 9))])
        if not path:
            continue
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        action = chance.choice(("replace", "replace", "remove", "add", "double", "swap"))
        if action == "replace":
            parent[path[-1]] = copy.deepcopy(chance.choice(HOSTILE))
        elif action == "remove":
            del parent[path[-1]]
        elif action == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        elif action == "swap":
            there = chance.choice([place for place in everywhere if place])
            source: Any = data
            for key in there:
                try:
                    source = source[key]
                except (KeyError, IndexError, TypeError):
                    break
            parent[path[-1]] = copy.deepcopy(source)
        elif isinstance(parent, dict):
            parent[chance.choice(("surprise", "\x1b[31m", "schema", "value"))] = copy.deepcopy(chance.choice(HOSTILE))
    return data


def check_message(error: AuditError, fewest: int, most: int, says: str = "") -> None:
    """An error's message says something, and not everything."""
    assert fewest < len(str(error)) < most
    assert says in str(error)


def use(report: AuditReport) -> None:
    """Do with a report what its readers do."""
    for score in report.scores():
        report.sample(score)
    str(report)
    report.to_dict()


@fuzzed
@given(chance=chances)
def test_a_changed_report_loads_or_is_refused_with_a_reason(plain: dict[str, Any], chance: random.Random) -> None:
    try:
        report = AuditReport.from_dict(changed(plain, chance))
    except ReportError as error:
        check_message(error, 10, 2000)
        return
    use(report)


@fuzzed
@given(chance=chances)
def test_a_changed_file_loads_or_is_refused_with_a_reason(
    plain: dict[str, Any], tmp_path: Path, chance: random.Random
) -> None:
    file = tmp_path / "report.json"
    text = json.dumps(changed(plain, chance) if chance.random() < 0.5 else plain).encode(errors="surrogatepass")
    content = bytearray(text)
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(content))
        action = chance.choice(("cut", "byte", "insert", "drop"))
        if action == "cut":
            del content[at:]
            content += b" "
        elif action == "byte":
            content[at] = chance.randrange(256)
        elif action == "insert":
            content[at:at] = chance.choice([b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"[" * 2000, b"9" * 5000, b'"'])
        else:
            del content[at : at + chance.randint(1, 50)]
    file.write_bytes(content)
    try:
        report = load(file)
    except ReportError as error:
        check_message(error, 10, 3000)
        return
    use(report)


@pytest.mark.parametrize("levels", [50, 400, 900, 5000, 100_000])
def test_depth_is_refused_wherever_it_lies(plain: dict[str, Any], tmp_path: Path, levels: int) -> None:
    text = json.dumps({**plain, "provenance": {**plain["provenance"], "settings": {"x": "DEEP"}}})
    (tmp_path / "report.json").write_text(text.replace('"DEEP"', "[" * levels + "]" * levels))
    with pytest.raises(ReportError, match=r"no more than 32 levels|is not a report"):
        load(tmp_path)


def test_a_report_that_declares_nothing_sensible_is_brief_about_it(plain: dict[str, Any]) -> None:
    with pytest.raises(ReportError, match=r"unknown \['0', .*'and 99992 more'\]") as caught:
        AuditReport.from_dict({**plain, **{str(i): i for i in range(100_000)}})
    assert len(str(caught.value)) < 500


@fuzzed
@given(chance=chances)
def test_changed_pictures_load_or_are_refused_with_a_reason(
    make_report: MakeReport, tmp_path: Path, chance: random.Random
) -> None:
    file = tmp_path / "report" / "arrays.npz"
    if not file.exists():
        make_report(pairs=4, strengths=5, event=(1, 4, 4)).save(tmp_path / "report", page=False)
        (tmp_path / "whole").write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content))
        if chance.random() < 0.15:
            del content[at:]
            content += b"P"
        else:
            content[at] = chance.randrange(256)
    file.write_bytes(content)
    try:
        report = load(tmp_path / "report")
    except ReportError as error:
        check_message(error, 10, 3000, says="delete it to load the report without pictures")
        return
    render(report)


def test_a_name_of_thousands_of_bytes_does_not_fill_the_message(make_report: MakeReport, tmp_path: Path) -> None:
    file = make_report(pairs=4, strengths=5, event=(1, 12, 12)).save(tmp_path, page=False) / "arrays.npz"
    content = bytearray(file.read_bytes())
    content[26:28] = (5000).to_bytes(2, "little")  # of the first member: the length of its name
    file.write_bytes(content)
    with pytest.raises(ReportError, match="File name in directory") as refused:
        load(tmp_path)
    check_message(refused.value, 10, 1000, says="delete it to load the report without pictures")


def _pictures(path: Path, **changes: Any) -> None:
    with np.load(path) as file:
        arrays = {**file, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    "changes",
    [
        {"bounds": np.array(1.0)},
        {"bounds": np.array(["0", "1"])},
        {"pairs": np.zeros((2, 2), dtype=np.int64)},
        {"pairs": np.array([0.5, 1.5, 2.5])},
        {"originals": np.zeros((3, 2, 2))},
        {"originals": np.zeros((4, 1, 4, 4))},
        {"originals": np.array("picture")},
        {"adversarials": np.zeros((3, 1, 4, 4))},
        {"reconstructions": None},
    ],
    ids=str,
)
def test_pictures_of_the_wrong_shape_are_refused(make_report: MakeReport, tmp_path: Path, changes: Any) -> None:
    make_report(pairs=4, strengths=5, event=(1, 4, 4)).save(tmp_path, page=False)
    _pictures(tmp_path / "arrays.npz", **changes)
    with pytest.raises(
        ReportError, match=r"arrays.npz cannot be read: .*delete it to load the report without pictures"
    ):
        load(tmp_path)


def _npy(shape: str, descr: str = "'<f8'", data: bytes = b"\x00" * 8, version: bytes = b"\x01\x00") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


BOMBS = {
    "a trillion numbers": (
        _npy("(1000000000000,)"),
        r"declares an array \(1000000000000,\) of 8,000,000,000,000 bytes",
    ),
    "a product that overflows": (_npy("(4294967296, 4294967296, 4294967296)"), "declares an array"),
    "nothing, very often": (_npy("(1000000000000,)", "'<U0'"), "declares an array"),
    "nothing at all, very often": (_npy("(1000000000000, 0)", data=b""), ""),
    "a negative number": (_npy("(-1,)"), ""),
    "objects": (_npy("(1,)", "'|O'"), "Object arrays cannot be loaded when allow_pickle=False"),
    "code for a shape": (_npy("__import__('os').abort()"), "malformed node"),
    "code for a type": (_npy("(1,)", "__import__('os').abort()"), "malformed node"),
    "a deep header": (_npy("(" * 3000 + ")" * 3000), ""),
    "another version": (_npy("(1,)", version=b"\x09\x00"), "version"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_a_file_declares_is_held_against_its_size(tmp_path: Path, kind: str) -> None:
    content, message = BOMBS[kind]
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("x.npy", content)
    if kind == "nothing at all, very often":  # takes no memory, so there is nothing to refuse
        assert read_arrays(tmp_path / "x.npz")["x"].shape == (10**12, 0)
        return
    with pytest.raises(ValueError, match=message or "."):
        read_arrays(tmp_path / "x.npz")


def test_a_file_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(2**20))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(40):
            file.writestr(f"{i}.npy", zeros.getvalue())
    size = (tmp_path / "bomb.npz").stat().st_size
    with pytest.raises(ValueError, match=f"its {size:,} bytes unpack to 335,549,440, and at most 268,435,456 are read"):
        read_arrays(tmp_path / "bomb.npz")
    assert read_arrays(tmp_path / "bomb.npz", wanted=("3",))["3"].shape == (2**20,)
    with pytest.raises(ValueError, match="and at most 1,000 are read"):
        read_arrays(tmp_path / "bomb.npz", wanted=("3",), most=1000)
