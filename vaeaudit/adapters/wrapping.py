"""`wrap`: one model object, recognised by a plugin or an adapter, as an `Autoencoder`."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from vaeaudit import extensions
from vaeaudit.adapters import diffusers, exported, methods, pythae, tabular, torchscript
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError, brief
from vaeaudit.latent import Scale

_SHIPPED = {
    "diffusers": diffusers, "pythae": pythae, "exported": exported, "torchscript": torchscript, "tabular": tabular,
    "methods": methods,
}  # fmt: skip
"""In the order in which they are asked, after all plugins."""


def wrap(
    model: Any, bounds: tuple[float, float] | None = None, *, scale: Scale | None = None, name: str = ""
) -> Autoencoder:
    """Recognise a model and make it an `Autoencoder`.

    Asked in this order: whether it is an `Autoencoder` itself; plugins (docs/extending.md); adapters for diffusers, for
    pythae, for a pair of exported programs; a pair (encoder, decoder); `encode` and `decode` methods (PyTorch-VAE, most
    Lightning modules, TorchScript); `encoder` and `decoder` attributes with separate heads `fc_mu` and `fc_var`
    (lightning-bolts), or alone. docs/adapters.md tells what each assumes and refuses.

    Args:
        model: the model.
        bounds: lower and upper end of valid inputs; by default an `Autoencoder`'s own, (-1, 1) for
            diffusers models and (0, 1) otherwise.
        scale: what the second member of a plain pair is, see `Autoencoder`.
        name: name shown in reports.

    Raises:
        OptionError: nobody recognises the model, or it cannot be audited as it is.
        PluginError: a plugin failed.
    """
    if isinstance(model, (str, os.PathLike)):
        raise OptionError(
            f"{brief(os.fspath(model))} is a path and no model; load it first, such as by vaeaudit.adapters.load_pythae(folder), "
            "vaeaudit.adapters.load_checkpoint(Module, path) or vaeaudit.adapters.from_exported(encoder, decoder)"
        )
    found = model if isinstance(model, Autoencoder) else _with_shipped().recognise(model, bounds, scale, name)
    if found is None:
        raise OptionError(_unknown(model))
    return dataclasses.replace(
        found, bounds=bounds or found.bounds, scale=scale or found.scale, name=name or found.name
    )


def _with_shipped() -> extensions.Extensions:
    """The plugins of this process, and behind them the adapters here, which come through the same hook."""
    active = extensions.active()
    for family, module in _SHIPPED.items():
        active.register_shipped(module, family)
    return active


def _unknown(model: Any) -> str:
    inside = methods.children_with_parts(model)
    hint = f". Its {inside[0]!r} would be recognised: vaeaudit.wrap(model.{inside[0]})" if inside else ""
    return (
        f"{type(model).__name__} has neither encode/decode methods nor encoder/decoder attributes; "
        f"say which is which: vaeaudit.Autoencoder(encoder, decoder, bounds=...){hint}"
    )
