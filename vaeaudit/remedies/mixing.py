"""Mixing: a convex combination of a batch with a permutation of itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """One permutation and one weight for a whole batch (Zhang et al. 2018, arXiv:1710.09412, section 2).

    Attributes:
        permutation: the row that each row is mixed with, `(batch,)`.
        weight: share of the row itself, between 0 and 1, a scalar tensor.
    """

    permutation: Tensor
    weight: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """`weight * values + (1 - weight) * values[permutation]`, `(batch, *event)`; gradients flow."""
        # lerp returns its ends exactly where the weight is 0 or 1
        return torch.lerp(values[self.permutation], values, self.weight.to(values.dtype))


def draw_mixing(values: Tensor, concentration: float, generator: Generator | None = None) -> Mixing:
    """Draw a uniform permutation and a weight from Beta(concentration, concentration).

    Args:
        values: what will be mixed, `(batch, *event)`; the draws are made on its device.
        concentration: both parameters of the Beta distribution; 0.5 favours the ends, 1 is uniform.
        generator: source of randomness on that device; None is torch's own.
    """
    permutation = torch.randperm(len(values), generator=generator, device=values.device)
    return Mixing(permutation=permutation, weight=_beta(values, concentration, generator))


def _beta(values: Tensor, concentration: float, generator: Generator | None) -> Tensor:
    """Beta(c, c) as the share of one of two Gamma(c), whose logs are compared.

    `torch.distributions.Beta` takes no generator. A Gamma(c) is a Gamma(c + 1) times U^(1/c)
    (Marsaglia and Tsang 2000, section 6), which for small c is too small for a float, but not its log.
    """
    dtype = torch.promote_types(values.dtype, torch.float32)
    shape = torch.full((2,), concentration + 1, dtype=dtype, device=values.device)
    uniform = 1 - torch.rand(2, dtype=dtype, device=values.device, generator=generator)  # never 0
    logs = torch._standard_gamma(shape, generator=generator).log() + uniform.log() / concentration
    return torch.sigmoid(logs[0] - logs[1])
