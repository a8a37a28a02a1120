"""Original and target: which two images make a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.data import Images
from vaeaudit.errors import DataError

Integers = NDArray[np.int64]
Pairs = int | Sequence[tuple[int, int]] | None


def positions_named(pairs: Pairs) -> list[int]:
    """Positions in the user's data that given pairs name; none where pairs are to be drawn.

    Raises:
        DataError: neither a number nor a list of index pairs.
    """
    if pairs is None or _is_number(pairs):
        return []
    return [int(i) for i in _as_indices(pairs).ravel()]


def draw_pairs(images: Images, pairs: Pairs, *, default: int, seed: int) -> Integers:
    """Original and target of each pair as rows of `images`, `(pairs, 2)`; each image is an original once at most.

    Args:
        images: what to draw from; with labels, a drawn pair's two images differ in label.
        pairs: how many, or the pairs themselves as `(original, target)` positions in the user's
            data; None takes `default`, or as many as the images allow.
        default: the preset's number.
        seed: seed of the draw.

    Raises:
        DataError: more pairs than the data allow, or positions that do not exist.
    """
    if pairs is not None and not _is_number(pairs):
        return _given_pairs(images, _as_indices(pairs))
    _check_classes(images)
    count = min(default, len(images)) if pairs is None else int(cast("int", pairs))
    if not 1 <= count <= len(images):
        raise DataError(
            f"pairs={count} cannot be drawn: {len(images)} images allow 1 to {len(images)} pairs, since each image "
            "is an original at most once; pass more images or fewer pairs"
        )
    rng = np.random.default_rng([seed, len(images)])
    chosen = rng.permutation(len(images))[:count]
    return np.array([(i, _draw_target(images, int(i), rng)) for i in chosen], dtype=np.int64)


def half_the_median_distance(originals: Tensor, targets: Tensor) -> float:
    """The r of r-robustness where none is given: half the median of L2(x - t), input units; float64.

    Of an even number of pairs, the median is the mean of the two in the middle.

    Args:
        originals: x, `(pairs, *event)`, at least one pair.
        targets: t, `(pairs, *event)`.
    """
    lengths = (originals.double() - targets.double()).flatten(1).norm(dim=1)
    return float(np.median(lengths.detach().cpu().numpy())) / 2


def _is_number(pairs: Any) -> bool:
    return isinstance(pairs, (int, np.integer)) and not isinstance(pairs, bool)


def _check_classes(images: Images) -> None:
    if images.labels is not None and len(np.unique(images.labels)) < 2:
        raise DataError(
            f"all {len(images)} images have the label {images.labels[0]}; a target must differ in label: "
            "pass images of several classes, or images without labels"
        )


def _draw_target(images: Images, original: int, rng: np.random.Generator) -> int:
    others = np.arange(len(images)) != original
    if images.labels is not None:
        others &= images.labels != images.labels[original]
    return int(rng.choice(np.flatnonzero(others)))


def _as_indices(pairs: Any) -> Integers:
    try:
        given = np.asarray(pairs)
        if given.ndim == 2 and given.shape[1] == 2 and len(given) and given.dtype.kind in "iu":
            return given.astype(np.int64)
    except ValueError:
        pass
    raise DataError(f"pairs expects a number or a list of (original, target) indices, got {str(pairs)[:80]}")


def _given_pairs(images: Images, given: Integers) -> Integers:
    unknown = np.setdiff1d(given, images.index)
    if len(unknown):
        raise DataError(f"pairs name image {unknown[0]}, but there are images 0 to {images.index[-1]}")
    if (same := given[:, 0] == given[:, 1]).any():
        raise DataError(f"pair {int(np.flatnonzero(same)[0])} has one image as original and target")
    if len(np.unique(given, axis=0)) < len(given):
        raise DataError(
            "some pairs are given more than once; each counts as an independent measurement, so name it once"
        )
    return np.searchsorted(images.index, given)
