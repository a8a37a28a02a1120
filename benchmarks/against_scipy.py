"""The targeted attack against scipy's L-BFGS-B, problem by problem, in one run.

    python benchmarks/against_scipy.py [--model mnist-vae] [--pairs 25] [--strengths 24]

Both minimise the same objective from the same model; scipy starts as Tabacof et al. (2016) did,
from uniform noise of 1e-8, once for every pair and strength, with maxiter=15000. Printed: the ratio
of objectives (ours / scipy's; below 1 is better), gradient evaluations, and the ratio of times.
About three minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import torch
from scipy import optimize

import vaeaudit
from vaeaudit import attacks, zoo
from vaeaudit.divergences import divergence_named


def scipy_objective(ae: vaeaudit.Autoencoder, x: torch.Tensor, t: torch.Tensor, strength: float):
    """Value and gradient at a flat float64 distortion of one pair."""
    with torch.no_grad():
        target = ae.encode(t[None])
    _, divergence = divergence_named("kl", deterministic=target.log_variance is None)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        d = torch.from_numpy(flat).to(x.dtype).view_as(x).requires_grad_()
        value = divergence(ae.encode((x + d)[None]), target).sum()
        (gradient,) = torch.autograd.grad(value, d)
        total = value.item() + strength * float(flat @ flat)
        return total, gradient.double().numpy().ravel() + 2 * strength * flat

    return evaluate


def solve_with_scipy(
    ae: vaeaudit.Autoencoder, x: torch.Tensor, t: torch.Tensor, strength: float, rng: np.random.Generator
) -> optimize.OptimizeResult:
    flat = x.double().numpy().ravel()
    return optimize.minimize(
        scipy_objective(ae, x, t, strength), rng.uniform(-1e-8, 1e-8, flat.size), jac=True, method="L-BFGS-B",
        bounds=optimize.Bounds(-flat, 1 - flat), options={"maxiter": 15000, "maxfun": 150000},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=zoo.names(), default="mnist-vae")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--strengths", type=int, default=24)
    options = parser.parse_args()

    ae = zoo.load(options.model)
    images, labels = zoo.images(options.model)
    rng = np.random.default_rng(0)
    originals = rng.choice(len(images), options.pairs, replace=False)
    targets = np.array([rng.choice(np.flatnonzero(labels != labels[i])) for i in originals])
    x, t = images[originals], images[targets]

    started = time.perf_counter()
    ours = attacks.targeted(ae, x, t, options.strengths)
    our_seconds = time.perf_counter() - started

    started = time.perf_counter()
    theirs = [
        [solve_with_scipy(ae, x[i], t[i], float(c), rng) for c in ours.strengths] for i in range(options.pairs)
    ]  # fmt: skip
    scipy_seconds = time.perf_counter() - started

    ratio = ours.objective.numpy() / np.array([[result.fun for result in row] for row in theirs])
    evaluations = np.array([[result.nfev for result in row] for row in theirs])
    problems = ratio.size
    print(f"{options.model}: {options.pairs} pairs x {options.strengths} strengths, {platform.machine()}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    print(f"objective, ours / scipy   median {np.median(ratio):.5f}   mean {ratio.mean():.4f}   "
          f"95th percentile {np.quantile(ratio, 0.95):.5f}   largest {ratio.max():.4f}")  # fmt: skip
    print(f"gradient evaluations a problem   ours {int(ours.gradient_evaluations.sum()) / problems:.0f}   "
          f"scipy {evaluations.mean():.0f}")  # fmt: skip
    print(f"time a problem   ours {1e3 * our_seconds / problems:.1f} ms   scipy {1e3 * scipy_seconds / problems:.1f} ms   "
          f"scipy / ours {scipy_seconds / our_seconds:.0f}")  # fmt: skip
    print(f"converged, ours   {ours.converged.double().mean():.1%}")


if __name__ == "__main__":
    main()
