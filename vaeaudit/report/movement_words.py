"""The movement of the latent under the untargeted attack, in words and in rows of a table, the same for every face."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vaeaudit.report import words
from vaeaudit.report.damage import Damage
from vaeaudit.report.movement import LatentMovement

LEGEND = (
    "Damage in the latent is how far the same images move the posterior mean, in each channel's standard deviations over "
    "the clean images."
)
SHOWN = 16
"""Most channels in a table."""
_NAMED = 4
"""Most channels in a sentence."""


def summary(damage: Damage) -> tuple[str, ...]:
    """Which channels move most, and which hardly vary without attack; nothing where the movement was not measured."""
    if damage.latent is None:
        return ()
    if damage.latent.collapsed.all():
        return (
            "No latent channel varies over the clean images, so there is no unit to measure the latent's movement in.",
        )
    return (*_furthest(damage, damage.latent), *_collapsed(damage.latent))


def channel_rows(latent: LatentMovement) -> Iterator[tuple[str, str, str, str, bool]]:
    """Channels that move most: index, movement, its standard error, deviation, and whether it hardly varies."""
    for channel in _order(latent)[:SHOWN]:
        figures = latent.by_channel[channel], latent.by_channel_errors[channel], latent.deviations[channel]
        moved, error, deviation = (words.number(float(figure)) for figure in figures)
        yield str(channel), moved, error, deviation, bool(latent.collapsed[channel])


def _furthest(damage: Damage, latent: LatentMovement) -> Iterator[str]:
    named = [
        f"{channel} ({moved} ± {error})" if error != words.NOTHING else f"{channel} ({moved})"
        for channel, moved, error, _, _ in channel_rows(latent)
    ][:_NAMED]
    if len(latent.deviations) > 1 and named:
        yield (
            f"At {words.setting(damage.radii[-1])}, of {len(latent.deviations)} latent channels (counted from 0) these move "
            f"furthest, mean ± standard error: {', '.join(named)}."
        )


def _collapsed(latent: LatentMovement) -> Iterator[str]:
    count = int(latent.collapsed.sum())
    if count:
        verb, whose = ("varies", "its") if count == 1 else ("vary", "their")
        yield (
            f"{count} of {len(latent.collapsed)} latent channels hardly {verb} over the clean images: {whose} movement is "
            "counted in thousandths of the largest channel's standard deviation."
        )


def _order(latent: LatentMovement) -> list[int]:
    """Channels whose movement is known, the furthest first."""
    known = np.flatnonzero(np.isfinite(latent.by_channel))
    order: list[int] = known[np.argsort(-latent.by_channel[known], kind="stable")].tolist()
    return order
