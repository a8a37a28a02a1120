"""The data sets as the paper used them: MNIST, SVHN, and Fashion-MNIST where SVHN cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from .reference import PAIRS

SVHN_MEAN, SVHN_STD = 115.11177966923525, 50.819267906232888
"""Of the training images' values from 0 to 255, as the paper's code has them."""
FASHION_MEAN, FASHION_STD = 73.0, 90.0
PAIR_SEED = 1234
Labels = np.ndarray[Any, np.dtype[np.int64]]


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


def mnist(folder: Path, download: bool) -> Images:
    """Grey images in [0, 1], `(n, 1, 28, 28)`."""
    train, test = (torchvision.datasets.MNIST(folder, train=part, download=download) for part in (True, False))
    return Images(
        train=train.data[:, None].float() / 255, train_labels=train.targets.numpy(),
        test=test.data[:, None].float() / 255, test_labels=test.targets.numpy(),
        bounds=(0.0, 1.0), published=len(test) == 10000,
    )  # fmt: skip


def fashion(folder: Path, download: bool) -> Images:
    """Images with a black margin of two pixels, standardised, `(n, 1, 32, 32)`."""
    train, test = (torchvision.datasets.FashionMNIST(folder, train=part, download=download) for part in (True, False))

    def framed(values: Tensor) -> Tensor:
        return (F.pad(values[:, None].float(), (2, 2, 2, 2)) - FASHION_MEAN) / FASHION_STD

    return Images(
        train=framed(train.data), train_labels=train.targets.numpy(), test=framed(test.data),
        test_labels=test.targets.numpy(), bounds=_standardised(FASHION_MEAN, FASHION_STD),
    )  # fmt: skip


def svhn(folder: Path, download: bool) -> Images:
    """Colour images, standardised, `(n, 3, 32, 32)`."""
    train, test = (
        torchvision.datasets.SVHN(folder / "SVHN", split=split, download=download) for split in ("train", "test")
    )

    def standardised(values: np.ndarray[Any, Any]) -> Tensor:
        return (torch.from_numpy(values).float() - SVHN_MEAN) / SVHN_STD

    return Images(
        train=standardised(train.data), train_labels=np.asarray(train.labels, np.int64),
        test=standardised(test.data), test_labels=np.asarray(test.labels, np.int64),
        bounds=_standardised(SVHN_MEAN, SVHN_STD),
    )  # fmt: skip


def _standardised(mean: float, std: float) -> tuple[float, float]:
    return -mean / std, (255 - mean) / std


DATASETS: dict[str, Callable[[Path, bool], Images]] = {"mnist": mnist, "fashion": fashion, "svhn": svhn}


def load(name: str, folder: Path, *, download: bool) -> Images | None:
    """A data set; None where it is neither in the folder nor to be downloaded."""
    try:
        return DATASETS[name](folder, download)
    except (RuntimeError, OSError) as error:
        print(f"{name}: {error}", flush=True)
        return None
