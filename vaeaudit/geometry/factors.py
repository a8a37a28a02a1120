"""Pullback metrics from Jacobians that are held: G = A' A with few rows in A (definitions D6, rows 21 to 23)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaeaudit.geometry.jacobians import Jacobians
from vaeaudit.geometry.operators import ENCODER_METRICS, check_metric


def encoder_factor(jacobians: Jacobians, metric: str) -> Tensor:
    """A with G = A' A for an encoder metric, `(batch, rows, n)`, float64.

    Raises:
        OptionError: unknown metric, or `fisher` of a deterministic code.
    """
    check_metric(metric, ENCODER_METRICS, deterministic=jacobians.log_std is None)
    mean = jacobians.mean.double()
    if metric == "mean" or jacobians.log_std is None or jacobians.std is None:
        return mean
    std, log_std = jacobians.std.double()[..., None], jacobians.log_std.double()
    if metric == "wasserstein":
        return torch.cat([mean, std * log_std], 1)
    return torch.cat([mean / std, math.sqrt(2) * log_std], 1)


def round_trip_factor(jacobians: Jacobians, decoder: Tensor) -> Tensor:
    """A with G = A' A for the round trip, `(batch, rows, n)`, float64."""
    decoder = decoder.double()
    gram = decoder.mT @ decoder
    carried = _square_root(gram) @ jacobians.mean.double()
    if jacobians.log_std is None or jacobians.std is None:
        return carried
    spread = gram.diagonal(dim1=1, dim2=2).sqrt() * jacobians.std.double()
    return torch.cat([carried, spread[..., None] * jacobians.log_std.double()], 1)


def _square_root(gram: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(gram)
    root: Tensor = values.clamp_min(0).sqrt()[..., None] * vectors.mT
    return root
