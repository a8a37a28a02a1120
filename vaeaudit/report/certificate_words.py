"""How a report speaks of certificates: what is known between a bound for every attack and an attack that was found."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vaeaudit.report import words
from vaeaudit.report.certificates import Certified
from vaeaudit.statistics import Estimate

_REASONS = 3


def summary(found: Certified) -> tuple[str, ...]:
    """What is certified, what is not, and what a bound says nothing about."""
    return (*_distortion(found), *_damage(found), *_margin(found), *_refused(found))


def _distortion(found: Certified) -> Iterator[str]:
    bound, pairs = found.certified_distortion, found.certified_distortion.n
    if math.isnan(bound.value):
        yield f"No attack is ruled out: {words.clean(found.refusal)}."
        return
    attacked = found.attacked[np.isfinite(found.attacked) & np.isfinite(found.distortion)]
    reached = words.number(float(np.median(attacked))) if attacked.size else words.NOTHING
    between = (
        "To come as close to the target's posterior as the targeted attack does, an attack has to cover between "
        f"{words.number(bound.value)} (certified, for every attack) and {reached} (found, by ours) of the distance between "
        f"the two images (medians over {words.plural(pairs, 'pair')})."
    )
    yield between if found.measured else f"{between} The lower figure is vacuous: it says next to nothing."
    if found.balls == 0:
        yield "These bounds hold around any input; bounds around each original are tighter and take a larger preset."


def _damage(found: Certified) -> Iterator[str]:
    known = np.isfinite(found.damage).any(0)
    if not known.any():
        return
    useful = [
        f"{words.number(bound.value)} at an L2 budget of {words.setting(radius)}"
        for radius, bound in zip(found.radii, found.damage_bounds, strict=True)
        if bound.value < found.largest_damage
    ]
    if useful:
        yield f"No attack moves the mean's reconstruction by more than {', '.join(useful)} (medians)."
    else:
        yield "The bounds of the damage are vacuous: they exceed what any two images differ by."


def _margin(found: Certified) -> Iterator[str]:
    known = found.margin[np.isfinite(found.margin)]
    if not known.size:
        return
    middle = float(np.median(known))
    if middle > 0:
        yield (
            f"Every distortion of an L2 norm below {words.number(middle)} (median) leaves the reconstruction within "
            f"{words.number(found.r)} of the clean one with a probability above one half."
        )
    else:
        yield f"No margin of r-robustness is certified at r = {words.number(found.r)}."


def _refused(found: Certified) -> Iterator[str]:
    for part, reason in list(found.refusals.items())[:_REASONS]:
        if math.isnan(found.certified_distortion.value) and reason == found.refusal:
            continue
        yield f"{words.clean(part)[:1].upper()}{words.clean(part)[1:]}: {words.clean(reason)}."


def rows(found: Certified) -> Iterator[tuple[str, str, Estimate | None, Estimate | None, bool]]:
    """Figures in reading order: what, unit, the bound, what the attack came to, and whether the bound is vacuous."""
    yield (
        "Distortion needed, at least", "of L2(x-t)", found.certified_distortion, _of_attacks(found.attacked),
        not found.measured,
    )  # fmt: skip
    for column, (radius, bound) in enumerate(zip(found.radii, found.damage_bounds, strict=True)):
        if not math.isnan(bound.value):
            yield (
                f"Damage at {words.setting(radius)}, at most", "L2 of input", bound,
                _of_attacks(found.attacked_damage[:, column]), bound.value >= found.largest_damage,
            )  # fmt: skip


def _of_attacks(figures: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Estimate | None:
    kept = figures[np.isfinite(figures)]
    if not kept.size:
        return None
    return Estimate(value=float(np.median(kept)), low=-math.inf, high=math.inf, n=int(kept.size))


def constants(found: Certified) -> Iterator[tuple[str, str, str]]:
    """Part, its Lipschitz constant, and the product of its layers' constants."""
    for part, known in (("Encoder", found.encoder), ("Decoder", found.decoder)):
        if known is not None:
            yield part, words.number(known.constant), words.number(known.product)
