"""`certify`: bounds that no attack can beat, beside the figures that attacks reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.certificates.constants import Constants, constants_of
from vaeaudit.certificates.convex import convex_divergence
from vaeaudit.certificates.ellipsoids import WIDEST, Propagation, Spread
from vaeaudit.certificates.heads import Heads, decoder_heads, encoder_heads
from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.certificates.searching import (
    Surroundings,
    least_divergence,
    most_damage,
    needed_distortion,
    robust_radius,
)
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import DataError, OptionError

Made = TypeVar("Made")
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
    budgets: Sequence[float] = BUDGETS,
    r: float | None = None,
    sampled: bool = True,
    balls: int = 6,
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
        budgets: relative distortions X at which the trade-off curve and the damage are bounded.
        r: of the r-robustness margin, input units; None takes half the median of L2(x - t).
        sampled: whether that margin's clean reconstruction is sampled too (row 19), or that of the mean.
        balls: balls around each original in which bounds are sought beside the one for all inputs and those of the
            budgets; 0 leaves all local bounds out, which is faster and looser.
        widest: widest layer for which a matrix is carried; time grows with its cube.
        seed: seed of the model's randomness, should it have any.

    Raises:
        DataError: originals and targets do not match.
        OptionError: levels, budgets or r that are not positive.
    """
    originals, targets, levels, radii = _checked(originals, targets, within, budgets)
    spans = (originals - targets).flatten(1).norm(dim=1)
    r = float(spans.median()) / 2 if r is None else float(r)
    if not r > 0 or balls < 0:
        raise OptionError(f"certify expects r > 0 and balls >= 0, got r={r} and balls={balls}")
    search = _Search(ae=ae, originals=originals, targets=targets, balls=balls, widest=widest)
    with ae.at_rest(seed), torch.no_grad():
        return search.certificates(divergence, levels, radii * spans[:, None], spans, r, sampled)


def _checked(
    originals: Tensor, targets: Tensor, within: Sequence[float] | Tensor, budgets: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if originals.shape != targets.shape or originals.ndim < 2 or not len(originals):
        raise DataError(
            "originals and targets must be of one shape (pairs, *event), got "
            f"{tuple(originals.shape)} and {tuple(targets.shape)}"
        )
    levels = torch.as_tensor(within, dtype=torch.float64).detach().cpu()
    if levels.ndim == 1:
        levels = levels.expand(len(originals), -1)
    radii = torch.as_tensor(budgets, dtype=torch.float64)
    if levels.ndim != 2 or len(levels) != len(originals) or not bool((levels.isfinite() & (levels >= 0)).all()):
        raise OptionError(f"within expects levels >= 0, (levels,) or (pairs, levels), got shape {tuple(levels.shape)}")
    if radii.ndim != 1 or not bool((radii.isfinite() & (radii > 0)).all()):
        raise OptionError(f"budgets expects relative distortions > 0, got {budgets!r}")
    inputs = [side.detach().cpu().double() for side in (originals, targets)]
    return inputs[0], inputs[1], levels, radii


@dataclass(kw_only=True)
class _Search:
    """The parts of a model that can be certified, and why the others cannot."""

    ae: Autoencoder
    originals: Tensor
    targets: Tensor
    balls: int
    widest: int
    refusals: dict[str, str] = field(default_factory=dict)

    def certificates(
        self, name: str, levels: Tensor, budgets: Tensor, spans: Tensor, r: float, sampled: bool
    ) -> Certificates:
        posterior = self.ae.posteriors(self.originals.to(self.ae.device or "cpu", self.ae.figures_dtype))
        used, _ = divergence_named(name, deterministic=posterior.log_variance is None)
        if self.ae.dtype not in (torch.float32, torch.float64):
            self.refusals["encoder"] = self.refusals["decoder"] = (
                f"not certified, because weights and rounding of a {self.ae.dtype} model are too coarse; use float32"
            )
        encoder = self._attempted("encoder", lambda: encoder_heads(self.ae, self.originals))
        decoder = self._attempted("decoder", lambda: decoder_heads(self.ae, posterior.mean.detach().cpu()))
        low, high = self.ae.bounds
        made = Certificates(
            spans=spans, levels=levels, budgets=budgets, r=r, sampled=sampled, divergence_name=used,
            encoder=self._constants("encoder", encoder), decoder=self._constants("decoder", decoder),
            refusals=self.refusals, largest_damage=(high - low) * math.sqrt(self.originals[0].numel()),
        )  # fmt: skip
        if encoder is None:
            return made
        around = self._around(encoder, decoder, budgets)
        if not around.balls:
            return made
        found = self._of_pairs(around, used, levels, budgets, spans)
        if around.decoder is not None:
            found["damage"] = most_damage(around, budgets)
            found["margin"] = self._attempted("margin", lambda: robust_radius(around, r, sampled, self.balls))
        return replace(made, **found)

    def _of_pairs(
        self, around: Surroundings, name: str, levels: Tensor, budgets: Tensor, spans: Tensor
    ) -> dict[str, Any]:
        target = around.encoder.at(self.targets)
        delta = self._attempted(
            "divergence", lambda: convex_divergence(name, target, around.units, around.encoder.scale)
        )
        if delta is None:
            return {}
        return {
            "distortion": needed_distortion(around, delta, levels, spans, self.balls),
            "divergence": least_divergence(around, delta, budgets),
            "clean_divergence": delta.terms(around.centre)[0],
        }

    def _around(self, encoder: Heads, decoder: Heads | None, budgets: Tensor) -> Surroundings:
        """Everywhere, and in a ball of each budget."""
        start = Spread(size=math.prod(encoder.network.input.event), multiple=1.0)
        around = Surroundings(
            encoder=encoder, decoder=decoder, originals=self.originals,
            everywhere=Propagation(start=start, widest=self.widest),
        )  # fmt: skip
        radii = [torch.full((len(self.originals),), torch.inf, dtype=torch.float64)]
        if self.balls:
            radii += budgets.unbind(1)
        for radius in radii:
            part = "encoder, bounds for all inputs" if bool(radius.isinf().all()) else "encoder, bounds in a ball"
            self._attempted(part, partial(around.within, radius, damage=True))
        return around

    def _constants(self, role: str, heads: Heads | None) -> Constants | None:
        if heads is None:
            return None
        start = Spread(size=math.prod(heads.network.input.event), multiple=1.0)
        propagation = Propagation(start=start, widest=self.widest)
        return self._attempted(f"{role}, constants", lambda: constants_of(heads, propagation))

    def _attempted(self, part: str, make: Callable[[], Made]) -> Made | None:
        if part in self.refusals:
            return None
        try:
            return make()
        except NotCertifiedError as error:
            self.refusals[part] = str(error)
            return None
