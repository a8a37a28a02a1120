"""Models known by their methods alone: PyTorch-VAE, lightning-bolts, TorchScript, ladders, and one's own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vaeaudit.adapters.refusal import unsupported
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.hookspecs import Bounds, hookimpl
from vaeaudit.latent import Scale

_HEADS = (("fc_mu", "fc_var"), ("fc_mu", "fc_logvar"), ("fc_mu", "fc_log_var"), ("fc_mean", "fc_logvar"))
_UNIT: Bounds = (0.0, 1.0)


@hookimpl(trylast=True)
def recognise(model: Any, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:
    """A pair (encoder, decoder); a model with `encode` and `decode`, or with `encoder` and `decoder` and perhaps two heads."""
    if isinstance(model, tuple) and len(model) == 2:
        return Autoencoder(*model, bounds or _UNIT, scale=scale, name=name)
    if (parts := _parts(model)) is None:
        return None
    if not has_parts(model, "encode", "decode") and (others := _others_with_weights(model)):
        raise unsupported(
            model, f"beside encoder and decoder it has weights in {', '.join(map(repr, others))}, which may stand between the two",
            "Where they take no part in a reconstruction, vaeaudit.wrap((model.encoder, model.decoder)); otherwise say what is "
            "computed: vaeaudit.Autoencoder(encode, decode, bounds=..., modules=(model,)), with two functions of yours",
        )  # fmt: skip
    return of_model(model, *parts, bounds or _UNIT, scale, name)


def of_model(
    model: Any, encoder: Any, decoder: Any, bounds: Bounds, scale: Scale | None = None, name: str = ""
) -> Autoencoder:
    """An autoencoder of two parts of one model, called like it, with all of its weights."""
    modules = (model,) if isinstance(model, nn.Module) else ()
    return Autoencoder(encoder, decoder, bounds, scale=scale, name=name or type(model).__name__, modules=modules)


def has_parts(model: Any, encoder: str, decoder: str) -> bool:
    """Whether a model has two callables of these names."""
    return callable(getattr(model, encoder, None)) and callable(getattr(model, decoder, None))


def children_with_parts(model: Any) -> list[str]:
    """Names of a module's children that would be recognised."""
    children = model.named_children() if isinstance(model, nn.Module) else ()
    return [name for name, child in children if _parts(child) is not None]


def _parts(model: Any) -> tuple[Any, Any] | None:
    if has_parts(model, "encode", "decode"):
        return model.encode, model.decode
    if not has_parts(model, "encoder", "decoder"):
        return None
    if heads := _heads(model):
        return Heads(model, *heads).encode, model.decoder
    return model.encoder, model.decoder


def _heads(model: Any) -> tuple[str, str] | None:
    found = (pair for pair in _HEADS if all(hasattr(model, name) for name in pair))
    return next(found, None)


def _others_with_weights(model: Any) -> list[str]:
    """Names of a module's children with weights that neither encoder nor decoder nor heads hold."""
    parts = [getattr(model, name) for name in ("encoder", "decoder", *(_heads(model) or ()))]
    if not isinstance(model, nn.Module) or not all(isinstance(part, nn.Module) for part in parts):
        return []
    owned = {id(weight): weight for part in parts for weight in part.parameters()}
    return [name for name, child in model.named_children() if any(id(w) not in owned for w in child.parameters())]


class Heads:
    """An encoder whose posterior comes from two heads on top of it.

    Args:
        model: has the encoder and the heads.
        mean: name of the one.
        log_variance: name of the other.
    """

    def __init__(self, model: Any, mean: str, log_variance: str) -> None:
        self.model, self.mean, self.log_variance = model, mean, log_variance

    def encode(self, inputs: Tensor) -> dict[str, Tensor]:
        """Mean and log-variance of inputs."""
        features = self.model.encoder(inputs)
        heads = getattr(self.model, self.mean), getattr(self.model, self.log_variance)
        return {"mean": heads[0](features), "logvar": heads[1](features)}
