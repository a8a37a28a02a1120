"""The same attack on a classifier: what the distortion does to the wanted class's probability, and to its logit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from examples.papers.keeping import kept_arrays
from vaeaudit.attacks import targeted_class

from .images import PAIR_SEED, Images

SERIES = (-10.0, 20.0, 100)
"""The paper's: powers of two from and to, and how many."""


def tried(classifier: Any, images: Images, file: Path, *, count: int, every: int, seed: int) -> dict[str, NDArray[Any]]:
    """The attack as it lies on disk, run first if it does not.

    Returns:
        By name: `strengths`, C, ascending, `(strengths,)`; `distortion`, L2(d) in input units, `probability` and `logit` of the
        wanted class, each `(images, strengths)`; `crossing`, least distortion at which it wins, infinite where it never does,
        and `first_losing`, distortion at the least C of the series at which it no longer wins, which the paper's code printed,
        NaN where there is none, each `(images,)`; `originals`, positions in the test set, and `wanted`, classes, `(images,)`.
    """
    return kept_arrays(file, partial(_run, classifier, images, count=count, every=every, seed=seed))


def _run(classifier: Any, images: Images, *, count: int, every: int, seed: int) -> dict[str, NDArray[Any]]:
    rows, wanted = _drawn(classifier, images, count)
    low, high, total = SERIES
    strengths = torch.logspace(low, high, total, base=2, dtype=torch.float64)[::every]
    found = targeted_class(
        classifier, images.test[rows], torch.from_numpy(wanted), strengths, bounds=images.bounds, seed=seed
    )
    wins, distortion = found.wins.cpu().numpy(), found.distortion.cpu().numpy()
    losing = np.where(wins, np.nan, distortion)
    first = np.array([row[np.isfinite(row)][0] if np.isfinite(row).any() else np.nan for row in losing])
    return {
        "strengths": found.strengths.cpu().numpy(), "distortion": distortion,
        "probability": found.probability.cpu().numpy(), "logit": found.logit.cpu().numpy(),
        "crossing": found.crossing.cpu().numpy(), "first_losing": first, "originals": rows.astype(np.int64),
        "wanted": wanted,
    }  # fmt: skip


@torch.no_grad()
def _drawn(classifier: Any, images: Images, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Test images that are classified correctly, and for each another class, by the paper's rule."""
    rng = np.random.default_rng(PAIR_SEED)
    order = rng.permutation(len(images.test))
    device = next(classifier.parameters()).device
    parts = (images.test[rows].to(device) for rows in np.array_split(order, 20))
    said = np.concatenate([classifier(part).argmax(1).cpu().numpy() for part in parts])
    rows = order[said == images.test_labels[order]][:count]
    labels = images.test_labels[rows]
    shift = rng.integers(1, 10, size=len(rows))
    return rows, (labels + shift) % 10
