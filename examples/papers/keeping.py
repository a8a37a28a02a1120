"""What a killed run finds again, each file whole or not at all; and figures as files hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import nn

from vaeaudit.arrays import read_arrays, write_arrays
from vaeaudit.files import make_folder, write_atomically

Net = TypeVar("Net", bound=nn.Module)
_DIGITS = 5


def kept_model(model: Net, file: Path, train: Callable[[], nn.Module]) -> Net:
    """A model with the weights that lie on disk, trained first where none do; in evaluation mode."""
    if not file.exists():
        print(f"training {file.stem}", flush=True)
        put(file, save(train().state_dict()))
    model.load_state_dict(load_file(file))
    model.eval()
    return model


def kept_arrays(file: Path, measure: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays as they lie on disk, measured first where they do not."""
    if not file.exists():
        print(f"measuring {file.stem}", flush=True)
        arrays = measure()
        make_folder(file.parent)
        write_arrays(file, arrays)
    return read_arrays(file)


def kept_json(file: Path, measure: Callable[[], Any]) -> Any:
    """Plain values as they lie on disk, measured first where they do not."""
    if not file.exists():
        put(file, json.dumps(measure()))
    return json.loads(file.read_text())


def put(file: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all."""
    make_folder(file.parent)
    write_atomically(file, lambda opened: opened.write(content.encode() if isinstance(content, str) else content))
    return file


def versions() -> dict[str, str]:
    """What a run's figures depend on beside its settings."""
    return {"vaeaudit": metadata.version("vaeaudit"), "torch": str(torch.__version__), "numpy": np.__version__}


def plain(values: Any) -> Any:
    """Values as a results file holds them: builtin numbers to five digits, None where there is none."""
    if isinstance(values, Mapping):
        return {name: plain(value) for name, value in values.items()}
    if isinstance(values, (np.ndarray, np.generic)):
        return plain(values.tolist())
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    if isinstance(values, float):
        return float(f"{values:.{_DIGITS}g}") if math.isfinite(values) else None
    return values
