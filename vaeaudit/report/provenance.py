"""Where a report comes from: plain values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one measurement asked of the user's model.

    Attributes:
        model_seconds: time that the model computed, forward and backward, of the measurement's own.
        gradients: rows whose gradient through the model was computed; 0 where none was, and where the gradients
            were not counted.
    """

    model_seconds: float
    gradients: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Provenance:
    """Everything needed to repeat the run.

    Attributes:
        preset: name of the preset.
        seed: seed of pairs, noise and resampling.
        settings: every other setting, as it was used.
        environment: versions, platform, device, dtype, threads.
        weights: SHA-256 of the model's parameters and buffers.
        data: SHA-256 of the audited images.
        source: SHA-256 of a sample of the data they were drawn from, the same for every seed.
        seconds: wall-clock seconds of each measurement.
        work: what each of them asked of the model; for some of the same names.
    """

    preset: str
    seed: int
    settings: dict[str, Any]
    environment: dict[str, str]
    weights: str
    data: str
    seconds: dict[str, float]
    source: str = ""
    work: dict[str, Work] = dataclasses.field(default_factory=dict)
