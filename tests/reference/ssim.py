"""Multi-scale structural similarity by loops over windows, one image at a time, in float64."""

from __future__ import annotations

import math

import numpy as np

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(a: np.ndarray, b: np.ndarray, *, window: int, levels: int, span: float = 1.0) -> float:
    """Similarity of two images `(channels, height, width)` with pixels from 0 to `span`."""
    weights = [w / sum(WEIGHTS[:levels]) for w in WEIGHTS[:levels]]
    product = 1.0
    for level, weight in enumerate(weights):
        if level:
            a, b = _halved(a), _halved(b)
        both, structure = _means(a, b, window, span)
        product *= max(both if level == levels - 1 else structure, 0.0) ** weight
    return product


def _halved(image: np.ndarray) -> np.ndarray:
    channels, height, width = image.shape
    half = np.empty((channels, height // 2, width // 2))
    for i in range(height // 2):
        for j in range(width // 2):
            half[:, i, j] = image[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
    return half


def _means(a: np.ndarray, b: np.ndarray, window: int, span: float) -> tuple[float, float]:
    """Means over windows of luminance * contrast * structure, and of contrast * structure."""
    centre = (window - 1) / 2
    weights = np.array([
        [math.exp(-((i - centre) ** 2 + (j - centre) ** 2) / (2 * 1.5**2)) for j in range(window)] for i in range(window)
    ])  # fmt: skip
    weights /= weights.sum()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    both, structures = [], []
    for plane_a, plane_b in zip(a, b, strict=True):
        for i in range(a.shape[1] - window + 1):
            for j in range(a.shape[2] - window + 1):
                p, q = plane_a[i : i + window, j : j + window], plane_b[i : i + window, j : j + window]
                mp, mq = (weights * p).sum(), (weights * q).sum()
                vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
                shared = (weights * (p - mp) * (q - mq)).sum()
                structure = (2 * shared + c2) / (vp + vq + c2)
                structures.append(structure)
                both.append(structure * (2 * mp * mq + c1) / (mp**2 + mq**2 + c1))
    return float(np.mean(both)), float(np.mean(structures))
