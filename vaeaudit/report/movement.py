"""How far the untargeted attack moves the latent: plain values of a report."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.shapes import check_shapes
from vaeaudit.statistics import Estimate, all_distrusted

Floats = NDArray[np.float64]
CHANNEL_UNITS = "channel std"
"""The unit of the movement: standard deviations of a latent channel over the clean images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentMovement:
    """How far the very images that the untargeted attack found move the posterior mean mu, each channel by its own scale.

    With m_c the root mean square of mu(x + d) - mu(x) over the places of channel c, and s_c the standard deviation of
    that channel's means over the clean images and all places, an image moves by

        m = sqrt(mean over channels c of (m_c / s_c)^2)

    in standard deviations; lower is more robust. A channel is an index of the latent's first axis, each unit of a
    vector is one, and groups of a hierarchical latent have channels of their own. No s_c counts as less than a
    thousandth of the largest, as in the divergence channel_normalised_l2: a channel that never moves lowers the mean
    over channels, one that the attack alone moves raises it. The attack raises the displacement of the reconstruction,
    so another attack may move the latent further.

    Attributes:
        moved: m of each image at each budget, `(images, budgets)`; NaN where it is not finite, or no channel varies.
        estimates: mean of m over images at each budget; lower is more robust.
        by_channel: m_c / s_c at the largest budget, where the damage is largest, mean over images, `(channels,)`.
        by_channel_errors: its standard error, `(channels,)`; NaN for fewer than two images.
        deviations: s_c, latent units, `(channels,)`; 0 for all if no channel varies.
        collapsed: channels that hardly vary over the clean images, by no more than a thousandth of the largest
            deviation, which they count with, `(channels,)`. All of them if no channel varies: there is no unit then.
    """

    moved: Floats
    estimates: tuple[Estimate, ...]
    by_channel: Floats
    by_channel_errors: Floats
    deviations: Floats
    collapsed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        channels = (self.deviations.size,)
        check_shapes(self, dict.fromkeys(("by_channel", "by_channel_errors", "deviations", "collapsed"), channels))
        check_shapes(self, {"moved": (len(self.moved), len(self.estimates))})

    def distrusted(self) -> LatentMovement:
        """The same figures, marked as not to be relied upon."""
        return replace(self, estimates=all_distrusted(self.estimates))
