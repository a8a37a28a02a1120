"""On a real model the batched attack ends no higher than paper A's own optimiser."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch

from vaeaudit import zoo
from vaeaudit.attacks import targeted
from vaeaudit.attacks.targeted import SOLVER
from vaeaudit.divergences import divergence_kl


def test_objectives_on_the_zoo_vae_are_no_higher_than_those_of_scipy(boxes: ModuleType) -> None:
    ae = zoo.load("mnist-vae")
    images, labels = zoo.images("mnist-vae")
    first = np.flatnonzero(labels == labels[0])[:3]
    other = np.flatnonzero(labels != labels[0])[:3]
    originals, targets = images[first], images[other]
    found = targeted(ae, originals, targets, 6)
    rng = np.random.default_rng(0)
    ratios = np.array([
        [
            float(found.objective[pair, j]) / _scipy(boxes, ae, originals[pair], targets[pair], float(strength), rng)
            for j, strength in enumerate(found.strengths)
        ]
        for pair in range(3)
    ])  # fmt: skip
    assert np.median(ratios) <= 1 + SOLVER.tolerance, ratios
    assert ratios.max() <= 1.02, ratios


def _scipy(boxes: ModuleType, ae, x: torch.Tensor, t: torch.Tensor, strength: float, rng) -> float:
    """The least objective of one problem by L-BFGS-B: float32 network, float64 optimiser, paper A's start."""
    with ae.at_rest():
        goal = ae.encode(t[None])

        def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
            shift = torch.from_numpy(d).float().view_as(x).requires_grad_()
            delta = divergence_kl(ae.encode((x + shift)[None]), goal)
            (gradient,) = torch.autograd.grad(delta.sum(), shift)
            return float(delta.detach()) + strength * d @ d, gradient.flatten().double().numpy() + 2 * strength * d

        origin = x.flatten().double().numpy()
        start = rng.uniform(-1e-8, 1e-8, origin.size)
        return boxes.minimize_in_box(objective, start, -origin, 1 - origin, tight=False).fun
