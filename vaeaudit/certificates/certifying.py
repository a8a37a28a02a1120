"""`certify`: bounds that no attack can beat, beside the figures that attacks reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.certificates.chains import WIDEST
from vaeaudit.certificates.constants import Constants
from vaeaudit.certificates.convex import convex_divergence
from vaeaudit.certificates.prepared import Prepared, prepare
from vaeaudit.certificates.searching import (
    Surroundings,
    least_divergence,
    most_damage,
    needed_distortion,
    robust_radius,
)
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import DataError, OptionError
from vaeaudit.pairs import half_the_median_distance

Part = Literal["distortion", "divergence", "damage", "margin"]
PARTS: tuple[Part, ...] = ("distortion", "divergence", "damage", "margin")
BUDGETS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Relative distortions at which a trade-off curve and damage are bounded."""
VACUOUS = 0.01


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Bounds that hold for every distortion, found by an attack or not; all float64, on the CPU.

    They hold for the function that the weights define, in real arithmetic; what a float32 evaluation measures may
    differ from that by its rounding. A figure that could not be certified is None, and `refusals` says why.

    Attributes:
        spans: L2(x - t), `(pairs,)`.
        levels: Delta_0, `(pairs, levels)`.
        budgets: L2(d), `(pairs, budgets)`.
        distortion: at least this L2(d) is needed for Delta(q(z|x+d), q(z|t)) <= Delta_0, `(pairs, levels)`.
        divergence: Delta is at least this for every L2(d) up to the budget, `(pairs, budgets)`.
        clean_divergence: Delta(q(z|x), q(z|t)) as it is bounded, `(pairs,)`.
        damage: L2(g(mu(x+d)) - g(mu(x))) is at most this for every L2(d) up to the budget, `(pairs, budgets)`.
        margin: r-robust for every L2(d) below this, `(pairs,)`; see `vaeaudit.certificates.margins`.
        r: the r of that margin, input units.
        sampled: whether the margin's clean reconstruction is sampled too, or that of the mean.
        largest_damage: the largest L2 distance of two valid images.
        encoder: Lipschitz constants of the encoder, all inputs.
        decoder: Lipschitz constants of the decoder, all latents.
        refusals: why a part is not certified, by the part's name.
        divergence_name: the divergence used.
        vacuous_below: share of the scale of a figure below which its bound says nothing.
    """

    spans: Tensor
    levels: Tensor
    budgets: Tensor
    r: float
    sampled: bool
    divergence_name: str
    largest_damage: float
    distortion: Tensor | None = None
    divergence: Tensor | None = None
    clean_divergence: Tensor | None = None
    damage: Tensor | None = None
    margin: Tensor | None = None
    encoder: Constants | None = None
    decoder: Constants | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    vacuous_below: float = VACUOUS

    @property
    def relative_distortion(self) -> Tensor | None:
        """`distortion` as a share of L2(x - t), the X of a trade-off curve, `(pairs, levels)`."""
        return None if self.distortion is None else self.distortion / self.spans[:, None]

    @property
    def distortion_vacuous(self) -> Tensor | None:
        """Whether a bound is less than `vacuous_below` of L2(x - t), `(pairs, levels)`."""
        return None if self.distortion is None else self.distortion < self.vacuous_below * self.spans[:, None]

    @property
    def divergence_vacuous(self) -> Tensor | None:
        """Whether a bound is less than `vacuous_below` of Delta(q(z|x), q(z|t)), `(pairs, budgets)`."""
        if self.divergence is None or self.clean_divergence is None:
            return None
        return self.divergence <= self.vacuous_below * self.clean_divergence[:, None]

    @property
    def damage_vacuous(self) -> Tensor | None:
        """Whether a bound is no less than the largest distance of two valid images, `(pairs, budgets)`."""
        return None if self.damage is None else self.damage >= self.largest_damage

    @property
    def margin_vacuous(self) -> Tensor | None:
        """Whether a bound is less than `vacuous_below` of L2(x - t), `(pairs,)`."""
        return None if self.margin is None else self.margin < self.vacuous_below * self.spans


def certify(
    ae: Autoencoder,
    originals: Tensor,
    targets: Tensor,
    *,
    divergence: str = "kl",
    within: Sequence[float] | Tensor = (0.0,),
    budgets: Sequence[float] | Tensor = BUDGETS,
    r: float | None = None,
    sampled: bool = True,
    balls: int = 6,
    figures: Sequence[Part] = PARTS,
    local: Sequence[Part] = PARTS,
    widest: int = WIDEST,
    seed: int = 0,
) -> Certificates:
    """Bound from below what attacks bound from above.

    Args:
        ae: the model; its encoder and decoder must be made of torch modules and functions.
        originals: x, `(pairs, *event)`.
        targets: t, `(pairs, *event)`.
        divergence: Delta, one of `vaeaudit.divergences.DIVERGENCES`.
        within: levels Delta_0 that an attack must come down to: the same for all pairs, or `(pairs, levels)`, such
            as `TargetedAttack.divergence`, whose `distortion` the bounds can then be held against.
        budgets: relative distortions X at which the trade-off curve and the damage are bounded, the same for all
            pairs or `(pairs, budgets)`; none leaves both out.
        r: of the r-robustness margin, input units; None takes half the median of L2(x - t).
        sampled: whether that margin's clean reconstruction is sampled too (row 19), or that of the mean.
        balls: balls around each original in which bounds are sought beside the one for all inputs and those of the
            budgets; 0 leaves all local bounds out, which is faster and looser.
        figures: which to bound; the others are None.
        local: those for whose sake balls are looked into; the others take what is found on the way.
        widest: widest layer for which a matrix is carried; time grows with its cube.
        seed: seed of the model's randomness, should it have any.

    Raises:
        DataError: originals and targets do not match.
        OptionError: levels, budgets or r that are not positive.
    """
    originals, targets = _checked_pairs(originals, targets)
    spans = (originals - targets).flatten(1).norm(dim=1)
    r = half_the_median_distance(originals, targets) if r is None else float(r)
    asked = Asked(
        divergence=divergence, levels=_rows_of("within", within, len(originals), zero=True), r=r, sampled=sampled,
        budgets=_rows_of("budgets", budgets, len(originals)) * spans[:, None], balls=balls,
        figures=tuple(figures), local=tuple(local),
    )  # fmt: skip
    with ae.at_rest(seed), torch.no_grad():
        return certificates_of(prepare(ae, originals, widest=widest), originals, targets, asked)


def _checked_pairs(originals: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if originals.shape != targets.shape or originals.ndim < 2 or not len(originals):
        raise DataError(
            "originals and targets must be of one shape (pairs, *event), got "
            f"{tuple(originals.shape)} and {tuple(targets.shape)}"
        )
    return originals.detach().cpu().double(), targets.detach().cpu().double()


def _rows_of(name: str, given: Sequence[float] | Tensor, pairs: int, *, zero: bool = False) -> Tensor:
    """Positive numbers, the same for all pairs or one row a pair, `(pairs, n)`."""
    values = torch.as_tensor(given, dtype=torch.float64).detach().cpu()
    rows = values.expand(pairs, -1) if values.ndim == 1 else values
    if rows.ndim != 2 or len(rows) != pairs or not bool((rows.isfinite() & ((rows > 0) | (zero & (rows == 0)))).all()):
        what = "levels >= 0" if zero else "relative distortions > 0"
        raise OptionError(f"{name} expects {what}, (n,) or (pairs, n), got {given!r} for {pairs} pairs")
    return rows


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be certified.

    Attributes:
        divergence: Delta.
        levels: Delta_0, `(pairs, levels)`.
        budgets: L2(d), `(pairs, budgets)`.
        r: of the r-robustness margin.
        sampled: whether its clean reconstruction is sampled.
        balls: around each original; 0 for what holds everywhere alone.
        figures: which to bound.
        local: those for whose sake balls are looked into.

    Raises:
        OptionError: r or balls that cannot be, or an unknown figure.
    """

    divergence: str
    levels: Tensor
    budgets: Tensor
    r: float
    sampled: bool = True
    balls: int = 6
    figures: tuple[Part, ...] = PARTS
    local: tuple[Part, ...] = PARTS

    def __post_init__(self) -> None:
        if not self.r > 0 or self.balls < 0:
            raise OptionError(f"certify expects r > 0 and balls >= 0, got r={self.r} and balls={self.balls}")
        if unknown := {*self.local, *self.figures} - set(PARTS):
            raise OptionError(f"figures and local expect some of {', '.join(PARTS)}, got {sorted(unknown)}")

    def count(self, part: Part) -> int:
        """Balls that may be looked into for the sake of a figure."""
        return self.balls if part in self.local and part in self.figures else 0


def certificates_of(model: Prepared, originals: Tensor, targets: Tensor, asked: Asked) -> Certificates:
    """Certificates of some pairs, whatever others are asked for; the model must be at rest.

    Args:
        model: the model.
        originals: x, `(pairs, *event)`, float64, on the CPU.
        targets: t, `(pairs, *event)`, likewise.
        asked: what is to be certified.
    """
    used, _ = divergence_named(asked.divergence, deterministic=model.deterministic)
    found: dict[str, Any] = {}
    spans = (originals - targets).flatten(1).norm(dim=1)
    if model.encoder is not None:
        around = Surroundings(model=model, originals=originals)
        _look_around(around, asked)
        if around.balls:
            found = {**_of_targets(around, targets, used, asked, spans), **_of_decoder(around, asked)}
    return Certificates(
        spans=spans, levels=asked.levels, budgets=asked.budgets, r=asked.r, sampled=asked.sampled, divergence_name=used,
        largest_damage=model.largest_damage, refusals=model.refusals,
        encoder=model.constants("encoder"), decoder=model.constants("decoder"), **found,
    )  # fmt: skip


def _look_around(around: Surroundings, asked: Asked) -> None:
    """Everywhere, and in a ball of each budget."""
    around.model.attempted("encoder, bounds for all inputs", around.everywhere)
    damage = asked.count("damage") > 0
    if damage or asked.count("divergence"):
        for radius in asked.budgets.unbind(1):
            around.within(radius, damage=damage)


def _of_targets(around: Surroundings, targets: Tensor, name: str, asked: Asked, spans: Tensor) -> dict[str, Any]:
    encoder = around.encoder
    delta = around.model.attempted(
        "divergence", lambda: convex_divergence(name, encoder.at(targets), around.units, encoder.scale)
    )
    if delta is None:
        return {}
    found: dict[str, Any] = {"clean_divergence": delta.terms(around.centre)[0]}
    if "distortion" in asked.figures:
        found["distortion"] = needed_distortion(around, delta, asked.levels, spans, asked.count("distortion"))
    if "divergence" in asked.figures:
        found["divergence"] = least_divergence(around, delta, asked.budgets)
    return found


def _of_decoder(around: Surroundings, asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if around.model.decoder is not None and "damage" in asked.figures:
        found["damage"] = most_damage(around, asked.budgets)
    if around.model.decoder is not None and "margin" in asked.figures:
        found["margin"] = around.model.attempted(
            "margin", lambda: robust_radius(around, asked.r, asked.sampled, asked.count("margin"))
        )
    return found
