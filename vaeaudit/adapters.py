"""`wrap`: one model object, recognised by its methods, as an `Autoencoder`."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.latent import Scale

_HEADS = (("fc_mu", "fc_var"), ("fc_mu", "fc_logvar"), ("fc_mu", "fc_log_var"), ("fc_mean", "fc_logvar"))


def wrap(
    model: Any, bounds: tuple[float, float] | None = None, *, scale: Scale | None = None, name: str = ""
) -> Autoencoder:
    """Recognise a model and make it an `Autoencoder`.

    Tried in this order: an `Autoencoder` itself; `encode` and `decode` methods (diffusers
    AutoencoderKL, PyTorch-VAE, most Lightning modules); `encoder` and `decoder` attributes with
    separate heads `fc_mu` and `fc_var` (lightning-bolts); `encoder` and `decoder` alone (pythae).

    Args:
        model: the model.
        bounds: lower and upper end of valid inputs; by default an `Autoencoder`'s own, (-1, 1) for
            diffusers models and (0, 1) otherwise.
        scale: what the second member of a plain pair is, see `Autoencoder`.
        name: name shown in reports.

    Raises:
        OptionError: the model has neither pair of names.
    """
    if isinstance(model, Autoencoder):
        return dataclasses.replace(
            model, bounds=bounds or model.bounds, scale=scale or model.scale, name=name or model.name
        )
    if bounds is None:
        bounds = (-1.0, 1.0) if _is_from("diffusers", model) else (0.0, 1.0)
    encoder, decoder = _parts(model)
    modules = (model,) if isinstance(model, nn.Module) else ()
    return Autoencoder(encoder, decoder, bounds, scale=scale, name=name or type(model).__name__, modules=modules)


def _parts(model: Any) -> tuple[Any, Any]:
    if callable(getattr(model, "encode", None)) and callable(getattr(model, "decode", None)):
        return model.encode, model.decode
    if callable(getattr(model, "encoder", None)) and callable(getattr(model, "decoder", None)):
        for mean, log_variance in _HEADS:
            if hasattr(model, mean) and hasattr(model, log_variance):
                return _Heads(model, mean, log_variance).encode, model.decoder
        return model.encoder, model.decoder
    raise OptionError(
        f"{type(model).__name__} has neither encode/decode methods nor encoder/decoder attributes; "
        "say which is which: vaeaudit.Autoencoder(encoder, decoder, bounds=...)"
    )


def _is_from(package: str, model: Any) -> bool:
    """Whether a package defines the model's class or one that it extends."""
    return any(kind.__module__.split(".")[0] == package for kind in type(model).__mro__)


class _Heads:
    """An encoder whose posterior comes from two heads on top of it."""

    def __init__(self, model: Any, mean: str, log_variance: str) -> None:
        self.model, self.mean, self.log_variance = model, mean, log_variance

    def encode(self, inputs: Tensor) -> dict[str, Tensor]:
        features = self.model.encoder(inputs)
        heads = getattr(self.model, self.mean), getattr(self.model, self.log_variance)
        return {"mean": heads[0](features), "logvar": heads[1](features)}
