"""One attack on one autoencoder over the paper's series of C, as arrays that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import Autoencoder, attacks, curves_of_attack
from vaeaudit.attacks.strengths import STRENGTH_SERIES
from vaeaudit.reconstruction import target_distances

Arrays = dict[str, NDArray[Any]]
ATTACKS: dict[str, tuple[str, attacks.Aim]] = {
    "latent": ("kl", "latent"), "kl_tabacof2016": ("kl_tabacof2016", "latent"), "output": ("kl", "output"),
}  # fmt: skip
"""Divergence and aim of each; the second has the divergence that the paper's code minimised."""
PICTURED = 2
"""Pairs of which pictures are kept."""
_OWN_EVERY = 4
"""The distance to one's own input, which is only drawn, is measured at every so manieth C."""
_OF_CURVES = (
    "strengths", "distortion", "gap", "hinge", "censored", "floor", "slope", "r_squared", "linearity", "auddc", "reach",
    "excluded", "reconstruction_error",
)  # fmt: skip


def attacked(
    ae: Autoencoder, test: Tensor, pairs: Sequence[tuple[int, int]], attack: str, *, every: int, samples: int
) -> Arrays:
    """An attack on all pairs at every so manieth value of the paper's hundred, its weakest C among them.

    Returns:
        By name: figures of `Curves`; `own`, E L2(r(x_a) - x_a) in units of the reach, NaN where it was not measured, and
        `grey`, how grey reconstructions are from 0 to 1, both `(pairs, strengths)`; `widening`, median over latent units of
        sigma_a / sigma_t where C is least, NaN of a deterministic code, `disagreement`, median over C, and `best`, index
        of the paper's C, each `(pairs,)`; `converged`, a share, and `evaluations`, a sum, `()`; and of the first pairs
        `pictures` and `reconstructions`, `(PICTURED, strengths, *event)`.
    """
    originals, targets = (test[[pair[end] for pair in pairs]] for end in (0, 1))
    strengths, (divergence, aim) = STRENGTH_SERIES["tabacof2016"]()[::every], ATTACKS[attack]
    found = attacks.targeted(ae, originals, targets, strengths, divergence, seed=0, aim=aim)
    curves = curves_of_attack(ae, originals, targets, found, samples=samples, seed=0, pairs=pairs)
    shape = found.adversarial.shape
    own = np.full(shape[:2], np.nan)
    with ae.at_rest(0):
        decoded = ae.reconstructions(found.adversarial.flatten(0, 1)).view(shape)
        if attack == "latent":
            own[:, ::_OWN_EVERY] = _own_distances(ae, found.adversarial[:, ::_OWN_EVERY], samples, pairs)
        widening = _widening(ae, found.adversarial[:, 0], targets.to(found.adversarial))
    share = ((decoded - ae.bounds[0]) / (ae.bounds[1] - ae.bounds[0])).clamp(0, 1)
    return {
        **{name: getattr(curves, name) for name in _OF_CURVES},
        "own": own / curves.reach[:, None], "grey": _numpy((4 * share * (1 - share)).flatten(2).mean(2)),
        "widening": widening, "disagreement": np.median(np.minimum(curves.disagreement, 1e9), axis=1),
        "best": _numpy(best(decoded, originals.to(decoded), targets.to(decoded))),
        "converged": np.array(curves.converged.mean()), "evaluations": np.array(curves.evaluations.sum()),
        "pictures": _numpy(found.adversarial[:PICTURED]), "reconstructions": _numpy(decoded[:PICTURED]),
    }  # fmt: skip


def best(decoded: Tensor, originals: Tensor, targets: Tensor) -> Tensor:
    """Index of the last C, from the least upwards, before the reconstruction comes nearer to the original, `(pairs,)`.

    The paper's rule for its pictures.

    Args:
        decoded: `(pairs, strengths, *event)`, C ascending.
        originals: `(pairs, *event)`.
        targets: the same shape.
    """
    to_original, to_target = ((decoded - end[:, None]).flatten(2).norm(dim=2) for end in (originals, targets))
    leading: Tensor = (to_target < to_original).int().cumprod(1).sum(1)
    return (leading - 1).clamp(min=0)


def _own_distances(
    ae: Autoencoder, adversarial: Tensor, samples: int, pairs: Sequence[tuple[int, int]]
) -> NDArray[Any]:
    """E L2(r(x_a) - x_a), `(pairs, strengths)`, with the noise of each pair's other distances."""
    inputs = adversarial.flatten(0, 1)
    keys = [(0, *pair) for pair in pairs for _ in range(adversarial.shape[1])]
    # that of an "original" to a "target" which is itself
    found = target_distances(ae, inputs, inputs, inputs[:, None][:, :0], samples=samples, keys=keys)
    return _numpy(found.original.view(adversarial.shape[:2]))


def _widening(ae: Autoencoder, adversarial: Tensor, targets: Tensor) -> NDArray[Any]:
    reached, wanted = ae.posteriors(adversarial), ae.posteriors(targets)
    if reached.log_variance is None or wanted.log_variance is None:
        return np.full(len(targets), np.nan)
    ratio = torch.exp(0.5 * (reached.log_variance - wanted.log_variance))
    return _numpy(ratio.flatten(1).median(1).values.double())


def _numpy(values: Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy()
