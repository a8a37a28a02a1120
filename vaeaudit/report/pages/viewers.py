"""What the gallery of a page shows: for each pair and each image one viewer, with a frame for every strength or budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vaeaudit.report import words
from vaeaudit.report.gallery import BallPictures, Gallery
from vaeaudit.report.model import AuditReport
from vaeaudit.report.pages.figures import typeset
from vaeaudit.report.pages.films import difference, film
from vaeaudit.report.pages.pictures import picture, value_range

OPEN = 6
"""Viewers that are shown at once; further ones are unfolded."""
Events = NDArray[np.float32]
Limits = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a viewer: inputs above reconstructions, and what to say beneath either."""

    title: str
    above: Markup
    below: Markup
    beneath: tuple[str, str] = ("", "")
    moving: bool = False


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Pictures of one pair or image.

    Attributes:
        name: of its element in the page.
        caption: what it shows.
        control: what its slider changes.
        columns: from left to right.
        frames: what is to be said of each frame, from the weakest attack to the strongest.
        first: the frame that is shown to begin with.
    """

    name: str
    caption: str
    control: str
    columns: tuple[Column, ...]
    frames: tuple[str, ...]
    first: int


def of_pairs(report: AuditReport, gallery: Gallery) -> list[Viewer]:
    """Pairs over the strengths, the easiest to fool first."""
    limits = value_range(gallery)
    order = np.argsort(_hinges(report)[gallery.pairs], kind="stable")
    return [_of_pair(report, gallery, int(row), limits) for row in order]


def _hinges(report: AuditReport) -> NDArray[np.float64]:
    """Hinge of every pair, infinite where there is none."""
    curves = report.curves
    return np.where(curves.excluded | np.isnan(curves.hinge), np.inf, curves.hinge)


def easiest_first(report: AuditReport) -> NDArray[np.int64]:
    """Pairs by ascending hinge, those without one last."""
    return np.argsort(_hinges(report), kind="stable")


def hinge_text(report: AuditReport, pair: int) -> str:
    """A pair's hinge; marked as a bound where its curve does not saturate."""
    if report.curves.excluded[pair]:
        return "excluded"
    text = words.number(float(report.curves.hinge[pair]))
    return f"≥ {text}" if report.curves.censored[pair] and text != words.NOTHING else text


def _of_pair(report: AuditReport, gallery: Gallery, row: int, limits: Limits) -> Viewer:
    curves, pair = report.curves, int(gallery.pairs[row])
    order = np.argsort(-curves.strengths[gallery.strengths], kind="stable")
    strengths = gallery.strengths[order]
    whose = f"pair {pair}"
    hinge = hinge_text(report, pair)
    return Viewer(
        name=f"pair-{pair}",
        caption=f"Pair {pair}: {_named(report, pair, 0)} attacked towards {_named(report, pair, 1)}, "
        + (hinge if curves.excluded[pair] else f"hinge {hinge}"),
        control=f"Strength of the attack on {whose}",
        columns=(
            _still("Original", whose, gallery.originals[row], gallery.original_reconstructions[row], limits),
            *_moving(
                whose, gallery.originals[row], gallery.original_reconstructions[row],
                gallery.adversarials[row][order], gallery.reconstructions[row][order], limits,
            ),
            _still("Target", whose, gallery.targets[row], gallery.target_reconstructions[row], limits),
        ),
        frames=tuple(_of_strength(report, pair, int(strength)) for strength in strengths),
        first=_saturating(curves.distortion[pair, strengths], float(_hinges(report)[pair])),
    )  # fmt: skip


def _named(report: AuditReport, pair: int, side: int) -> str:
    """The original (0) or the target (1) of a pair, with its label if there is one."""
    curves = report.curves
    name = f"image {(curves.originals, curves.targets)[side][pair]}"
    return name if curves.labels is None else f"{name} (label {curves.labels[pair, side]})"


def _of_strength(report: AuditReport, pair: int, strength: int) -> str:
    curves = report.curves
    distortion, gap = (words.number(float(values[pair, strength])) for values in (curves.distortion, curves.gap))
    return typeset(f"C = {words.setting(curves.strengths[strength])}, distortion {distortion}, gap {gap}")


def _saturating(distortion: NDArray[np.float64], hinge: float) -> int:
    """The weakest frame that changes as much as the hinge asks for, or else the strongest."""
    enough = np.flatnonzero(distortion >= hinge)
    return int(enough[0]) if len(enough) else len(distortion) - 1


def of_images(report: AuditReport, gallery: Gallery) -> list[Viewer]:
    """Images over the budgets of the untargeted attack, those first whose reconstruction moves most."""
    shown = gallery.untargeted
    if shown is None:
        return []
    limits = value_range(gallery)
    order = np.argsort(-np.nan_to_num(shown.displacement[:, -1], nan=-1.0), kind="stable")
    return [_of_image(report, shown, int(row), limits) for row in order]


def _of_image(report: AuditReport, shown: BallPictures, row: int, limits: Limits) -> Viewer:
    whose = f"image {shown.images[row]}"
    return Viewer(
        name=f"image-{shown.images[row]}",
        caption=f"Image {shown.images[row]}, its reconstruction moved as far as the budget allows",
        control=f"Budget of the attack on {whose}",
        columns=(
            _still("Original", whose, shown.originals[row], shown.original_reconstructions[row], limits),
            *_moving(
                whose, shown.originals[row], shown.original_reconstructions[row],
                shown.adversarials[row], shown.reconstructions[row], limits,
            ),
        ),
        frames=tuple(_of_budget(report, shown, row, place) for place in range(len(shown.radii))),
        first=len(shown.radii) - 1,
    )  # fmt: skip


def _of_budget(report: AuditReport, shown: BallPictures, row: int, place: int) -> str:
    text = (
        f"L2 budget {words.setting(shown.radii[place])}, moved by {words.number(float(shown.displacement[row, place]))}"
    )
    attack = _worst_attack(report, int(shown.images[row]), place)
    return f"{text}, worst attack {attack}" if attack else text


def _worst_attack(report: AuditReport, image: int, place: int) -> str:
    """Which of all attacks moved an image's reconstruction most at a budget; empty where one alone was tried."""
    family = None if report.worst_case is None else report.worst_case.damage
    if family is None or place >= family.radii.size:
        return ""
    rows = np.flatnonzero(family.originals == image)
    if not rows.size:
        return ""
    figures = np.nan_to_num(family.figures[:, rows[0], place], nan=-1.0)
    return words.clean(family.attacks[int(figures.argmax())])


def _still(title: str, whose: str, above: Events, below: Events, limits: Limits) -> Column:
    return Column(
        title=title,
        above=picture(above, limits, f"{title} of {whose}"),
        below=picture(below, limits, f"Reconstruction of the {title.lower()} of {whose}"),
    )


def _moving(
    whose: str, original: Events, reconstruction: Events, adversarials: Events, reconstructions: Events, limits: Limits
) -> Iterator[Column]:
    """What the attack adds, and what comes of it; a frame for each strength or budget."""
    added, size = difference(adversarials, original, limits, f"Difference of adversarial and original, {whose}")
    changed, effect = difference(
        reconstructions,
        reconstruction,
        limits,
        f"Difference of the reconstructions of adversarial and original, {whose}",
    )
    beneath = f"× {words.number(size)}", f"× {words.number(effect)}"
    yield Column(title="Difference", above=added, below=changed, beneath=beneath, moving=True)
    yield Column(
        title="Adversarial",
        above=film(adversarials, limits, f"Adversarial of {whose}"),
        below=film(reconstructions, limits, f"Reconstruction of the adversarial of {whose}"),
        moving=True,
    )
