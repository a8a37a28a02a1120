"""A small nonlinear model, its images, and a short audit of it; importable without pytest."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import spec

PAIRS = [(original, (original + 5) % 12) for original in range(8)]
OPTIONS: dict[str, Any] = {"preset": "quick", "pairs": PAIRS, "strengths": [0.01, 0.1, 1.0, 10.0, 100.0]}
SHORT = dataclasses.replace(spec.PRESETS["quick"], damaged=8, spectra=12)
"""The quick preset with fewer images."""


class Curved(nn.Module):
    """A VAE of 1 x 8 x 8 images on a curved sheet of four dimensions, with a spread that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        sheet, _ = torch.linalg.qr(torch.randn(64, 4, generator=generator))
        self.sheet = nn.Parameter(2.5 * sheet)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        along = (images.flatten(1) - 0.5) @ self.sheet / 6.25
        mean = along + along**3 / 2
        return mean, mean.square() - 5

    def decode(self, latents: Tensor) -> Tensor:
        return (0.5 + latents.tanh() @ self.sheet.T).view(-1, 1, 8, 8)


def images() -> Tensor:
    """Twelve of them, near the sheet, `(12, 1, 8, 8)`."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        seen = Curved().decode(0.6 * torch.randn(12, 4, generator=generator))
    return (seen + 0.02 * torch.randn(seen.shape, generator=generator)).clamp(0, 1)


def audited(**options: Any) -> vaeaudit.AuditReport:
    """The audit, with other options than usual; the quick preset must be `SHORT`."""
    return vaeaudit.audit(Curved().eval(), images(), **{**OPTIONS, **options})
