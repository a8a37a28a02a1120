"""`audit.toml`: which model, which data, how much to measure, and which bars to hold it against."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaeaudit.errors import OptionError
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
    "pairs": (int,), "seed": (int,), "device": (str,), "strengths": (str, list, int), "divergence": (str,),
    "penalty": (str,), "output": (str,), "thresholds": (dict,), "confidence": (float,),
}  # fmt: skip
_KINDS = {str: "a string", dict: "a table", list: "a list", int: "an integer", float: "a number"}
_PASSED_ON = ("preset", "pairs", "seed", "device", "strengths", "divergence", "penalty")


@dataclass(frozen=True, kw_only=True)
class AuditFile:
    """The content of an `audit.toml`.

    Attributes:
        folder: where it lies; modules and files it names are looked for there.
        model: "package.module:attribute" (a model, or a callable that makes one), or "zoo:NAME".
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
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not valid TOML: {error}") from error


def _check_keys(content: dict[str, Any], path: Path) -> None:
    for key, value in content.items():
        if key not in _PLAIN:
            raise OptionError(f"{path}: unknown key {key!r}; known are {', '.join(_PLAIN)}")
        if not isinstance(value, _PLAIN[key]) or isinstance(value, bool):
            kinds = " or ".join(_KINDS[kind] for kind in _PLAIN[key])
            raise OptionError(f"{path}: {key} expects {kinds}, got {value!r}")
    if not all(isinstance(item, (int, float)) for key in ("bounds", "strengths") for item in _list(content.get(key))):
        raise OptionError(f"{path}: bounds and strengths expect lists of numbers")
    if not 0.5 < content.get("confidence", 0.95) < 1:
        raise OptionError(f"{path}: confidence expects a number above 0.5 and below 1, got {content['confidence']!r}")
    for key in ("model", "data"):
        if key not in content:
            raise OptionError(f'{path}: {key} is missing; say {key} = "package.module:name" or "zoo:mnist-vae"')


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bars(thresholds: dict[str, Any], path: Path) -> dict[str, Bar]:
    """Bars by score; `decoder.trace = ...` is a table in TOML and means the same as with quotes."""
    nested = {f"{room}.{score}": bar for room in ROOMS for score, bar in _table(thresholds.get(room)).items()}
    flat = {score: bar for score, bar in thresholds.items() if not (score in ROOMS and isinstance(bar, dict))}
    return {score: _bar(score, bar, path) for score, bar in (flat | nested).items()}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _bar(score: str, bar: Any, path: Path) -> Bar:
    """A bar on a known score and in its direction: what `AuditReport.check` would refuse after minutes of measuring."""
    where = f"{path}: thresholds.{score}"
    if not isinstance(bar, dict) or len(bar) != 1 or next(iter(bar)) not in _BARS:
        raise OptionError(f"{where} expects {{ at_least = NUMBER }} or {{ at_most = NUMBER }}, got {bar!r}")
    ((kind, value),) = bar.items()
    try:
        found = Bar(kind, value)
        check_bar(score, found)
        return found
    except OptionError as error:
        raise OptionError(f"{path}: thresholds: {error}") from error
