"""What is trained and at what size everything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["elbo", "mixup"]
DATASETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
"""What each is called on the page."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is made.

    Attributes:
        dataset: "mnist" or "fashion".
        method: "elbo", or "mixup" for the same with mixup's further terms.
        beta: weight of the KL.
        seed: of weights, order and noise.
        images: training images.
        epochs: over them.
    """

    dataset: str
    method: Method
    beta: float
    seed: int
    images: int
    epochs: int

    @property
    def label(self) -> str:
        """The objective in words."""
        if self.method == "mixup":
            return "mixup-VAE"
        return "VAE" if self.beta == 1 else f"beta-VAE (beta {self.beta:g})"

    @property
    def name(self) -> str:
        """Of its files; everything that makes it what it is."""
        size = f"{self.images}images-{self.epochs}epochs"
        return f"{self.dataset}-{self.method}-beta{self.beta:.4g}-seed{self.seed}-{size}"


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """At what size a model is measured.

    Attributes:
        preset: of the audit: hinge, damage, spectra.
        pairs: of the audit; None is the preset's number.
        images: test images under the attacks that are held against each other; 0 leaves them out.
        radii: their L2 budgets, input units.
        steps: gradient evaluations for each start of those attacks that search.
        directions: eigen-directions that are tried.
        spectra: test images whose spectra follow the released conventions.
    """

    preset: str
    pairs: int | None = None
    images: int = 0
    radii: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    steps: int = 25
    directions: int = 5
    spectra: int = 0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One size of the whole reproduction: a series over beta, and mixup beside a few betas.

    Attributes:
        name: "reduced", "full", "smoke", or "scores": the series of `docs/scores.md`.
        series: models of the series, all of one size and objective.
        trial: models of the trial of mixup, each objective with every seed.
        of_series: how the series is measured.
        of_trial: how the trial is measured.
    """

    name: str
    series: tuple[Recipe, ...]
    trial: tuple[Recipe, ...]
    of_series: Measuring
    of_trial: Measuring


def _series(datasets: Iterable[str], betas: int, images: int, epochs: int) -> tuple[Recipe, ...]:
    """Betas from 0.01 to 10, evenly spaced in their logarithm."""
    return tuple(
        Recipe(dataset=dataset, method="elbo", beta=float(beta), seed=0, images=images, epochs=epochs)
        for dataset in datasets
        for beta in np.logspace(-2, 1, betas)
    )


def _trial(
    datasets: Iterable[str], seeds: int, images: int, epochs: int, betas: Sequence[float] = (1, 2, 4)
) -> tuple[Recipe, ...]:
    """Some betas, and mixup at beta 1."""
    ways: list[tuple[Method, float]] = [*(("elbo", beta) for beta in betas), ("mixup", 1)]
    return tuple(
        Recipe(dataset=dataset, method=method, beta=beta, seed=seed, images=images, epochs=epochs)
        for dataset in datasets
        for seed in range(seeds)
        for method, beta in ways
    )


_ALL = (
    Setting(
        name="reduced", series=_series(DATASETS, 7, 20000, 8), trial=_trial(["mnist"], 3, 10000, 10),
        of_series=Measuring(preset="quick", images=24, radii=(0.25, 1.0, 4.0), spectra=128),
        of_trial=Measuring(preset="quick"),
    ),
    Setting(
        name="scores", series=_series(DATASETS, 10, 60000, 10), trial=_trial(["mnist"], 5, 10000, 30),
        of_series=Measuring(preset="standard", images=48, spectra=256), of_trial=Measuring(preset="quick"),
    ),
    Setting(
        name="full", series=_series(DATASETS, 50, 60000, 100), trial=_trial(DATASETS, 5, 60000, 50),
        of_series=Measuring(preset="standard", images=256, steps=100, spectra=3072),
        of_trial=Measuring(preset="standard"),
    ),
    Setting(
        name="smoke", series=_series(["mnist"], 2, 200, 30), trial=_trial(["mnist"], 2, 200, 10, [1]),
        of_series=Measuring(preset="quick", pairs=3, images=4, radii=(0.5, 2.0), steps=4, directions=2, spectra=8),
        of_trial=Measuring(preset="quick", pairs=3),
    ),
)  # fmt: skip
SETTINGS = {setting.name: setting for setting in _ALL}
