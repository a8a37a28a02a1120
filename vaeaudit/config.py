"""`audit.toml`: which model, which data, how much to measure, and which bars to hold it against."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaeaudit import zoo
from vaeaudit.adapters import wrap
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.verdict import Bar

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
_PASSED_ON = ("preset", "pairs", "seed", "device", "strengths", "divergence", "penalty")
_DATASET_KEYS = ("torchvision", "root", "train", "download")


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
            OptionError: it cannot be found.
        """
        if self.model.startswith(ZOO):
            return zoo.load(self.model.removeprefix(ZOO))
        found = _made(_imported(self.model, self.folder, "model"))
        if isinstance(found, tuple) and len(found) == 2:
            return Autoencoder(*found, self.bounds or (0.0, 1.0), scale=self.scale, name=self.name)
        return wrap(found, self.bounds, scale=self.scale, name=self.name)

    def load_data(self) -> Any:
        """Import or read the images.

        Raises:
            OptionError: they cannot be found.
        """
        if isinstance(self.data, dict):
            return _torchvision(self.data, self.folder)
        if self.data.startswith(ZOO):
            return zoo.images(self.data.removeprefix(ZOO))
        if self.data.endswith((".npy", ".npz")):
            return _arrays(self.folder / self.data)
        return _made(_imported(self.data, self.folder, "data"))


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
            kinds = " or ".join(kind.__name__ for kind in _PLAIN[key])
            raise OptionError(f"{path}: {key} expects {kinds}, got {value!r}")
    for key in ("model", "data"):
        if key not in content:
            raise OptionError(f'{path}: {key} is missing; say {key} = "package.module:name" or "zoo:mnist-vae"')


def _bars(thresholds: dict[str, Any], path: Path) -> dict[str, Bar]:
    bars = {}
    for score, bar in thresholds.items():
        if not isinstance(bar, dict) or len(bar) != 1 or next(iter(bar)) not in _BARS:
            raise OptionError(
                f"{path}: thresholds.{score} expects {{ at_least = NUMBER }} or {{ at_most = NUMBER }}, got {bar!r}"
            )
        ((kind, value),) = bar.items()
        bars[score] = Bar(kind, value)
    return bars


def _imported(reference: str, folder: Path, what: str) -> Any:
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise OptionError(f'{what} expects "package.module:name", got {reference!r}')
    with _on_path(folder):
        try:
            found: Any = importlib.import_module(module)
        except ImportError as error:
            raise OptionError(f"{what} {reference!r}: {error}; it is looked for on sys.path and in {folder}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise OptionError(f"{what} {reference!r}: {module} has no {attribute!r}")
        found = getattr(found, part)
    return found


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _made(found: Any) -> Any:
    """A function or class is called to make the thing; anything else, a module included, is the thing."""
    return found() if isinstance(found, type) or type(found).__name__ in {"function", "method"} else found


def _arrays(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read images from {path}: {error}") from error
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if "images" not in loaded.files:
            raise OptionError(f"{path} expects an array 'images' (and 'labels'), it has {', '.join(loaded.files)}")
        images = loaded["images"]
        return (images, loaded["labels"]) if "labels" in loaded.files else images


def _torchvision(table: dict[str, Any], folder: Path) -> Any:
    import torchvision

    if "torchvision" not in table or any(key not in _DATASET_KEYS for key in table):
        raise OptionError(f'data expects {{ torchvision = "MNIST", root = "data" }}, got {table!r}')
    name = table["torchvision"]
    dataset = getattr(torchvision.datasets, name, None)
    if dataset is None:
        raise OptionError(f"torchvision has no dataset {name!r}")
    options: dict[str, Any] = {"transform": torchvision.transforms.ToTensor(), "download": table.get("download", False)}
    held_out = {"split": "train" if table.get("train") else "test"}
    known = "train" in dataset.__init__.__code__.co_varnames
    options |= {"train": table.get("train", False)} if known else held_out
    return dataset(str(folder / table.get("root", "data")), **options)
