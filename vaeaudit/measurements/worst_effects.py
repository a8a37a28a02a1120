"""What the worst of all untargeted attacks did to each image, beside moving its reconstruction."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vaeaudit import effects
from vaeaudit.checkpoint import Arrays
from vaeaudit.effects import NotMeasured
from vaeaudit.measurements.bench import BUDGETS, INPUT_UNITS, Bench, Floats, Rows, plain
from vaeaudit.report.worst_case import EFFECTS, AttackEffects
from vaeaudit.statistics import Estimate, estimate

_BYTES_OF_ONE, _BYTES_OF_PICTURES = 2**22, 2**30
"""Of the attacked copies of an image that are kept; of those that a classifier judges together."""
_UNITS = {"likelihood_drop": "nats, Gaussian", "elbo_drop": "nats, Gaussian", "amplification": "squared"}
_SHARES = ("r_robust_share", "latent_class_kept", "latent_class_right", "reconstruction_class_kept",
           "reconstruction_class_right")  # fmt: skip


def effects_at(bench: Bench, images: Tensor, worst: Tensor, rows: Rows, r: float) -> Arrays:
    """Figures of attacked images, `(images, budgets)` each; NaN where there is no such effect.

    Args:
        bench: what is measured.
        images: x, `(images, *event)`.
        worst: what the worst attack made of them, `(images, budgets, *event)`; kept beside the figures if that is small.
        rows: of the images.
        r: reconstructions within this L2 distance count as the same, input units.
    """
    ae, seed, samples = bench.ae, bench.seed, bench.spec.samples
    keys = [(seed, *bytes.fromhex(bench.data.fingerprint_of(int(row)))[:16]) for row in rows]
    likelihood = effects.likelihood_degradation(ae, images, worst, samples=samples, keys=keys)
    robust = effects.r_robustness(ae, images, worst, r, samples=max(samples, 1), keys=keys)
    alike = effects.similarities(ae, images, worst)
    ratio, nothing = likelihood.deviance_ratio, np.full(worst.shape[:2], np.nan)
    arrays = {
        "amplification": plain(effects.amplification(ae, images, worst).ratio),
        "likelihood_drop": plain(likelihood.drop),
        "elbo_drop": nothing if likelihood.clean_kl is None else plain(likelihood.elbo_drop),
        "r_robust_share": plain(robust.share), "broke": plain(robust.broke),
        "deviance_ratio": nothing if ratio is None else plain(ratio),
    }  # fmt: skip
    if not isinstance(alike, NotMeasured):
        arrays |= {"ms_ssim_inputs": plain(alike.inputs), "ms_ssim_reconstructions": plain(alike.reconstructions)}
    fits = 4 * worst[0].numel() <= _BYTES_OF_ONE  # says the same of every image, so that rows go together
    return {**arrays, "worst": worst.float().cpu().numpy()} if fits else arrays


def effects_of(bench: Bench, rows: Rows, arrays: Arrays) -> AttackEffects:
    """What the figures come to over all images.

    Args:
        bench: what is measured.
        rows: of the images.
        arrays: of `effects_at`, and the r that it was given.
    """
    judged, refusals = _judged(bench, rows, arrays)
    figures = {name: arrays[name] for name in EFFECTS if name in arrays and not np.isnan(arrays[name]).all()} | judged
    radii = np.array(bench.radii(BUDGETS))
    broke, unbroken = arrays["broke"], np.isinf(arrays["broke"])
    reached = np.where(unbroken, radii[-1], broke)
    if "ms_ssim_inputs" not in figures:
        alike = effects.similarities(bench.ae, bench.images[:1], bench.images[:1, None])
        refusals["ms_ssim_inputs"] = refusals["ms_ssim_reconstructions"] = getattr(
            alike, "reason", "no figure is finite"
        )
    if "deviance_ratio" not in figures:
        refusals["deviance_ratio"] = "the decoder gives its own spread, or reconstructs perfectly"
    if "elbo_drop" not in figures:
        refusals["elbo_drop"] = "a deterministic code has no ELBO"
    return AttackEffects(
        radii=radii, images=bench.data.index[rows], figures={n: figures[n] for n in EFFECTS if n in figures},
        estimates={name: _estimates(name, figures[name]) for name in EFFECTS if name in figures},
        refusals=refusals, r=float(arrays["r"]), broke=reached, unbroken=unbroken,
        margin=estimate(
            reached, unit=INPUT_UNITS, higher_is_better=True, upper=np.where(unbroken, np.inf, reached)
        ),
    )  # fmt: skip


def _estimates(name: str, figures: Floats) -> tuple[Estimate, ...]:
    kind: Literal["mean", "median"] = "mean" if name in _SHARES else "median"
    found = (estimate(one, statistic=kind, unit=_UNITS.get(name, "")) for one in figures.T)
    return tuple(_share(one) if name in _SHARES else one for one in found)


def _share(found: Estimate) -> Estimate:
    """A share does not leave [0, 1], whatever its interval does."""
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _judged(bench: Bench, rows: Rows, arrays: Arrays) -> tuple[dict[str, Floats], dict[str, str]]:
    """What a classifier makes of the worst attacked images, and why there is none."""
    names = [name for name in _SHARES if "class" in name]
    if "worst" not in arrays or arrays["worst"].nbytes > _BYTES_OF_PICTURES:
        return {}, dict.fromkeys(names, "the attacked images are too large to be kept together")
    worst = torch.from_numpy(arrays["worst"]).to(bench.images).clamp(*bench.ae.bounds)
    found = effects.downstream(bench.ae, bench.images, bench.data.labels, worst, rows=rows, seed=bench.seed)
    if isinstance(found, NotMeasured):
        return {}, dict.fromkeys(names, found.reason)
    judgements = {"latent": found.latents, "reconstruction": found.reconstructions}
    return {
        f"{part}_class_{what}": getattr(judgement, attribute).astype(np.float64)
        for part, judgement in judgements.items()
        for what, attribute in (("kept", "kept"), ("right", "attacked_right"))
    }, {}
