"""`audit.toml`: which model, which data, how much to measure, and which bars to hold it against."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import math
import sys
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaeaudit import zoo
from vaeaudit.adapters import wrap
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import AuditError, OptionError
from vaeaudit.score_names import DIRECTIONS, ROOMS, full_name
from vaeaudit.statistics import Estimate
from vaeaudit.verdict import Bar, judge

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ZOO = "zoo:"
OUTPUT = "vaeaudit-report"
_BARS = ("at_least", "at_most")
_PLAIN: dict[str, tuple[type, ...]] = {
    "model": (str,), "data": (str, dict), "name": (str,), "preset": (str,), "bounds": (list,), "scale": (str,),
    "pairs": (int,), "seed": (int,), "device": (str,), "strengths": (str, list, int), "divergence": (str,),
    "penalty": (str,), "output": (str,), "thresholds": (dict,),
}  # fmt: skip
_KINDS = {str: "a string", dict: "a table", list: "a list", int: "an integer"}
_PASSED_ON = ("preset", "pairs", "seed", "device", "strengths", "divergence", "penalty")
_DATASET_KEYS: dict[str, type] = {"torchvision": str, "root": str, "train": bool, "download": bool}
_DATASET = '{ torchvision = "MNIST", root = "data" }'
_DATA = f'"package.module:name", "zoo:NAME", a .npy or .npz file, or a table {_DATASET}'


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
    """

    folder: Path
    model: str
    data: Any
    name: str = ""
    bounds: tuple[float, float] | None = None
    scale: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    output: Path = Path(OUTPUT)
    bars: Mapping[str, Bar] = field(default_factory=dict)

    def load_model(self) -> Autoencoder:
        """Import and wrap the model.

        Raises:
            OptionError: it cannot be found or made.
        """
        if self.model.startswith(ZOO):
            found: Any = zoo.load(self.model.removeprefix(ZOO))
        else:
            found = _made(self.model, self.folder, "model", '"package.module:name" or "zoo:NAME"')
        if isinstance(found, tuple) and len(found) == 2:
            found = Autoencoder(*found)
        return wrap(found, self.bounds, scale=self.scale, name=self.name)

    def load_data(self) -> Any:
        """Import or read the images.

        Raises:
            OptionError: they cannot be found or made.
        """
        if isinstance(self.data, dict):
            return _torchvision(self.data, self.folder)
        if self.data.startswith(ZOO):
            return zoo.images(self.data.removeprefix(ZOO))
        if self.data.endswith((".npy", ".npz")):
            return _arrays(self.folder / self.data)
        return _made(self.data, self.folder, "data", _DATA)


def read_audit_file(path: Path) -> AuditFile:
    """Read an `audit.toml`.

    Raises:
        OptionError: it is missing, is not TOML, or says something unknown.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    _check_keys(content, path)
    bounds = content.get("bounds")
    return AuditFile(
        folder=path.parent.resolve(), model=content["model"], data=content["data"], name=content.get("name", ""),
        bounds=None if bounds is None else tuple(bounds), scale=content.get("scale"),
        options={key: content[key] for key in _PASSED_ON if key in content},
        output=Path(content.get("output", OUTPUT)), bars=_bars(content.get("thresholds", {}), path),
    )  # fmt: skip


def _check_keys(content: dict[str, Any], path: Path) -> None:
    for key, value in content.items():
        if key not in _PLAIN:
            raise OptionError(f"{path}: unknown key {key!r}; known are {', '.join(_PLAIN)}")
        if not isinstance(value, _PLAIN[key]) or isinstance(value, bool):
            kinds = " or ".join(_KINDS[kind] for kind in _PLAIN[key])
            raise OptionError(f"{path}: {key} expects {kinds}, got {value!r}")
    if not all(isinstance(item, (int, float)) for key in ("bounds", "strengths") for item in _list(content.get(key))):
        raise OptionError(f"{path}: bounds and strengths expect lists of numbers")
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
        name = full_name(score)
        unmeasured = Estimate(value=math.nan, low=-math.inf, high=math.inf, n=0, higher_is_better=DIRECTIONS[name])
        return judge(name, unmeasured, Bar(kind, value)).bar
    except OptionError as error:
        raise OptionError(f"{path}: thresholds: {error}") from error


def _made(reference: str, folder: Path, what: str, expected: str) -> Any:
    """What a reference names; a function or class is called to make it, anything else is the thing itself."""
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise OptionError(f"{what} expects {expected}, got {reference!r}")
    with _on_path(folder), _their_code(f"{what} {reference!r}", folder):
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise OptionError(f"{what} {reference!r}: {module} has no {attribute!r}")
            found = getattr(found, part)
        makes = inspect.isclass(found) or inspect.isroutine(found) or isinstance(found, functools.partial)
        return found() if makes else found


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def _their_code(what: str, folder: Path) -> Iterator[None]:
    """A failure inside the user's code says what failed, and the last line of theirs that it came through."""
    try:
        yield
    except AuditError:
        raise
    except ModuleNotFoundError as error:
        raise OptionError(f"{what}: {error}; it is looked for on sys.path and in {folder}") from error
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise OptionError(f"{what} failed with {type(error).__name__}: {error}{place}") from error


def _arrays(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"cannot read images from {path}: {reason}") from error
    if "images" not in arrays:
        raise OptionError(f"{path} expects an array 'images' (and 'labels'), it has {', '.join(arrays) or 'none'}")
    return (arrays["images"], arrays["labels"]) if "labels" in arrays else arrays["images"]


def _torchvision(table: dict[str, Any], folder: Path) -> Any:
    """A data set of torchvision: the test half, unless `train = true`."""
    import torchvision

    right = all(isinstance(value, _DATASET_KEYS.get(key, ())) for key, value in table.items())
    if "torchvision" not in table or not right:
        raise OptionError(f"data expects {_DATASET}, perhaps with train = true and download = true, got {table!r}")
    name, train = table["torchvision"], table.get("train", False)
    dataset = getattr(torchvision.datasets, name, None)
    if not inspect.isclass(dataset):
        raise OptionError(f"torchvision has no dataset {name!r}")
    root = folder / table.get("root", "data")
    options = {
        "root": str(root), "transform": torchvision.transforms.ToTensor(), "download": table.get("download", False),
        "train": train, "split": "train" if train else "test",
    }  # fmt: skip
    known = inspect.signature(dataset).parameters
    hint = "" if options["download"] else " (download = true fetches it)"
    with _their_code(f"data: torchvision's {name} in {root}{hint}", folder):
        return dataset(**{key: value for key, value in options.items() if key in known})
