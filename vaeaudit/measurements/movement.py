"""How far the untargeted attack's images move the posterior mean."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.channels import LEAST_DEVIATION, channel_movement, counted_deviations
from vaeaudit.measurements.bench import Bench, Floats
from vaeaudit.report.movement import CHANNEL_UNITS, LatentMovement
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.statistics import Estimate, estimate


def moved_channels(bench: Bench, images: Tensor, adversarial: Tensor) -> NDArray[np.float32]:
    """How far each channel's mean moved, latent units (root mean square over its places), `(images, budgets, channels)`.

    Rows that are kept hold latent units: what a channel is divided by is known once the data is, and a last bit of
    it that differs must cost nobody an attack.

    Args:
        bench: whose encoder.
        images: x, `(images, *event)`.
        adversarial: x + d, `(images, budgets, *event)`.
    """
    count, budgets = adversarial.shape[:2]
    rows = torch.arange(count, device=images.device).repeat_interleave(budgets)
    clean, moved = bench.ae.posteriors(images), bench.ae.posteriors(adversarial.flatten(0, 1))
    found: NDArray[np.float32] = channel_movement(moved, clean[rows]).float().cpu().numpy()
    return found.reshape(count, budgets, -1)


def movement_of(channels: NDArray[np.float32], deviations: Floats) -> LatentMovement:
    """The movement in standard deviations, see `LatentMovement`.

    Args:
        channels: from `moved_channels`, latent units, `(images, budgets, channels)`; what is not finite is left out.
        deviations: of each channel over the clean images, latent units, `(channels,)`.
    """
    counted = np.array(counted_deviations(deviations.tolist()))
    units = np.where(counted > 0, counted, np.nan)  # none at all, where no channel varies
    scaled = np.where(np.isfinite(channels), channels, np.nan) / units
    moved = np.sqrt(np.square(scaled).mean(2))
    furthest = np.sort(scaled[~np.isnan(moved[:, -1]), -1], axis=0)  # sums round alike only in one order
    return LatentMovement(
        moved=moved, estimates=tuple(_mean(column) for column in moved.T),
        by_channel=_means(furthest), by_channel_errors=_standard_errors(furthest),
        deviations=counted, collapsed=deviations <= LEAST_DEVIATION * deviations.max(),
    )  # fmt: skip


def _mean(figures: Floats) -> Estimate:
    return estimate(figures, statistic="mean", unit=CHANNEL_UNITS, higher_is_better=DIRECTIONS["damage_latent"])


def _means(rows: Floats) -> Floats:
    """Means of the columns; NaN without rows."""
    return rows.mean(0) if len(rows) else np.full(rows.shape[1], np.nan)


def _standard_errors(rows: Floats) -> Floats:
    """Standard errors of the columns' means; NaN for fewer than two rows."""
    few = len(rows) < 2
    return np.full(rows.shape[1], np.nan) if few else rows.std(0, ddof=1) / np.sqrt(len(rows))
