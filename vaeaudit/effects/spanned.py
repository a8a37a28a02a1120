"""Features of images as coordinates in the span of the clean ones, where there are more features than images.

The weights of a linear classifier with a squared penalty lie in the span of what it learnt from. So what is
perpendicular to all clean images changes no logit, and a classifier of pixels is one of as many coordinates as there are
images: the same optimum, in the memory of a Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaeaudit.effects.logistic import Floats, Integers

LIMIT = 2**31
"""Bytes that features or coordinates of the clean images may take; a fit takes about three times as many beside them."""
_BYTES_AT_ONCE = 2**28
"""Of features of all rows that are turned into float64 together."""


@dataclass(frozen=True, kw_only=True)
class Spanned:
    """Features, or their coordinates on orthonormal axes; float64.

    Attributes:
        clean: of the images, `(images, n)`.
        attacked: of the attacked, `(attacked, n)`.
        width: number of features.
    """

    clean: Floats
    attacked: Floats
    width: int


def bytes_of(features: Tensor) -> int:
    """What features `(images, features)` of the clean images take, as they are or as coordinates."""
    return torch.float64.itemsize * len(features) * min(features.shape)


def spanned(clean: Tensor, attacked: Tensor, order: Integers) -> Spanned:
    """Coordinates of features in the span of the clean ones, or the features where they are no more than images.

    Args:
        clean: features `(images, features)`.
        attacked: features `(attacked, features)`.
        order: of the clean images, in which sums are rounded, `(images,)`.
    """
    width = clean.shape[1]
    if width <= len(clean):
        return Spanned(clean=_plain(clean), attacked=_plain(attacked), width=width)
    places = torch.from_numpy(order).to(clean.device)
    gram, cross = _products(clean, attacked, places)
    squares, axes = torch.linalg.eigh(gram)
    # shorter axes are rounding; as coordinates, they would be noise of no known length
    kept = squares > len(clean) * torch.finfo(torch.float64).eps * squares[-1]
    lengths, axes = squares[kept].sqrt(), axes[:, kept]
    found = torch.empty(len(clean), len(lengths), dtype=torch.float64, device=clean.device)
    found[places] = axes * lengths
    return Spanned(clean=_plain(found), attacked=_plain(cross @ (axes / lengths)), width=width)


def _products(clean: Tensor, attacked: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products of centred clean features, in the given order, with each other and of attacked ones with them."""
    gram = torch.zeros(len(clean), len(clean), dtype=torch.float64, device=clean.device)
    cross = torch.zeros(len(attacked), len(clean), dtype=torch.float64, device=clean.device)
    columns = max(1, _BYTES_AT_ONCE // (torch.float64.itemsize * (len(clean) + len(attacked))))
    for own, other in zip(clean.split(columns, 1), attacked.split(columns, 1), strict=True):
        block = own[places].double()
        centre = block.mean(0)
        block -= centre
        gram.addmm_(block, block.T)
        cross.addmm_(other.double() - centre, block.T)
    return gram, cross


def _plain(values: Tensor) -> Floats:
    plain: Floats = np.asarray(values.detach().double().cpu().numpy())
    return plain
