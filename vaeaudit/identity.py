"""What determines an audit's figures: model, data, settings and versions, as builtin values."""

from __future__ import annotations

import hashlib
import platform
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import extensions
from vaeaudit.attacks import Penalty, Strengths
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.code_identity import Code, version
from vaeaudit.data import Images
from vaeaudit.spec import Spec


def settings_of(
    subject: Autoencoder,
    data: Images,
    spec: Spec,
    *,
    strengths: Strengths,
    divergence: str,
    penalty: Penalty,
    precision: Precision | None,
) -> dict[str, Any]:
    """The settings of an audit, but for its number of pairs."""
    settings = {
        **spec.settings(), "strengths_given": _plain_setting(strengths), "divergence": divergence,
        "penalty": penalty, "bounds": list(subject.bounds), "scale": subject.scale, "labels": data.labels is not None,
        "images": len(data), "precision": precision,
    }  # fmt: skip
    del settings["pairs"]
    return settings


def _plain_setting(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, str)) else np.asarray(value).tolist()


def versions_beside(code: Code) -> dict[str, str]:
    """Versions of what computes the figures, of the plugins, and of the libraries that the model comes from."""
    return {
        **extensions.active().versions(), **code.libraries, "vaeaudit": version("vaeaudit"),
        "torch": str(torch.__version__), "numpy": np.__version__, "scipy": version("scipy"),
        "python": platform.python_version(),
    }  # fmt: skip


def environment_of(identity: dict[str, Any], device: torch.device) -> dict[str, str]:
    """Versions and arithmetic of a `model_identity`, and the machine that measures."""
    cuda = device.type == "cuda"
    return {
        **identity["versions"], **{name: identity[name] for name in ("dtype", "device_type")},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "threads": str(torch.get_num_threads()),
    }  # fmt: skip


def model_identity(subject: Autoencoder, device: torch.device) -> dict[str, Any]:
    """The model by its weights and code, what computes it, in which precision, and on which kind of device.

    "weights_known" is False where nothing was found behind the encoder or the decoder: equal
    fingerprints then do not mean equal weights.
    """
    code = subject.read_code()
    return {
        "weights": subject.fingerprint(), "weights_known": not subject.parts_without_weights, "code": code.fingerprint,
        "bounds": list(subject.bounds), "scale": subject.scale, "versions": versions_beside(code),
        "dtype": str(subject.dtype).removeprefix("torch."), "device_type": device.type,
    }  # fmt: skip


def data_identity(data: Images, pairs: NDArray[np.int64]) -> dict[str, Any]:
    """The images by their content and positions, and the pairs by which an audit begins."""
    return {
        "data": data.fingerprint(), "positions": hashlib.sha256(data.index.tobytes()).hexdigest(),
        "pairs": len(pairs), "first_pairs": hashlib.sha256(data.index[pairs].tobytes()).hexdigest(),
    }  # fmt: skip
