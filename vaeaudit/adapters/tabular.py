"""VAEs of count tables in the manner of scvi-tools: covariates beside the input, a library size beside the latent.

Such a module has `inference(x, **covariates)`, which returns the posterior as "qz" beside a sample, and
`generative(z, library, **covariates)`, whose "px" is the distribution of the counts (Lopez et al. 2018,
doi:10.1038/s41592-018-0229-2). As an autoencoder it is a function of the input alone only once covariates and library size
are fixed, which nobody but the user can do.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaeaudit.adapters.methods import has_parts, of_model
from vaeaudit.adapters.refusal import unsupported
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError, brief
from vaeaudit.hookspecs import Bounds, hookimpl
from vaeaudit.latent import Scale

_COUNTS: Bounds = (0.0, math.inf)


@hookimpl(trylast=True)
def recognise(model: Any, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:  # noqa: ARG001
    """A module with `inference` and `generative`, or a model that holds one: refused with how to say the rest."""
    if has_parts(model, "encode", "decode"):
        return None
    if any(has_parts(part, "inference", "generative") for part in (model, getattr(model, "module", None))):
        raise unsupported(
            model, "its reconstruction depends on covariates and a library size, which are not known here",
            "Fix them: vaeaudit.adapters.from_tabular(model.module, library_size=1e4, covariates={'batch_index': 0}), with the "
            "covariates that its inference takes",
        )  # fmt: skip
    return None


def from_tabular(
    module: Any, *, library_size: float, covariates: Mapping[str, float | Tensor] | None = None, bounds: Bounds = _COUNTS,
    name: str = "",
) -> Autoencoder:  # fmt: skip
    """A module in the manner of scvi-tools as a function of its counts alone.

    The posterior is "qz", never the sample beside it; a reconstruction is the mean of "px" at one library size. What the
    module does to counts first, such as log1p, is part of it: inputs are counts, in [0, inf).

    Args:
        module: with `inference` and `generative`.
        library_size: total counts of a reconstruction.
        covariates: by name, for both: a number, or one row `(1, width)`, the same for every input. What only one of
            the two takes is not given to the other.
        bounds: lower and upper end of valid inputs; counts are bounded below only.
        name: name shown in reports; by default the module's class.

    Raises:
        OptionError: no such module, no positive library size, or covariates that are no rows.
    """
    if not has_parts(module, "inference", "generative"):
        raise OptionError(f"from_tabular expects a module with inference and generative, got {brief(module)}")
    if not (isinstance(library_size, (int, float)) and 0 < library_size < math.inf):
        raise OptionError(f"library_size expects a positive number of counts, got {brief(library_size)}")
    rows = {key: _row(key, value) for key, value in (covariates or {}).items()}
    fixed = _Fixed(module, math.log(library_size), rows)
    return of_model(module, fixed.encode, fixed.decode, bounds, name=name)


def _row(name: str, value: float | Tensor) -> Tensor:
    row = torch.as_tensor(value)
    row = row.reshape(1, 1) if row.ndim == 0 else row
    if row.ndim != 2 or len(row) != 1:
        raise OptionError(f"covariate {name!r} expects a number or one row (1, width), got {tuple(row.shape)}")
    return row


class _Fixed:
    """A module with its covariates and its library size fixed."""

    def __init__(self, module: nn.Module, log_library: float, covariates: dict[str, Tensor]) -> None:
        self.module, self.log_library, self.covariates = module, log_library, covariates

    def encode(self, inputs: Tensor) -> Distribution:
        """The posterior of counts `(batch, genes)`."""
        output = self.module.inference(inputs, **self._given(self.module.inference, inputs))  # type: ignore[operator]
        return output["qz"]  # type: ignore[no-any-return]

    def decode(self, latents: Tensor) -> Distribution:
        """The distribution of counts that latents `(batch, units)` stand for."""
        library = latents.new_full((len(latents), 1), self.log_library)
        given = self._given(self.module.generative, latents)
        output = self.module.generative(latents, library=library, **given)  # type: ignore[operator]
        return output["px"]  # type: ignore[no-any-return]

    def _given(self, function: Any, batch: Tensor) -> dict[str, Tensor]:
        """Covariates that a function takes, one row for each of the batch's."""
        return {
            name: row.to(batch.device).expand(len(batch), -1)
            for name, row in self.covariates.items() if name in inspect.signature(function).parameters
        }  # fmt: skip
