"""Classifiers under the same attack: what distortion does to the wanted class's probability, and to its logit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from examples.papers.keeping import kept_model
from vaeaudit.attacks import targeted_class

from .images import PAIR_SEED, Images
from .settings import Setting
from .training import SEED, batches_of, optimised

SERIES = (-10.0, 20.0, 100)
"""The paper's: powers of two from and to, and how many."""


def build(data: str, setting: Setting) -> nn.Module:
    """An untrained classifier of ten classes: dense with dropout for MNIST, else convolutional."""
    if data == "mnist":
        hidden = setting.classifier_hidden
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Dropout(), nn.Linear(hidden, 10),
        )  # fmt: skip
    width = setting.width
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3), nn.ReLU(), nn.Conv2d(2 * width, width, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(25 * width, 16 * width), nn.ReLU(), nn.Linear(16 * width, 10),
    )  # fmt: skip


def trained(data: str, images: Images, setting: Setting, folder: Path, device: str) -> nn.Module:
    """A classifier as it lies on disk, trained first if it does not: Nesterov's momentum, learning rate 0.01."""
    torch.manual_seed(SEED)
    net = build(data, setting).to(device)
    count = setting.images if data == "mnist" else setting.conv_images
    train, labels = images.train[:count].to(device), torch.from_numpy(images.train_labels[:count]).to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    batches = batches_of(len(train), setting.classifier_epochs)

    def step(rows: Tensor) -> Tensor:
        return F.cross_entropy(net(train[rows]), labels[rows])

    return kept_model(net, folder / f"{data}-classifier.safetensors", lambda: optimised(net, optimiser, batches, step))


def attacked(classifier: Any, images: Images, *, count: int, every: int) -> dict[str, NDArray[Any]]:
    """Attack images towards another class, at every so manieth C of the series.

    Returns:
        By name: `strengths`, C, ascending, `(strengths,)`; `distortion`, L2(d) in input units, `probability` and `logit` of the
        wanted class, each `(images, strengths)`; `crossing`, least distortion at which it wins, infinite where it never does,
        and `first_losing`, distortion at the least C of the series at which it no longer wins, which the paper's code printed,
        NaN where there is none, each `(images,)`; `originals`, positions in the test set, and `wanted`, classes, `(images,)`.
    """
    rows, wanted = _drawn(classifier, images, count)
    low, high, total = SERIES
    strengths = torch.logspace(low, high, total, base=2, dtype=torch.float64)[::every]
    found = targeted_class(
        classifier, images.test[rows], torch.from_numpy(wanted), strengths, bounds=images.bounds, seed=0
    )
    names = ("strengths", "distortion", "probability", "logit", "crossing")
    arrays = {name: getattr(found, name).cpu().numpy() for name in names}
    losing = ~found.wins.cpu().numpy()
    first = np.take_along_axis(arrays["distortion"], losing.argmax(1)[:, None], 1)[:, 0]
    arrays["first_losing"] = np.where(losing.any(1), first, np.nan)
    return arrays | {"originals": rows.astype(np.int64), "wanted": wanted}


@torch.no_grad()
def _drawn(classifier: Any, images: Images, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Test images that are classified correctly, and for each another class, by the paper's rule."""
    rng = np.random.default_rng(PAIR_SEED)
    order = rng.permutation(len(images.test))
    device = next(classifier.parameters()).device
    parts = (images.test[rows].to(device) for rows in np.array_split(order, 20))
    said = np.concatenate([classifier(part).argmax(1).cpu().numpy() for part in parts])
    rows = order[said == images.test_labels[order]][:count]
    shift = rng.integers(1, 10, size=len(rows))
    return rows, (images.test_labels[rows] + shift) % 10
