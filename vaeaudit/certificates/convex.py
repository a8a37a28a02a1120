"""Divergences as convex functions of what an encoder puts out, and how small they can get inside an ellipsoid.

All that is used is that a convex function lies above each of its tangents: for any y*, with g the gradient there,

    F(y) >= F(y*) + g' (y - y*)     and, over y = c + |d| P^(1/2) w with |w| <= 1,
    F(y) >= F(y*) + g' (c - y*) - |d| sqrt(g' P g).

So every y* gives a sound bound; the best one is that of the convex problem's minimiser, which Newton's method only
has to come near. The best tangent is exact (strong duality): nothing is lost beside what the ellipsoid loses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.divergences import CHANNEL_NORMALISED
from vaeaudit.latent import Scale

_PATH = 12
_DECADES = 20.0
_REFINEMENTS = 16
_NEWTON = 8
_SLACK = 1e-10
Terms = tuple[Tensor, Tensor, Tensor]
"""Value, first and second derivative of each element."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """A lower bound of a divergence to a target, as a convex and separable function of y = (mean, second head).

    Attributes:
        target: the target's y, `(rows, n)`, float64; the second half is the second head's, if there is one.
        units: length of the mean.
        mean_weight: what squared differences of the means are weighted by, `(rows, units)`.
        second: terms of the second head, from its value and the target's; None if it is left out.
    """

    target: Tensor
    units: int
    mean_weight: Tensor
    second: Callable[[Tensor, Tensor], Terms] | None

    def terms(self, y: Tensor) -> Terms:
        """Value `(...,)`, gradient and curvature `(..., n)` at y `(..., n)`; infinite outside its domain."""
        gap = y[..., : self.units] - self.target[..., : self.units]
        value = (self.mean_weight * gap.square()).sum(-1)
        gradient, curvature = torch.zeros_like(y), torch.zeros_like(y)
        gradient[..., : self.units] = 2 * self.mean_weight * gap
        curvature[..., : self.units] = 2 * self.mean_weight
        if self.second is not None:
            part = self.second(y[..., self.units :], self.target[..., self.units :])
            value = value + part[0].sum(-1)
            gradient[..., self.units :], curvature[..., self.units :] = part[1], part[2]
        return value, gradient, curvature

    def repeated(self, times: int) -> Divergence:
        """Each row `times` times."""
        target, weight = (part.repeat_interleave(times, 0) for part in (self.target, self.mean_weight))
        return replace(self, target=target, mean_weight=weight)

    def tiled(self, times: int) -> Divergence:
        """All rows, `times` times over."""
        return replace(self, target=self.target.repeat(times, 1), mean_weight=self.mean_weight.repeat(times, 1))


def convex_divergence(name: str, target: Tensor, units: int, scale: Scale | None) -> Divergence:
    """A convex function that is nowhere above the divergence named.

    `kl`, `mean_l2` and the `kl_tabacof2016` of a log-variance are convex themselves. `wasserstein` leaves the spread out
    unless the encoder returns standard deviations; `symmetric_kl` is at least half the `kl` that is part of it.

    Args:
        name: of the divergence.
        target: the target's mean and second head, `(rows, n)`.
        units: length of the mean.
        scale: what the second head is; None for a deterministic code.

    Raises:
        NotCertifiedError: none is known.
    """
    second = target[:, units:]
    plain = torch.ones_like(target[:, :units])
    if name in ("mean_l2", "wasserstein"):
        spread = _squares if name == "wasserstein" and scale == "std" else None
        return Divergence(target=target, units=units, mean_weight=plain, second=spread)
    if name.startswith(CHANNEL_NORMALISED):
        raise NotCertifiedError(f"not certified: bounds of {CHANNEL_NORMALISED} are not known here; use 'mean_l2'")
    if scale is None:
        raise NotCertifiedError(f"not certified: divergence {name!r} needs a posterior's spread")
    variance = {"log_variance": second.exp, "variance": second.clone, "std": second.square}[scale]()
    if name in ("kl", "symmetric_kl"):
        share = 0.5 if name == "symmetric_kl" else 1.0
        kinds = {"log_variance": _kl_log_variance, "variance": _kl_variance, "std": _kl_std}
        kind = kinds[scale]
        return Divergence(
            target=target, units=units, mean_weight=0.5 * share / variance,
            second=lambda a, t: _shared(share, kind(a, t)),
        )  # fmt: skip
    if name == "kl_tabacof2016" and scale == "log_variance":
        return Divergence(target=target, units=units, mean_weight=variance.rsqrt(), second=_tabacof)
    raise NotCertifiedError(f"not certified: no convex lower bound of divergence {name!r} in a {scale} is known here")


def _shared(share: float, terms: Terms) -> Terms:
    return share * terms[0], share * terms[1], share * terms[2]


def _squares(a: Tensor, t: Tensor) -> Terms:
    return (a - t).square(), 2 * (a - t), torch.full_like(a, 2.0)


def _kl_log_variance(a: Tensor, t: Tensor) -> Terms:
    d = a - t
    rise = torch.expm1(d)
    small = d * d * (0.5 + d / 6 + d * d / 24)
    value = torch.where(d.abs() < 1e-3, small, rise - d)
    return 0.5 * value, 0.5 * rise, 0.5 * rise + 0.5


def _kl_variance(a: Tensor, t: Tensor) -> Terms:
    inside = a > 0
    safe = torch.where(inside, a, t)
    value = torch.where(inside, safe / t - 1 - (safe / t).log(), torch.inf)
    return 0.5 * value, 0.5 * (1 / t - 1 / safe), 0.5 / safe.square()


def _kl_std(a: Tensor, t: Tensor) -> Terms:
    inside = a > 0
    safe = torch.where(inside, a, t)
    value = torch.where(inside, 0.5 * (safe / t).square() - 0.5 - (safe / t).log(), torch.inf)
    return value, safe / t.square() - 1 / safe, t.square().reciprocal() + safe.square().reciprocal()


def _tabacof(a: Tensor, t: Tensor) -> Terms:
    ratio = (0.5 * (a - t)).exp()
    return ratio + t - a - 0.5, 0.5 * ratio - 1, 0.25 * ratio


def newton_work(units: int, asked: int) -> float:
    """Multiply-adds, about, of a pair's best tangents at so many levels or distortions, with a matrix of `units`."""
    return 3.0 * units**3 * (_PATH * _NEWTON + 6 * _REFINEMENTS * asked)


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Bounds of a divergence over displacements inside ellipsoids.

    Attributes:
        divergence: of `rows` problems.
        centre: y where nothing has moved, `(rows, n)`.
        known: P, `(rows, n, n)`; or s where it is s times the identity, `(rows,)`.
    """

    divergence: Divergence
    centre: Tensor
    known: Tensor

    def least_distortion(self, levels: Tensor) -> Tensor:
        """Lower bounds of the |d| that brings the divergence down to `levels`, `(rows, levels)`."""
        return self._best(levels, self._distortion)

    def least_divergence(self, distortions: Tensor) -> Tensor:
        """Lower bounds of the divergence at `distortions` |d| or less, `(rows, distortions)`."""
        return self._best(distortions, self._divergence)

    def _distortion(self, level: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        gain = value - level
        return torch.where(gain > 0, gain / (slope * (1 + _SLACK)), 0.0)

    def _divergence(self, distortion: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        return (value - distortion * slope * (1 + _SLACK)).clamp_min(0)

    def _best(self, asked: Tensor, bound: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """The best tangent's bound: from tangents along a path, and then between the best one's neighbours."""
        if not asked.shape[1]:
            return asked.clone()
        rates = self._rates()
        path, w = [], torch.zeros_like(self.centre)
        for rate in rates.unbind(1):
            w = self._newton(w, rate, _NEWTON)
            path.append((w, *self._tangent(w)))
        w, value, slope = (torch.stack(parts, 1) for parts in zip(*path, strict=True))
        value, slope = value[:, None], slope[:, None]
        best, where = bound(asked[:, :, None], value, slope).nan_to_num(0, 0, 0).max(2)
        rows = torch.arange(len(asked))[:, None].expand_as(where)
        start = w[rows, where].flatten(0, 1)
        wide = self._repeated(asked.shape[1])
        refined = wide._refined(start, rates[rows, where].flatten(), asked.flatten(), best.flatten(), bound)
        return refined.view(best.shape)

    def _rates(self) -> Tensor:
        """Falling weights of |w|^2 / 2 beside F, from where nothing moves to where F alone counts, `(rows, path)`."""
        _, gradient, curvature = self.divergence.terms(self.centre)
        root = self.root
        matrix = root.ndim > 1
        stiff = (root.square() * curvature[..., None]).sum((1, 2)) if matrix else root.square() * curvature.sum(1)
        size = (stiff + _pulled(root, gradient).norm(dim=1)).clamp_min(1e-300)
        falling = torch.logspace(2, 2 - _DECADES, _PATH, dtype=torch.float64)
        rates: Tensor = size[:, None] * falling
        return rates

    def _repeated(self, times: int) -> Nearest:
        """Each row `times` times."""
        made = Nearest(
            divergence=self.divergence.repeated(times), centre=self.centre.repeat_interleave(times, 0),
            known=self.known.repeat_interleave(times, 0),
        )  # fmt: skip
        made.__dict__["root"] = self.root.repeat_interleave(times, 0)
        return made

    @functools.cached_property
    def root(self) -> Tensor:
        """P^(1/2), or sqrt(s)."""
        return _root(self.known)

    def _refined(
        self, w: Tensor, rate: Tensor, asked: Tensor, best: Tensor, bound: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Narrow down on the best rate, from a path's best one: halve the step whenever neither neighbour is better."""
        step = torch.full_like(rate, 0.5 * _DECADES / _PATH)
        both = self._repeated(2)
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
        for _ in range(_REFINEMENTS):
            others = rate[:, None] * 10 ** (signs * step[:, None])
            there = both._newton(w.repeat_interleave(2, 0), others.flatten(), 3)
            values = bound(asked.repeat_interleave(2), *both._tangent(there)).nan_to_num(0, 0, 0).view(-1, 2)
            value, side = values.max(1)
            better = value > best
            rows = torch.arange(len(w))
            w = torch.where(better[:, None], there.view(len(w), 2, -1)[rows, side], w)
            rate = torch.where(better, others[rows, side], rate)
            best = torch.maximum(best, value)
            step = torch.where(better, step, step / 2)
        return best

    def _tangent(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The tangent's value where nothing has moved, less a slack for rounding; and its slope sqrt(g' P g)."""
        y = self._at(w)
        value, gradient, _ = self.divergence.terms(y)
        sizes = 1 + self.centre.abs() + y.abs() + self.divergence.target[:, : y.shape[1]].abs()
        lost = _SLACK * (value + (gradient.abs() * sizes).sum(1))
        slope = _slope(self.known, gradient)
        return value + (gradient * (self.centre - y)).sum(1) - lost, slope

    def _at(self, w: Tensor) -> Tensor:
        root = self.root
        return self.centre + (root[:, None] * w if root.ndim == 1 else (root @ w[..., None]).squeeze(-1))

    def _newton(self, w: Tensor, rate: Tensor, steps: int) -> Tensor:
        """Damped Newton steps on F + rate / 2 |w|^2; how far they come is nothing that soundness rests on."""
        root = self.root
        identity = torch.eye(w.shape[1] if root.ndim > 1 else 0, dtype=torch.float64)
        for _ in range(steps):
            value, gradient, curvature = self.divergence.terms(self._at(w))
            value = value + 0.5 * rate * w.square().sum(1)
            downhill = _pulled(root, gradient) + rate[:, None] * w
            if root.ndim == 1:
                move = -downhill / (root.square()[:, None] * curvature + rate[:, None])
            else:
                matrix = root.mT @ (curvature[..., None] * root) + rate[:, None, None] * identity
                move = -torch.linalg.solve_ex(matrix, downhill)[0].nan_to_num(0, 0, 0)
            going = -(move * downhill).sum(1) > 1e-13 * value
            if not bool(going.any()):
                break
            w = self._searched(w, move, rate, value, going)
        return w

    def _searched(self, w: Tensor, move: Tensor, rate: Tensor, value: Tensor, going: Tensor) -> Tensor:
        """Each row's first shortened step that goes down."""
        length = torch.ones_like(value)
        found = w
        for _ in range(8):
            trial = w + length[:, None] * move
            after = self.divergence.terms(self._at(trial))[0] + 0.5 * rate * trial.square().sum(1)
            better = going & (after < value)
            found = torch.where(better[:, None], trial, found)
            going = going & ~better
            if not bool(going.any()):
                break
            length = torch.where(going, length / 4, length)
        return found


def _pulled(root: Tensor, gradient: Tensor) -> Tensor:
    return root[:, None] * gradient if root.ndim == 1 else (root.mT @ gradient[..., None]).squeeze(-1)


def _slope(known: Tensor, gradient: Tensor) -> Tensor:
    if known.ndim == 1:
        lengths: Tensor = gradient.norm(dim=1)
        return known.sqrt() * lengths
    squares: Tensor = (gradient[:, None] @ known @ gradient[..., None]).flatten()
    return squares.clamp_min(0).sqrt()


def _root(matrix: Tensor) -> Tensor:
    """A square root, or the root of the factor of an identity."""
    if matrix.ndim == 1:
        return matrix.sqrt()
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp_min(0).sqrt()[:, None]
    return root
