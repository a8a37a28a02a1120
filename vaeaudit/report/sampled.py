"""The figures behind a score, as its verdicts need them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeaudit.samples import Sample
from vaeaudit.score_names import statistic_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def sample_of(
    values: Floats, score: str, originals: Integers, *, targets: Integers | None = None, upper: Floats | None = None
) -> Sample:
    """A sample without the values that are missing."""
    kept = ~np.isnan(values)
    return Sample(
        values=values[kept], statistic=statistic_of(score), originals=originals[kept],
        targets=None if targets is None else targets[kept], upper=None if upper is None else upper[kept],
    )  # fmt: skip


def empty_sample(score: str) -> Sample:
    """The sample of a score that was not measured."""
    nothing = np.zeros(0)
    statistic = statistic_of(score)
    return Sample(
        values=nothing, statistic=statistic, originals=nothing.astype(np.int64),
        errors=nothing if statistic == "count" else None,
    )  # fmt: skip
