"""One attack on one autoencoder over the paper's series of C, measured and kept on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from examples.papers.keeping import kept_arrays
from vaeaudit import Autoencoder, attacks, curves_of_attack
from vaeaudit.attacks.strengths import STRENGTH_SERIES
from vaeaudit.reconstruction import target_distances
from vaeaudit.report.curves import Curves

Attack = Literal["latent", "kl_tabacof2016", "output"]
Floats = NDArray[np.float64]
OWN_EVERY = 4
"""The distance to one's own input, which is only drawn, is measured at every so manieth C."""
_CURVES = tuple(field.name for field in dataclasses.fields(Curves))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What an attack on a model came to.

    Attributes:
        curves: of all pairs.
        adversarial: x_a, `(pairs, strengths, *event)`.
        reconstruction: of the posterior's mean, the same shape.
        own: E L2(r(x_a) - x_a) in units of the reach, `(pairs, strengths)`; NaN where it was not measured.
        widening: median over latent units of sigma_a / sigma_t where C is least, `(pairs,)`; NaN of a deterministic code.
    """

    curves: Curves
    adversarial: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    own: Floats
    widening: Floats


def series(every: int) -> Tensor:
    """Every so manieth value of the paper's hundred, its weakest C among them."""
    return STRENGTH_SERIES["tabacof2016"]()[::every]


def tried(
    ae: Autoencoder, test: Tensor, pairs: Sequence[tuple[int, int]], attack: Attack, file: Path, *,
    every: int, samples: int, seed: int,
) -> Trial:  # fmt: skip
    """An attack as it lies on disk, run first if it does not."""
    kept = kept_arrays(file, partial(_run, ae, test, pairs, attack, every=every, samples=samples, seed=seed))
    curves = Curves(**{name: kept.pop(name) for name in _CURVES if name in kept})
    return Trial(curves=curves, **kept)


def _run(
    ae: Autoencoder, test: Tensor, pairs: Sequence[tuple[int, int]], attack: Attack, *,
    every: int, samples: int, seed: int,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    originals, targets = (test[[pair[end] for pair in pairs]] for end in (0, 1))
    found = attacks.targeted(
        ae, originals, targets, series(every), "kl_tabacof2016" if attack == "kl_tabacof2016" else "kl",
        seed=seed, aim="output" if attack == "output" else "latent",
    )  # fmt: skip
    curves = curves_of_attack(ae, originals, targets, found, samples=samples, seed=seed, pairs=pairs)
    shape = found.adversarial.shape
    with ae.at_rest(seed):
        decoded = ae.reconstructions(found.adversarial.flatten(0, 1)).view(shape)
        own = np.full(shape[:2], np.nan)
        if attack == "latent":
            own[:, ::OWN_EVERY] = _own_distances(ae, found.adversarial[:, ::OWN_EVERY], samples, pairs, seed)
        widening = _widening(ae, found.adversarial[:, 0], targets.to(found.adversarial))
    return {
        **{name: value for name in _CURVES if (value := getattr(curves, name)) is not None},
        "adversarial": found.adversarial.float().cpu().numpy(), "reconstruction": decoded.float().cpu().numpy(),
        "own": own / curves.reach[:, None], "widening": widening,
    }  # fmt: skip


def _own_distances(
    ae: Autoencoder, adversarial: Tensor, samples: int, pairs: Sequence[tuple[int, int]], seed: int
) -> Floats:
    """E L2(r(x_a) - x_a), `(pairs, strengths)`, with the noise of each pair's other distances."""
    inputs = adversarial.flatten(0, 1)
    keys = [(seed, *pair) for pair in pairs for _ in range(adversarial.shape[1])]
    # that of an "original" to a "target" which is itself
    found = target_distances(ae, inputs, inputs, inputs[:, None][:, :0], samples=samples, keys=keys)
    return found.original.view(adversarial.shape[:2]).cpu().numpy()


def _widening(ae: Autoencoder, adversarial: Tensor, targets: Tensor) -> Floats:
    reached, wanted = ae.posteriors(adversarial), ae.posteriors(targets)
    if reached.log_variance is None or wanted.log_variance is None:
        return np.full(len(targets), np.nan)
    ratio: Tensor = torch.exp(0.5 * (reached.log_variance - wanted.log_variance))
    return ratio.flatten(1).median(1).values.double().cpu().numpy()
