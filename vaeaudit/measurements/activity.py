"""Which latent units are in use (definitions D9), and how much each channel varies."""

from __future__ import annotations

import numpy as np
import torch

from vaeaudit.channels import channel_deviations
from vaeaudit.checkpoint import Arrays
from vaeaudit.geometry import scores
from vaeaudit.measurements.bench import Bench, Rows, plain
from vaeaudit.statistics import Estimate, count_above


def varied_rows(images: int, most: int, seed: int) -> Rows:
    """All rows of the images, or as many as an audit affords, drawn at random whatever the pairs; ascending."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng([seed, 2]).permutation(images)[:most])


def activity(bench: Bench) -> Arrays:
    """How the posterior means vary over the data, whatever the pairs.

    Returns:
        "variance" of each unit's mean and its standard "error", `(units,)`; "deviation" of each channel's means over
        images and places, `(channels,)`.

    Raises:
        ModelError: the encoder returns NaN or infinite values for one of the images.
    """
    rows = varied_rows(len(bench.images), bench.spec.varied, bench.seed)
    posterior = bench.ae.posteriors(bench.images[torch.from_numpy(rows).to(bench.images.device)])
    bench.check_finite("encoder", posterior.mean, posterior.std, rows=bench.data.index[rows])
    means = posterior.mean.flatten(1).double()
    centred = means - means.mean(0)
    variance = centred.square().sum(0) / max(len(means) - 1, 1)
    fourth = centred.pow(4).mean(0)
    error = ((fourth - variance.square()).clamp_min(0) / len(means)).sqrt()
    return {"variance": plain(variance), "error": plain(error), "deviation": plain(channel_deviations(posterior))}


def active_units_of(activity: Arrays, images: int) -> Estimate:
    """How many latent units are active (definitions D9)."""
    return count_above(activity["variance"], activity["error"], scores.ACTIVE_VARIANCE, n=images)
