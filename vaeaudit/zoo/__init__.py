"""Small trained models and real test images to try an audit on, and to test against.

Names and cards can be read without torch, which is imported when a model or images are loaded.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from vaeaudit.autoencoder import Autoencoder


def names() -> tuple[str, ...]:
    """Names of the bundled models."""
    return tuple(_cards())


def card(name: str) -> dict[str, Any]:
    """What a model is and how well it does: data, architecture, training, figures on the test set.

    Raises:
        OptionError: there is no such model.
    """
    cards = _cards()
    if name not in cards:
        raise OptionError(f"unknown zoo model {name!r}; choose one of {', '.join(cards)}")
    found: dict[str, Any] = cards[name]
    return found


def load_model(name: str) -> Any:
    """A bundled model as a `torch.nn.Module` with `encode` and `decode`, in evaluation mode.

    Raises:
        OptionError: there is no such model.
    """
    import safetensors.torch

    from vaeaudit.zoo.models import build

    description = card(name)
    model = build(description["architecture"], description["options"])
    model.load_state_dict(safetensors.torch.load(_read(f"weights/{name}.safetensors")))
    return model.eval()


def load(name: str) -> Autoencoder:
    """A bundled model, ready to audit.

    Raises:
        OptionError: there is no such model.
    """
    from vaeaudit.adapters import wrap

    return wrap(load_model(name), bounds=(0.0, 1.0), name=name)


def images(name: str) -> tuple[Tensor, NDArray[np.int64]]:
    """Real test images of the data a model was trained on, `(300, 1, 28, 28)` in [0, 1], and labels.

    Args:
        name: of a model.

    Raises:
        OptionError: there is no such model.
    """
    import safetensors.torch

    tensors = safetensors.torch.load(_read(f"images/{card(name)['data']}.safetensors"))
    return tensors["images"].float() / 255, tensors["labels"].numpy().astype(np.int64)


def _cards() -> dict[str, Any]:
    cards: dict[str, Any] = json.loads(_read("cards.json"))
    return cards


def _read(path: str) -> bytes:
    return resources.files("vaeaudit.zoo").joinpath(path).read_bytes()
