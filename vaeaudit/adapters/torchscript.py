"""TorchScript modules with `encode` and `decode` exported, or with an `encoder` and a `decoder` inside."""

from __future__ import annotations

from typing import Any

import torch

from vaeaudit.adapters import methods
from vaeaudit.adapters.refusal import unsupported
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.hookspecs import Bounds, hookimpl
from vaeaudit.latent import Scale


@hookimpl(trylast=True)
def recognise(model: Any, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:
    """A scripted or traced module, called as its class was; gradients flow through it unless it was frozen."""
    if not isinstance(model, torch.jit.ScriptModule):
        return None
    if not hasattr(model, "training"):
        raise unsupported(
            model, "it was frozen, so that its weights and its mode are constants that nobody can look at",
            "Audit the module as it was before torch.jit.freeze or torch.jit.optimize_for_inference",
        )  # fmt: skip
    called = name or getattr(model, "original_name", "")
    found = methods.recognise(model, bounds, scale, called)
    if found is None:
        raise unsupported(
            model, "it has neither encode and decode methods nor an encoder and a decoder",
            "Mark them @torch.jit.export, or script encoder and decoder one by one: vaeaudit.Autoencoder(encoder, decoder)",
        )  # fmt: skip
    return found
