"""Trade-off curves of an attack that was run by itself, as an audit would measure them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from vaeaudit.attacks import TargetedAttack
from vaeaudit.attacks.aims import checked_pairs
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.checkpoint import Arrays
from vaeaudit.errors import DataError
from vaeaudit.measurements.bench import plain
from vaeaudit.measurements.curves import curves_of
from vaeaudit.reconstruction import target_distances
from vaeaudit.report.curves import Curves


def curves_of_attack(
    ae: Autoencoder, originals: Tensor, targets: Tensor, attack: TargetedAttack, *,
    samples: int = 64, seed: int = 0, pairs: Sequence[tuple[int, int]] | None = None,
) -> Curves:  # fmt: skip
    """What the reconstructions became under an attack: X, Y, hinge, floor, slope, linearity and area of every pair.

    On the same pairs and with the same seed these are the figures of an audit, whatever the attack was after.

    Args:
        ae: the model.
        originals: x, `(pairs, *event)`, as they were attacked.
        targets: t, `(pairs, *event)`.
        attack: what `vaeaudit.attacks.targeted` found.
        samples: posterior samples behind every point; a deterministic code is decoded once.
        seed: of these samples.
        pairs: positions of originals and targets in the data, which seed each pair's samples; None counts from 0.

    Raises:
        DataError: images, pairs and attack do not match.
    """
    originals, targets = checked_pairs(ae, originals, targets)
    given = [(i, i) for i in range(len(originals))] if pairs is None else pairs
    positions = np.asarray(given, np.int64)
    if positions.shape != (len(originals), 2) or len(attack.adversarial) != len(originals):
        raise DataError(
            f"pairs expects one (original, target) for each of {len(originals)} originals and as many attacked, got "
            f"{positions.shape} and an attack on {len(attack.adversarial)}"
        )
    with ae.at_rest(seed):
        distances = target_distances(
            ae, originals, targets, attack.adversarial, samples=samples,
            keys=[(seed, int(i), int(j)) for i, j in positions],
        )  # fmt: skip
        error = plain((ae.reconstructions(originals) - originals).flatten(1).double().norm(dim=1))
    spans = plain((originals - targets).flatten(1).double().norm(dim=1))
    arrays: Arrays = {
        "distortion": plain(attack.relative_distortion), "divergence": plain(attack.divergence),
        "objective": plain(attack.objective), "converged": attack.converged.cpu().numpy(),
        "disagreement": plain(attack.disagreement), "evaluations": attack.gradient_evaluations.cpu().numpy(),
        "adversarial_distance": plain(distances.adversarial), "original_distance": plain(distances.original),
        "target_distance": plain(distances.target), "reach_error": plain(distances.reach_error),
        "reconstruction_error": error,
    }  # fmt: skip
    return curves_of(arrays, plain(attack.strengths), spans, positions)
