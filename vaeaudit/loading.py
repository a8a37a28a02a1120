"""Model and data that an `audit.toml` names."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sys
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vaeaudit import zoo
from vaeaudit.adapters import load_pythae, wrap
from vaeaudit.arrays import read_arrays
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.config import AuditFile
from vaeaudit.errors import AuditError, OptionError
from vaeaudit.memory import machine_bytes

ZOO, PYTHAE = "zoo:", "pythae:"
_SHOWN = 10
_DATASET_KEYS: dict[str, type] = {"torchvision": str, "root": str, "train": bool, "download": bool}
_DATASET = '{ torchvision = "MNIST", root = "data" }'
_DATA = f'"package.module:name", "zoo:NAME", a .npy or .npz file, or a table {_DATASET}'


def load_model(file: AuditFile) -> Autoencoder:
    """Import and wrap the model.

    Raises:
        OptionError: it cannot be found or made.
    """
    if file.model.startswith(ZOO):
        found: Any = zoo.load(file.model.removeprefix(ZOO))
    elif file.model.startswith(PYTHAE):
        found = load_pythae(file.folder / file.model.removeprefix(PYTHAE))
    else:
        found = _made(file.model, file.folder, "model", '"package.module:name", "zoo:NAME" or "pythae:FOLDER"')
    return wrap(found, file.bounds, scale=file.scale, name=file.name)


def load_data(file: AuditFile) -> Any:
    """Import or read the images.

    Raises:
        OptionError: they cannot be found or made.
    """
    if isinstance(file.data, dict):
        return _torchvision(file.data, file.folder)
    if file.data.startswith(ZOO):
        return zoo.images(file.data.removeprefix(ZOO))
    if file.data.endswith((".npy", ".npz")):
        return _arrays(file.folder / file.data)
    return _made(file.data, file.folder, "data", _DATA)


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
    """Images of an .npy file, of which only those that are audited are read, or of an .npz."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"PK"  # which numpy, told to map it, would leave open where it is damaged
        if path.suffix == ".npy" and not packed:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = read_arrays(path, wanted=("images", "labels"), most=machine_bytes())
    except Exception as error:  # numpy has no one kind for a damaged file
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"cannot read images from {path}: {reason}") from error
    if "images" not in arrays:
        raise OptionError(f"{path} expects an array 'images' (and 'labels'), it has {_names(path)}")
    return (arrays["images"], arrays["labels"]) if "labels" in arrays else arrays["images"]


def _names(path: Path) -> str:
    """Names of the arrays in an .npz, the first of them."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "none"


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
