"""Held-out images to audit the model on."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from vaeaudit import zoo


def test_images() -> tuple[Tensor, np.ndarray]:
    """300 images of MNIST's test set in [0, 1], 30 a digit, and their labels.

    They ship with vaeaudit, so CI downloads nothing. With labels, an attack always aims at another digit.
    """
    return zoo.images("mnist-vae")
