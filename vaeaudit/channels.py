"""Channels of a latent: how much each varies over images, and how far it moves between them.

A channel is an index of a latent's first axis, `(channels, ...)`; each unit of a vector is one. Groups of a hierarchical
latent have channels of their own, counted one group after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaeaudit.errors import OptionError
from vaeaudit.latent import Posterior

LEAST_DEVIATION = 1e-3
"""A channel's deviation counts as no less than this share of the largest: what hardly varies holds nothing but noise."""


def channel_deviations(posterior: Posterior) -> Tensor:
    """Standard deviation of each channel's means over images and places, in latent units, `(channels,)`, float64.

    Args:
        posterior: of all images, `(images, *latent)`.
    """
    return torch.cat([part.transpose(0, 1).flatten(1).std(1, correction=0) for part in _parts(posterior)])


def latent_deviations(posterior: Posterior) -> tuple[float, ...]:
    """What a distance in standard deviations divides each channel by, latent units.

    These are `channel_deviations`, but none is less than a thousandth of the largest.

    Args:
        posterior: of all images, `(images, *latent)`.

    Raises:
        OptionError: the codes of all images are the same.
    """
    found = channel_deviations(posterior)
    if not 0 < float(found.max()) < math.inf:
        raise OptionError(
            f"the latent means of {len(posterior.mean)} images do not vary, so no channel can be normalised by its deviation"
        )
    return counted_deviations(found.tolist())


def counted_deviations(deviations: Sequence[float]) -> tuple[float, ...]:
    """Deviations, none of them less than a thousandth of the largest."""
    least = LEAST_DEVIATION * max(deviations)
    return tuple(max(float(one), least) for one in deviations)


def channel_movement(moved: Posterior, clean: Posterior) -> Tensor:
    """How far each channel's mean moved, latent units: root mean square over its places, `(rows, channels)`, float64.

    Args:
        moved: `(rows, *latent)`.
        clean: of the same rows.
    """
    pairs = zip(_parts(moved), _parts(clean), strict=True)
    return torch.cat([(after - before).square().mean(2).sqrt() for after, before in pairs], 1)


def _parts(posterior: Posterior) -> list[Tensor]:
    """The means of each group, `(rows, channels, places)`."""
    means, layout = posterior.mean.double(), posterior.layout
    groups = (means,) if layout is None else layout.split(means)
    return [group.reshape(len(group), group.shape[1] if group.ndim > 1 else 1, -1) for group in groups]
