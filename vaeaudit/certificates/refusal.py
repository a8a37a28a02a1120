"""Why a model, or a part of it, is not certified."""

from __future__ import annotations

from vaeaudit.errors import ModelError


class NotCertifiedError(ModelError):
    """Something in a model for which no sound bound is known here; the message names the layer and the reason."""


def refused(layer: str, reason: str) -> NotCertifiedError:
    """The error that names a layer and the reason."""
    return NotCertifiedError(f"not certified, because of layer {layer!r}: {reason}")
