"""The targeted attack on pairs over a series of C, and what the reconstructions became."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from vaeaudit import attacks
from vaeaudit.attacks.exchange import ROUNDS
from vaeaudit.attacks.targeted import SOLVER, TargetedAttack, pairs_at_once
from vaeaudit.checkpoint import Arrays
from vaeaudit.measurements.bench import Bench, Rows, plain
from vaeaudit.reconstruction import target_distances


def tradeoff(bench: Bench, strengths: Tensor, pairs: int, *, further: bool = False) -> Arrays:
    """Attack the first pairs at every strength, and measure what the reconstructions became.

    Args:
        bench: what is measured.
        strengths: the series of C.
        pairs: how many.
        further: whether these come on top of the series, for curves that it does not resolve.
    """
    spec = bench.spec
    settings = {
        "strengths": strengths.tolist(), "divergence": bench.divergence, "penalty": bench.penalty,
        "restarts": spec.restarts, "evaluations": spec.evaluations, "samples": spec.samples,
        "precision": bench.precision, **({"rounds": spec.rounds} if spec.rounds != ROUNDS else {}),
    }  # fmt: skip
    return bench.kept(
        "tradeoff", "further strengths" if further else "targeted attack", bench.pair_keys(pairs, pictured=True),
        partial(_tradeoff, bench, strengths=strengths), pairs_at_once(bench.images, len(strengths)), settings,
        *(one.as_crew(partial(_tradeoff, one, strengths=strengths)) for one in bench.crew),
    )  # fmt: skip


def _tradeoff(bench: Bench, chunk: Rows, strengths: Tensor) -> Arrays:
    originals, targets = bench.pair_images(chunk)
    attack = attacks.targeted(
        bench.ae,
        originals,
        targets,
        strengths,
        bench.divergence,
        bench.penalty,
        bench.seed,
        restarts=bench.spec.restarts,
        precision=bench.precision,
        solver=replace(SOLVER, max_evaluations=bench.spec.evaluations),
        rounds=bench.spec.rounds,
    )
    distances = target_distances(
        bench.ae, originals, targets, attack.adversarial, samples=bench.spec.samples, keys=bench.noise_keys(chunk)
    )
    bench.check_finite("decoder", distances.original, distances.target, rows=bench.data.index[bench.pairs[chunk, 0]])
    own = bench.reconstruction_error(originals)
    return {
        "distortion": plain(attack.relative_distortion), "divergence": plain(attack.divergence),
        "objective": plain(attack.objective), "converged": attack.converged.cpu().numpy(),
        "disagreement": plain(attack.disagreement),
        "evaluations": attack.gradient_evaluations.cpu().numpy(), "adversarial_distance": plain(distances.adversarial),
        "original_distance": plain(distances.original), "target_distance": plain(distances.target),
        "reach_error": plain(distances.reach_error), "reconstruction_error": own, **_pictures(bench, chunk, attack),
    }  # fmt: skip


def _pictures(bench: Bench, chunk: Rows, attack: TargetedAttack) -> Arrays:
    """Adversarials of the first few pairs and their reconstructions; no other pictures are kept."""
    few = attack.adversarial[: int((chunk < bench.pictured).sum())]
    if not len(few):
        empty = np.zeros((0, *few.shape[1:]), dtype=np.float32)
        return {"adversarial": empty, "adversarial_reconstruction": empty}
    decoded = bench.ae.reconstructions(few.flatten(0, 1)).reshape(few.shape)
    return {"adversarial": few.float().cpu().numpy(), "adversarial_reconstruction": decoded.float().cpu().numpy()}


def pair_pictures(bench: Bench) -> Arrays:
    """Originals, targets and their reconstructions for the first few pairs."""
    originals, targets = bench.pair_images(np.arange(min(bench.pictured, len(bench.pairs))))
    return {
        name: values.float().cpu().numpy()
        for name, values in (
            ("originals", originals), ("targets", targets),
            ("original_reconstructions", bench.ae.reconstructions(originals)),
            ("target_reconstructions", bench.ae.reconstructions(targets)),
        )
    }  # fmt: skip
