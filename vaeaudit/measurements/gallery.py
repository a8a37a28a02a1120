"""The pictures of a report: pairs over the strengths of the targeted attack, images over the untargeted one's budgets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit.measurements.bench import Bench
from vaeaudit.measurements.curves import TradeOff
from vaeaudit.measurements.damage import attacked as attacked_by_one
from vaeaudit.measurements.tradeoff import pair_pictures
from vaeaudit.measurements.worst_case import attacked as attacked_by_all
from vaeaudit.report.gallery import BallPictures, Gallery

_SHOWN_STRENGTHS = 12
Pictures = NDArray[np.float32]


def gallery_of(bench: Bench, tradeoff: TradeOff, deterministic: bool) -> Gallery:
    """The first pairs at strengths that spread evenly over the distortion, the first images at every budget.

    Args:
        bench: what was measured; its finished rows are looked up, and nothing is attacked again.
        tradeoff: the curves of the pairs.
        deterministic: whether the encoder returns no variances.
    """
    curves, arrays, pictures = tradeoff.curves, tradeoff.arrays, pair_pictures(bench)
    middle = np.nanmedian(curves.distortion, axis=0)
    levels = np.linspace(middle.min(), middle.max(), _SHOWN_STRENGTHS + 1)[1:]  # the original itself stands beside them
    columns = np.unique([int(np.abs(middle - level).argmin()) for level in levels])[::-1]
    shown = len(pictures["originals"])
    return Gallery(
        pairs=np.arange(shown), strengths=columns.astype(np.int64), bounds=bench.ae.bounds,
        adversarials=arrays["adversarial"][:shown][:, tradeoff.order[columns]],
        reconstructions=arrays["adversarial_reconstruction"][:shown][:, tradeoff.order[columns]],
        untargeted=_untargeted(bench, deterministic), **pictures,
    )  # fmt: skip


def _untargeted(bench: Bench, deterministic: bool) -> BallPictures:
    """The worst attacked images: of all attacks where the preset tries them and keeps what they found, else of the headline's."""
    rows, radii, displacement, adversarials = attacked_by_all(bench, deterministic) or attacked_by_one(bench)
    originals = bench.images[torch.from_numpy(rows).to(bench.images.device)]
    pictures = torch.from_numpy(adversarials).to(originals)
    return BallPictures(
        images=bench.data.index[rows], radii=np.array(radii), displacement=displacement,
        originals=_floats(originals), original_reconstructions=_floats(bench.ae.reconstructions(originals)),
        adversarials=adversarials,
        reconstructions=_floats(bench.ae.reconstructions(pictures.flatten(0, 1)).reshape(pictures.shape)),
    )  # fmt: skip


def _floats(values: torch.Tensor) -> Pictures:
    found: Pictures = values.float().cpu().numpy()
    return found
