"""Models of pythae (Chadebec et al. 2022, arXiv:2206.08309), in memory or from a saved folder.

Audited is the Gaussian that a model's `forward` samples first. Where a flow follows it (VAE_LinNF, VAE_IAF), the flow does
not depend on the input and belongs to the decoder; divergences between two posteriors are the same on either side of it.
Where Hamiltonian steps follow it (HVAE, RHVAE), they depend on the input and draw momenta; they are left out, as pythae's
own `predict` leaves them out of an HVAE, and the figures speak of the encoder that starts them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from vaeaudit.adapters.methods import has_parts, of_model
from vaeaudit.adapters.refusal import class_among, comes_from, unsupported
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.hookspecs import Bounds, hookimpl
from vaeaudit.latent import Scale

_UNIT: Bounds = (0.0, 1.0)
_CONFIG = "model_config.json"
_REFUSED = {
    "SVAE": (
        "its posterior is a von Mises-Fisher distribution on a sphere and no Gaussian",
        "Audit its direction as a deterministic code: vaeaudit.Autoencoder(lambda x: "
        "torch.nn.functional.normalize(model.encoder(x).embedding, dim=-1), model.decoder, modules=(model,))",
    ),
    "PoincareVAE": (
        "its posterior lies on a hyperbolic space and is no Gaussian",
        "There is no way yet to audit it",
    ),
    "VQVAE": (
        "its latents are entries of a codebook: the gradient through the choice is zero wherever it exists, and the "
        "straight-through one belongs to another function",
        "Audit what comes before the codebook as a deterministic code: vaeaudit.Autoencoder(encoder, decoder) with a "
        "decoder that quantises; health findings then say which scores the quantiser spoils",
    ),
}


@hookimpl(trylast=True)
def recognise(model: Any, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:
    """A model of pythae, or of a class that extends one."""
    if not comes_from("pythae", model) or not has_parts(model, "encoder", "decoder"):
        return None
    if kind := class_among("pythae", model, _REFUSED):
        raise unsupported(model, *_REFUSED[kind])
    return of_model(model, _encoder(model), _decoder(model), bounds or _UNIT, scale, name)


def load_pythae(
    folder: str | os.PathLike[str], bounds: Bounds = _UNIT, *, name: str = "", allow_pickle: bool = False
) -> Autoencoder:
    """A model that pythae saved, ready to audit.

    Args:
        folder: with `model_config.json` and `model.pt`, as `model.save` writes it.
        bounds: lower and upper end of valid inputs.
        name: name shown in reports; by default the model's class.
        allow_pickle: whether to load networks of one's own, which pythae saves as pickles. A pickle runs whatever code
            its author put there: allow it for files that you trust as you trust a program.

    Raises:
        OptionError: pythae is not installed, the folder holds no model of it, or pickles that were not allowed.
    """
    path = Path(folder)
    _check_folder(path, allow_pickle)
    try:
        from pythae.models import AutoModel
    except ImportError as error:
        raise OptionError(f"{path} holds a model of pythae, which cannot be imported here: {error}") from error
    try:
        model = AutoModel.load_from_folder(str(path))
    except Exception as error:  # of torch, of pickle, of pythae: whatever the files do not hold
        raise OptionError(f"pythae cannot load the model in {path}: {type(error).__name__}: {error}") from error
    from vaeaudit.adapters.wrapping import wrap

    return wrap(model, bounds, name=name)


def _check_folder(path: Path, allow_pickle: bool) -> None:
    try:
        config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} is no folder of a pythae model: {_CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        raise OptionError(f"{path / _CONFIG} names no model of pythae")
    pickles = sorted(file.name for file in path.glob("*.pkl"))
    if pickles and not allow_pickle:
        raise OptionError(
            f"{path} holds pickles ({', '.join(pickles)}), which run code of whoever wrote them when they are loaded; "
            "if you trust them, call vaeaudit.adapters.load_pythae(folder, allow_pickle=True)"
        )


def _encoder(model: Any) -> Any:
    if class_among("pythae", model, ("HVAE",)):
        return _Softplus(model).encode
    if class_among("pythae", model, ("Adversarial_AE",)) and model.deterministic_posterior:
        return _Embedding(model).encode
    return model.encoder


def _decoder(model: Any) -> Any:
    if class_among("pythae", model, ("VAE_IAF",)):
        return _ThroughIaf(model).decode
    if class_among("pythae", model, ("VAE_LinNF",)):
        return _ThroughLayers(model).decode
    return model.decoder


class _Softplus:
    """The Gaussian that an HVAE samples: its standard deviation is the softplus of the second head."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode(self, inputs: Tensor) -> Normal:
        output = self.model.encoder(inputs)
        return Normal(output.embedding, F.softplus(output.log_covariance), validate_args=False)


class _Embedding:
    """The code of an adversarial autoencoder that was told to have no variances."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode(self, inputs: Tensor) -> Tensor:
        return self.model.encoder(inputs).embedding  # type: ignore[no-any-return]


class _ThroughIaf:
    """An inverse autoregressive flow and the decoder behind it."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def decode(self, latents: Tensor) -> Tensor:
        return self.model.decoder(self.model.iaf_flow.inverse(latents).out)["reconstruction"]  # type: ignore[no-any-return]


class _ThroughLayers:
    """Planar and radial flows and the decoder behind them."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def decode(self, latents: Tensor) -> Tensor:
        for layer in self.model.net:
            latents = layer(latents).out
        return self.model.decoder(latents)["reconstruction"]  # type: ignore[no-any-return]
