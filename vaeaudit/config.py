"""`audit.toml`: which model, which data, how much to measure, and which bars to hold it against."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaeaudit.errors import OptionError, brief
from vaeaudit.extensions import known_score
from vaeaudit.report.model import FOLDER_NAME
from vaeaudit.score_names import ROOMS
from vaeaudit.verdict import Bar, check_bar

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BARS = ("at_least", "at_most")
_PLAIN: dict[str, tuple[type, ...]] = {
    "model": (str,), "data": (str, dict), "name": (str,), "preset": (str,), "bounds": (list,), "scale": (str,),
    "pairs": (int,), "seed": (int,), "device": (str,), "devices": (str, list), "precision": (str,),
    "strengths": (str, list, int), "divergence": (str,), "penalty": (str,), "output": (str,), "thresholds": (dict,),
    "confidence": (float, int), "suppress": (list,), "work": (float, int),
}  # fmt: skip
_KINDS = {str: "a string", dict: "a table", list: "a list", int: "an integer", float: "a number"}
_MOST_BYTES = 2**20
"""Of an audit file."""
_PASSED_ON = (
    "preset", "pairs", "seed", "device", "devices", "precision", "strengths", "divergence", "penalty", "suppress", "work",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AuditFile:
    """The content of an `audit.toml`.

    Attributes:
        folder: where it lies; modules and files it names are looked for there.
        model: "package.module:attribute" (a model, or a callable that makes one), "zoo:NAME", or "pythae:FOLDER".
        data: "package.module:attribute", "zoo:NAME", a .npy or .npz file, or a table
            `{torchvision = "MNIST", root = "data"}`.
        name: name shown in the report.
        bounds: of valid inputs; None for the model's default.
        scale: what the second member of a plain pair from the encoder is.
        options: what is passed on to `vaeaudit.audit`.
        output: folder of the report.
        bars: thresholds by score.
        confidence: of the verdicts on them; None for the default.
    """

    folder: Path
    model: str
    data: Any
    name: str = ""
    bounds: tuple[float, float] | None = None
    scale: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    output: Path = Path(FOLDER_NAME)
    bars: Mapping[str, Bar] = field(default_factory=dict)
    confidence: float | None = None


def read_audit_file(path: Path) -> AuditFile:
    """Read an `audit.toml`.

    Raises:
        OptionError: it is missing, is not TOML, or says something unknown.
    """
    content = _read(path)
    _check_keys(content, path)
    bounds = content.get("bounds")
    return AuditFile(
        folder=path.parent.resolve(), model=content["model"], data=content["data"], name=content.get("name", ""),
        bounds=None if bounds is None else tuple(bounds), scale=content.get("scale"),
        options={key: content[key] for key in _PASSED_ON if key in content},
        output=Path(content.get("output", FOLDER_NAME)), bars=_bars(content.get("thresholds", {}), path),
        confidence=content.get("confidence"),
    )  # fmt: skip


def keys_of(path: Path) -> set[str]:
    """Top-level keys of a TOML file, whosever it is.

    Raises:
        OptionError: it is missing, or is not TOML.
    """
    return set(_read(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a null character in the name
        raise OptionError(f"cannot read {str(path)!r}: {error}") from error
    if len(content) > _MOST_BYTES:
        raise OptionError(f"{path} is no audit file: it has more than {_MOST_BYTES:,} bytes")
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise OptionError(f"{path} is not valid TOML: {error}") from error


def _check_keys(content: dict[str, Any], path: Path) -> None:
    for key, value in content.items():
        if key not in _PLAIN:
            raise OptionError(f"{path}: unknown key {key!r}; known are {', '.join(_PLAIN)}")
        if not isinstance(value, _PLAIN[key]) or isinstance(value, bool):
            kinds = " or ".join(_KINDS[kind] for kind in _PLAIN[key] if kind is not int or float not in _PLAIN[key])
            raise OptionError(f"{path}: {key} expects {kinds}, got {brief(value)}")
    if not all(_is_number(item) for key in ("bounds", "strengths") for item in _list(content.get(key))):
        raise OptionError(f"{path}: bounds and strengths expect lists of numbers")
    for key in ("model", "data", "output", "device"):
        if isinstance(content.get(key), str) and "\0" in content[key]:
            raise OptionError(f"{path}: {key} holds a null character, got {content[key]!r}")
    if not 0.5 < content.get("confidence", 0.95) < 1:
        raise OptionError(f"{path}: confidence expects a number above 0.5 and below 1, got {content['confidence']!r}")
    for key in ("model", "data"):
        if key not in content:
            raise OptionError(f'{path}: {key} is missing; say {key} = "package.module:name" or "zoo:mnist-vae"')


def _is_number(value: Any) -> bool:
    """Also whether it fits a float, which a whole number of TOML need not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bars(thresholds: dict[str, Any], path: Path) -> dict[str, Bar]:
    """Bars by score; `decoder.trace = ...` is a table in TOML and means the same as with quotes, and so is a plugin's."""
    rooms = [name for name, bar in thresholds.items() if _is_room(name, bar)]
    nested = {f"{room}.{score}": bar for room in rooms for score, bar in thresholds[room].items()}
    flat = {score: bar for score, bar in thresholds.items() if score not in rooms}
    return {score: _bar(score, bar, path) for score, bar in (flat | nested).items()}


def _is_room(name: str, bar: Any) -> bool:
    """Whether an entry holds bars by score rather than being one."""
    if not isinstance(bar, dict):
        return False
    return name in ROOMS or (bool(bar) and all(isinstance(entry, dict) for entry in bar.values()))


def _bar(score: str, bar: Any, path: Path) -> Bar:
    """A bar on a known score and in its direction: what `AuditReport.check` would refuse after minutes of measuring."""
    where = f"{path}: thresholds.{score}"
    if not isinstance(bar, dict) or len(bar) != 1 or next(iter(bar)) not in _BARS:
        raise OptionError(f"{where} expects {{ at_least = NUMBER }} or {{ at_most = NUMBER }}, got {brief(bar)}")
    ((kind, value),) = bar.items()
    if isinstance(value, int) and not _is_number(value):
        raise OptionError(f"{where} expects a number that a float can hold, got {brief(value)}")
    try:
        found = Bar(kind, value)
        known_score(score)  # loads the plugins if it may be one of theirs
        check_bar(score, found)
        return found
    except OptionError as error:
        raise OptionError(f"{path}: thresholds: {error}") from error
