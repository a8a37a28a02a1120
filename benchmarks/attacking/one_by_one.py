"""The attack's problem for scipy's L-BFGS-B: one pair and one strength at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from attacking.common import Numbers
from attacking.subjects import Subject
from vaeaudit.divergences import divergence_named

PAPER = {"maxcor": 25, "ftol": 10 * np.finfo(float).eps, "gtol": 1e-5, "maxiter": 15000, "maxfun": 15000}
"""Those of Tabacof et al. (2016): m = 25, factr = 10, all else as scipy has it (definitions 2.3)."""
DEFAULTS = {"maxiter": 15000, "maxfun": 15000}
"""Those of a user who changes nothing but the limits."""
NOISE = 1e-8
"""Size of the uniform noise that paper A starts from."""


@dataclass(frozen=True, kw_only=True)
class Problems:
    """Some of the problems of a protocol: a pair and a strength each, `(problems,)`."""

    pair: Tensor
    strength: Tensor
    position: Tensor

    def __len__(self) -> int:
        return len(self.pair)

    def first(self, count: int) -> Problems:
        """So many of them."""
        return Problems(pair=self.pair[:count], strength=self.strength[:count], position=self.position[:count])


def drawn(pairs: int, strengths: Tensor, count: int, seed: int) -> Problems:
    """So many of the pairs x strengths problems at random, or all if there are no more."""
    total = pairs * len(strengths)
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    position = torch.as_tensor(np.sort(chosen))
    return Problems(pair=position // len(strengths), strength=strengths.cpu()[position % len(strengths)],
                    position=position)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Found:
    """Images that a solver found, `(problems, *event)`, and the gradient evaluations of each."""

    adversarial: Tensor
    evaluations: Numbers


def solve(
    subject: Subject, problems: Problems, settings: Mapping[str, float], *, penalty: str = "l2_squared", seed: int = 0
) -> Found:
    """Each problem by itself, from noise, as paper A did."""
    rng = np.random.default_rng(seed)
    images, evaluations = [], []
    with subject.ae.at_rest():
        for pair, strength in zip(problems.pair.tolist(), problems.strength.tolist(), strict=True):
            x = subject.originals[pair]
            flat = x.double().cpu().numpy().ravel()
            low, high = subject.ae.bounds
            result = optimize.minimize(
                objective(subject, pair, strength, penalty), rng.uniform(-NOISE, NOISE, flat.size), jac=True,
                method="L-BFGS-B", bounds=optimize.Bounds(low - flat, high - flat), options=dict(settings),
            )  # fmt: skip
            images.append((x + torch.from_numpy(result.x).to(x).view_as(x)).clamp(low, high))
            evaluations.append(result.nfev)
    return Found(adversarial=torch.stack(images), evaluations=np.array(evaluations, dtype=float))


def objective(subject: Subject, pair: int, strength: float, penalty: str) -> Callable[[Numbers], tuple[float, Numbers]]:
    """Value and gradient at a flat float64 distortion of one pair."""
    x = subject.originals[pair]
    with torch.no_grad():
        target = subject.ae.encode(subject.targets[pair][None])
    _, divergence = divergence_named("kl", deterministic=target.log_variance is None)

    def evaluate(flat: Numbers) -> tuple[float, Numbers]:
        d = torch.from_numpy(flat).to(x).view_as(x).requires_grad_()
        value = divergence(subject.ae.encode((x + d)[None]), target).sum()
        (gradient,) = torch.autograd.grad(value, d)
        size, slope = _penalty(flat, penalty)
        return value.item() + strength * size, gradient.double().cpu().numpy().ravel() + strength * slope

    return evaluate


def _penalty(flat: Numbers, penalty: str) -> tuple[float, Numbers]:
    squares = float(flat @ flat)
    if penalty == "l2_squared":
        return squares, 2 * flat
    norm = squares**0.5
    return norm, flat / max(norm, np.finfo(float).tiny)
