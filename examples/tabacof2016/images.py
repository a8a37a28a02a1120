"""The data sets as the paper used them: MNIST, SVHN, and Fashion-MNIST where SVHN cannot be had."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .reference import PAIRS

UNITS = {"mnist": (0.0, 255.0), "fashion": (73.0, 90.0), "svhn": (115.11177966923525, 50.819267906232888)}
"""What values from 0 to 255 lose and are divided by; SVHN's mean and standard deviation are the paper's code's."""
PAIR_SEED = 1234
_MARGIN = 2
"""Black pixels around Fashion-MNIST's, which make images of SVHN's size."""
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Images:
    """A data set in the units that its models see.

    Attributes:
        train: `(n, *event)`.
        train_labels: `(n,)`.
        test: `(m, *event)`.
        test_labels: `(m,)`.
        bounds: black and white in these units.
        published: whether the test set is the paper's, so that its pairs can be taken.
    """

    train: Tensor
    train_labels: Labels
    test: Tensor
    test_labels: Labels
    bounds: tuple[float, float]
    published: bool = False

    def pairs(self, count: int) -> list[tuple[int, int]]:
        """Original and target by position in the test set, of different classes.

        On MNIST those that the paper's VAE was attacked on; elsewhere drawn by its rule from a generator of our own.
        """
        if self.published:
            return list(PAIRS[:count])
        rng = np.random.default_rng(PAIR_SEED)
        originals = rng.permutation(len(self.test))[:count]
        others = [np.flatnonzero(self.test_labels != self.test_labels[i]) for i in originals]
        return [(int(i), int(rng.choice(far))) for i, far in zip(originals, others, strict=True)]


@cache
def load(name: str, folder: Path, *, download: bool) -> Images | None:
    """A data set, read once; None where it is neither in the folder nor to be downloaded."""
    try:
        train, test = (_read(name, folder, part, download) for part in ("train", "test"))
    except (RuntimeError, OSError) as error:
        print(f"{name}: {error}", flush=True)
        return None
    shift, scale = UNITS[name]
    return Images(
        train=(train[0].float() - shift) / scale, train_labels=train[1],
        test=(test[0].float() - shift) / scale, test_labels=test[1],
        bounds=(-shift / scale, (255 - shift) / scale), published=name == "mnist" and len(test[0]) == 10000,
    )  # fmt: skip


def _read(name: str, folder: Path, part: str, download: bool) -> tuple[Tensor, Labels]:
    """Pixels from 0 to 255, `(n, channels, height, width)`, and labels."""
    if name == "svhn":
        colour = torchvision.datasets.SVHN(folder / "SVHN", split=part, download=download)
        return torch.from_numpy(colour.data), np.asarray(colour.labels, np.int64)
    kind = torchvision.datasets.MNIST if name == "mnist" else torchvision.datasets.FashionMNIST
    grey = kind(folder, train=part == "train", download=download)
    pixels = grey.data[:, None]
    return pixels if name == "mnist" else F.pad(pixels, [_MARGIN] * 4), grey.targets.numpy()
