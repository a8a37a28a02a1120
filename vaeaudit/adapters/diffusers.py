"""Autoencoders of diffusers: what `encode` and `decode` compute, before any scaling for a diffusion model.

A pipeline multiplies latents by `scaling_factor`, and some subtract `shift_factor` before it. The divergences `kl`,
`kl_reverse` and `symmetric_kl` do not change under that, so neither do attacks that use them; latent distances and
pullback scores of the encoder are those of the unscaled latents, and differ by powers of the factor.
"""

from __future__ import annotations

import inspect
from typing import Any

from vaeaudit.adapters.methods import has_parts, of_model
from vaeaudit.adapters.refusal import class_among, comes_from, unsupported
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.hookspecs import Bounds, hookimpl
from vaeaudit.latent import Scale

_PIXELS: Bounds = (-1.0, 1.0)
_REFUSED = {
    "ConsistencyDecoderVAE": (
        "its decoder draws noise and denoises it, so that one latent has many reconstructions",
        "Audit the autoencoder that its encoder was trained with, an AutoencoderKL",
    ),
}


@hookimpl(trylast=True)
def recognise(model: Any, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:
    """An autoencoder of diffusers, or of a class that extends one; bounds are [-1, 1] where none are given."""
    if not comes_from("diffusers", model) or not has_parts(model, "encode", "decode"):
        return None
    if kind := class_among("diffusers", model, _REFUSED):
        raise unsupported(model, *_REFUSED[kind])
    if further := _needed_beside_latents(model):
        raise unsupported(
            model, f"its decode needs {', '.join(further)} beside the latents",
            "Bind them: vaeaudit.Autoencoder(model.encode, functools.partial(model.decode, "
            f"{further[0]}=...), bounds=(-1, 1), modules=(model,))",
        )  # fmt: skip
    if getattr(model, "use_tiling", False):
        raise unsupported(
            model, "it has tiling switched on, which computes something else than the model and blends tiles in place",
            "Call model.disable_tiling(); slicing may stay on",
        )  # fmt: skip
    return of_model(model, model.encode, model.decode, bounds or _PIXELS, scale, name)


def _needed_beside_latents(model: Any) -> list[str]:
    """Parameters of `decode` that have no default, but for the first."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(model.decode).parameters.values())
    needed = [p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    return needed[1:]
