"""Trade-off curves: the series of C that resolves them, and what they come to."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vaeaudit import health
from vaeaudit.checkpoint import Arrays
from vaeaudit.measurements.bench import INPUT_UNITS, Bench, Floats, Rows
from vaeaudit.measurements.tradeoff import tradeoff
from vaeaudit.placement import RESOLUTION, resolution_of, strengths_between
from vaeaudit.report.curves import Curves
from vaeaudit.statistics import Estimate, estimate
from vaeaudit.tradeoff import areas_under, fit_hinge, hinge_estimate

_BETWEEN_AT_ONCE = 4
_OCTAVES_LOWER = 5
_STRENGTHS_LOWER = 5
_CLEARLY = 3.0
_WORTH_TAKING = 1e-6
_SMALLEST_REACH = 0.01
"""A pair's reach is clearly positive above this share of its span, and above three standard errors."""
_APART, _OFTEN_APART = 0.1, 0.5
"""The paths' objectives differ clearly above the first, and often above the second, as shares."""


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """The curves of all pairs, and what they were made of.

    Attributes:
        curves: with strengths in ascending order.
        arrays: as `tradeoff` measures them, in the order in which strengths were added.
        order: what sorts that order's strengths, `(strengths,)`.
    """

    curves: Curves
    arrays: Arrays
    order: Rows


def resolved_curves(bench: Bench, series: Tensor, automatic: bool) -> TradeOff:
    """Curves of all pairs over the series.

    If the series is ours to choose, it is lowered until the first pairs' curves saturate, and made denser
    where they bend until hinge and AUDDC are resolved.

    Args:
        bench: what is measured.
        series: of C, `(strengths,)`.
        automatic: whether the series was chosen for the model.
    """
    strengths = [series]
    parts = [tradeoff(bench, series, bench.first)]
    curves = _joined(bench, parts, strengths).curves

    def extended(further: Tensor) -> Curves:
        strengths.append(further)
        parts.append(tradeoff(bench, further, bench.first, further=True))
        return _joined(bench, parts, strengths).curves

    for time_ in range(bench.spec.extensions if automatic else 0):
        if not curves.censored.any():
            break
        curves = extended(lower_strengths(series, time_))
    most = len(curves.strengths) + bench.spec.between if automatic else 0
    while len(curves.strengths) < most:
        count = min(_BETWEEN_AT_ONCE, most - len(curves.strengths))
        between = strengths_between(curves.strengths, curves.distortion, curves.gap, count)
        if not len(between):
            break
        curves = extended(torch.from_numpy(between).to(series))
    if len(bench.pairs) > bench.first:
        parts = [tradeoff(bench, part, len(bench.pairs), further=i > 0) for i, part in enumerate(strengths)]
    return _joined(bench, parts, strengths)


def _joined(bench: Bench, parts: list[Arrays], series: list[Tensor]) -> TradeOff:
    """Curves over all strengths so far."""
    arrays = functools.reduce(_beside, parts)
    pairs = bench.pairs[: len(arrays["distortion"])]
    strengths, spans = torch.cat(series).cpu().numpy(), bench.spans(len(pairs))
    arrays = exchanged(arrays, strengths, spans, bench.penalty)
    curves = curves_of(arrays, strengths, spans, bench.data.index[pairs])
    labels = None if bench.data.labels is None else bench.data.labels[pairs]
    curves = replace(curves, labels=labels)
    return TradeOff(curves=curves, arrays=arrays, order=np.argsort(strengths))


def _beside(a: Arrays, b: Arrays) -> Arrays:
    """Join two sets of arrays along their strengths; what has no strengths is the first's."""
    wide = ("distortion", "divergence", "objective", "converged", "disagreement", "adversarial_distance")
    pictures = ("adversarial", "adversarial_reconstruction")
    joined = {key: np.concatenate([a[key], b[key]], axis=1) for key in (*wide, *pictures)}
    return {**a, **joined, "evaluations": a["evaluations"] + b["evaluations"]}


def lower_strengths(strengths: Tensor, times: int) -> Tensor:
    """Strengths below a series, for curves that do not saturate within it, and below those of `times` earlier calls."""
    floor = strengths[strengths > 0].min() * 2.0 ** (-_OCTAVES_LOWER * times)
    octaves = torch.arange(_STRENGTHS_LOWER, dtype=torch.float64, device=strengths.device)
    return floor * 2.0 ** (-_OCTAVES_LOWER + octaves * _OCTAVES_LOWER / _STRENGTHS_LOWER)


def exchanged(arrays: Arrays, strengths: Floats, spans: Floats, penalty: str) -> Arrays:
    """Every strength takes the solution that costs least there, of whichever strength it is.

    One call of the attack does so among its own strengths; this does among all that a series came to.

    Args:
        arrays: from `tradeoff`, of several calls side by side.
        strengths: C in the arrays' order, `(strengths,)`.
        spans: L2(x - t), `(pairs,)`.
        penalty: on the distortion.
    """
    size = (arrays["distortion"] * spans[:, None]) ** (2 if penalty == "l2_squared" else 1)
    cost = np.nan_to_num(arrays["divergence"][:, None] + strengths[:, None] * size[:, None], nan=np.inf, posinf=np.inf)
    own = np.arange(len(strengths))
    best = np.where(cost.min(2) < cost[:, own, own] * (1 - _WORTH_TAKING), cost.argmin(2), own)
    taken = {
        key: np.take_along_axis(arrays[key], best, 1)
        for key in ("distortion", "divergence", "converged", "adversarial_distance")
    }
    few = len(arrays["adversarial"])
    pictures = {
        key: arrays[key][np.arange(few)[:, None], best[:few]] for key in ("adversarial", "adversarial_reconstruction")
    }
    objective = np.where(best == own, arrays["objective"], np.take_along_axis(cost, best[..., None], 2)[..., 0])
    return {**arrays, **taken, **pictures, "objective": objective}


def curves_of(arrays: Arrays, strengths: Floats, spans: Floats, pairs: Rows) -> Curves:
    """Trade-off curves of all pairs, with their hinges.

    Args:
        arrays: from `tradeoff`.
        strengths: C in the arrays' order, `(strengths,)`.
        spans: L2(x - t), `(pairs,)`.
        pairs: positions of originals and targets in the user's data, `(pairs, 2)`.
    """
    order = np.argsort(strengths)
    reach = arrays["original_distance"] - arrays["target_distance"]
    clear = np.maximum(_SMALLEST_REACH * spans, _CLEARLY * arrays["reach_error"])
    excluded = ~(reach > clear)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (arrays["adversarial_distance"] - arrays["target_distance"][:, None]) / reach[:, None]
    gap = np.where(excluded[:, None], np.nan, gap)[:, order]
    distortion = arrays["distortion"][:, order]
    fit = fit_hinge(distortion, gap)
    return Curves(
        strengths=strengths[order], distortion=distortion, gap=gap, divergence=arrays["divergence"][:, order],
        objective=arrays["objective"][:, order], converged=arrays["converged"][:, order],
        disagreement=arrays["disagreement"][:, order],
        originals=pairs[:, 0], targets=pairs[:, 1], reach=reach, excluded=excluded,
        hinge=fit.hinge, censored=fit.censored & ~excluded, floor=fit.floor, slope=fit.slope,
        r_squared=fit.r_squared, linearity=fit.linearity, auddc=areas_under(distortion, gap),
        reconstruction_error=arrays["reconstruction_error"], evaluations=arrays["evaluations"],
        spans=spans,
    )  # fmt: skip


def headline_of(curves: Curves) -> dict[str, Estimate]:
    """The scores of the curves over all pairs, by name."""
    kept = np.where(curves.excluded, np.nan, 1.0)
    _, first = np.unique(curves.originals, return_index=True)
    return {
        "hinge": hinge_estimate(curves.hinge, curves.censored),
        "auddc": estimate(curves.auddc, statistic="mean", unit="area", higher_is_better=True),
        "linearity": estimate(curves.linearity * kept, unit="R2"),
        "floor": estimate(curves.floor * kept, unit="gap"),
        "reach": estimate(curves.reach, statistic="mean", unit=INPUT_UNITS),
        "reconstruction_error": estimate(curves.reconstruction_error[first], statistic="mean", unit=INPUT_UNITS),
    }


def findings_of(tradeoff: TradeOff) -> list[health.Finding]:
    """What the curves say about themselves."""
    curves, arrays = tradeoff.curves, tradeoff.arrays
    floors = curves.floor[np.isfinite(curves.floor) & ~curves.excluded]
    findings = health.findings_of_curves(
        pairs=len(curves.originals), excluded=int(curves.excluded.sum()), censored=int(curves.censored.sum()),
        non_finite=int((~np.isfinite(curves.gap).all(1) & ~curves.excluded).sum()),
        unconverged=float((~curves.converged).mean()), floor=float(np.median(floors)) if len(floors) else 0.0,
        poor_targets=int((arrays["target_distance"] > 0.5 * arrays["original_distance"]).sum()),
    )  # fmt: skip
    apart = float((curves.disagreement > _APART).mean())
    if apart > _OFTEN_APART:
        findings.append(health.finding_local_minima(apart, _APART))
    moved = resolution_of(curves.distortion, curves.gap)
    if moved > RESOLUTION:
        findings.append(health.finding_curves_not_resolved(moved, RESOLUTION))
    return findings
