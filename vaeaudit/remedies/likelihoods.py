"""Reconstruction terms of a training loss: negative log-likelihoods of images, in nats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vaeaudit.errors import DataError, ModelError, OptionError

Likelihood = Callable[[Tensor, Tensor], Tensor]
Reconstruction = Literal["bernoulli", "gaussian"] | Likelihood


def likelihood_bernoulli(reconstructions: Tensor, inputs: Tensor) -> Tensor:
    """Cross-entropy of grey pixels, nats, `(batch,)`.

    Raises:
        DataError: inputs outside [0, 1].
        ModelError: reconstructions outside [0, 1].
    """
    # out of range, inputs make it unbounded below without a sign, reconstructions abort a GPU's process
    if outside := _outside_unit(inputs):
        raise DataError(
            f"bernoulli expects inputs in [0, 1], got {outside}; scale them, or use reconstruction='gaussian'"
        )
    if outside := _outside_unit(reconstructions):
        raise ModelError(
            f"bernoulli expects reconstructions in [0, 1], got {outside}; end the decoder with a sigmoid, or use "
            "reconstruction='gaussian'. NaN means that training has diverged"
        )
    return F.binary_cross_entropy(reconstructions, inputs.to(reconstructions.dtype), reduction="none").flatten(1).sum(1)


def likelihood_gaussian(reconstructions: Tensor, inputs: Tensor) -> Tensor:
    """Half the squared L2 distance: unit variance, without its constant, nats, `(batch,)`."""
    return 0.5 * (reconstructions - inputs).square().flatten(1).sum(1)


LIKELIHOODS: dict[str, Likelihood] = {"bernoulli": likelihood_bernoulli, "gaussian": likelihood_gaussian}


def likelihood_named(reconstruction: Any) -> Likelihood:
    """Look a likelihood up; a function is taken as it is, but held to one figure an image.

    Raises:
        OptionError: neither a known name nor a function.
    """
    if isinstance(reconstruction, str) and reconstruction in LIKELIHOODS:
        return LIKELIHOODS[reconstruction]
    if not callable(reconstruction):
        known = ", ".join(map(repr, LIKELIHOODS))
        raise OptionError(
            f"reconstruction expects one of {known}, or a function of (reconstructions, inputs), got {reconstruction!r}"
        )
    return lambda reconstructions, inputs: _rows(reconstruction(reconstructions, inputs), len(inputs))


def _rows(figures: Any, count: int) -> Tensor:
    if not isinstance(figures, Tensor) or figures.shape != (count,):
        came = f"a tensor {tuple(figures.shape)}" if isinstance(figures, Tensor) else type(figures).__name__
        raise OptionError(
            f"the reconstruction function returned {came}; expected one figure an image, ({count},). Sum over the "
            "pixels, not over the batch"
        )
    return figures


def _outside_unit(values: Tensor) -> str:
    """The range of values that leave [0, 1], in words; empty if none does."""
    low, high = torch.stack(values.detach().aminmax()).tolist()
    return "" if low >= 0 and high <= 1 else f"[{low:.3g}, {high:.3g}]"
