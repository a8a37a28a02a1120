"""What every measurement works on: the model, its images and pairs, and the rows that are kept."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.attacks import Penalty
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.data import Images
from vaeaudit.errors import ModelError
from vaeaudit.spec import Spec

Progress = Callable[[str, int, int], None]
"""Called with the name of a measurement, how much of it is finished, and how much there is."""
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

_PICTURED, _FEWEST_PICTURED, _PICTURE_VALUES = 24, 6, 2**12
"""Pairs and images that are kept with pictures, those of large images, and the values an image of the first may have."""
IMAGES_AT_ONCE = 25
BUDGETS = (0.01, 0.02, 0.05)
"""Root-mean-square distortion of the untargeted attack's budgets, as shares of the input range."""
INPUT_UNITS = "L2 of input"
_FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A model, the images and pairs it is measured on, and the keeping of rows as soon as they are measured.

    Attributes:
        ae: the model, at rest.
        data: the images.
        images: their pixels inside the bounds, `(n, *event)`, on the model's device.
        pairs: rows of original and target, `(pairs, 2)`.
        first: how many pairs come before any extension; they settle at which other images is measured.
        spec: how much to measure.
        divergence: of the targeted attack.
        penalty: of the targeted attack.
        precision: of its rough phase; None is full.
        seed: seed of everything random.
        checkpoint: where finished rows are kept.
        progress: told what is finished.
        crew: the same measurements on other devices; they share the targeted attack's pairs.
    """

    ae: Autoencoder
    data: Images
    images: Tensor
    pairs: Rows
    first: int
    spec: Spec
    divergence: str
    penalty: Penalty
    precision: Precision | None
    seed: int
    checkpoint: Checkpoint
    progress: Progress
    crew: tuple[Bench, ...] = ()

    @property
    def pictured(self) -> int:
        """How many of the first pairs, and of the first images under the untargeted attack, are kept with pictures."""
        values = self.images[0].numel()
        return max(_FEWEST_PICTURED, min(_PICTURED, _PICTURED * _PICTURE_VALUES // values))

    def as_crew(self, measure: Callable[[Rows], Arrays]) -> Callable[[Rows], Arrays]:
        """A measurement with this device's model at rest, in whichever thread it is called."""

        def measured(chunk: Rows) -> Arrays:
            place = self.images.device
            current = torch.cuda.device(place) if place.type == "cuda" else contextlib.nullcontext()
            with current, self.ae.at_rest(self.seed):
                return measure(chunk)

        return measured

    def pair_keys(self, pairs: int, *, pictured: bool = False) -> list[str]:
        """What each pair's row is kept under; with pictures, the first few are."""
        names = [":".join(self.data.fingerprint_of(int(row)) for row in pair) for pair in self.pairs[:pairs]]
        return self._marked(names) if pictured else names

    def image_keys(self, rows: Rows, *, pictured: bool = False) -> list[str]:
        """What each image's row is kept under; with pictures, the first few are."""
        names = [self.data.fingerprint_of(int(row)) for row in rows]
        return self._marked(names) if pictured else names

    def _marked(self, names: list[str]) -> list[str]:
        return [f"{name}:pictured" if i < self.pictured else name for i, name in enumerate(names)]

    def noise_keys(self, chunk: Rows) -> list[tuple[int, ...]]:
        """What seeds the posterior noise of each pair."""
        return [(self.seed, *map(int, self.data.index[pair])) for pair in self.pairs[chunk]]

    def originals_first(self, before: int, count: int) -> Rows:
        """Rows of up to `count` images: the pairs' originals, then others in a seeded order.

        The first `before` of them are those of the plan's own pairs, so that an extension adds images
        and lets go of none.
        """
        rest = np.random.default_rng([self.seed, 1]).permutation(len(self.images))
        originals = self.pairs[:, 0]
        base = once(originals[: self.first], rest)[:before]
        return once(base, originals, rest)[:count]

    def originals_as(self, wanted: Callable[[Spec], int]) -> Rows:
        """As `originals_first`, for as many images as the preset wants, grown with the pairs."""
        before, count = (wanted(self.spec.grown(pairs)) for pairs in (self.first, len(self.pairs)))
        return self.originals_first(before, count)

    def spans(self, pairs: int) -> Floats:
        """L2(x - t) of the first pairs, `(pairs,)`."""
        originals, targets = self.pair_images(np.arange(pairs))
        return plain((originals - targets).flatten(1).double().norm(dim=1))

    def pair_images(self, chunk: Rows) -> tuple[Tensor, Tensor]:
        """Originals and targets of pairs, `(pairs, *event)` each."""
        rows = torch.from_numpy(self.pairs[chunk]).to(self.images.device)
        return self.images[rows[:, 0]], self.images[rows[:, 1]]

    def check_finite(self, role: str, *outputs: Tensor, rows: NDArray[np.int64]) -> None:
        """Refuse NaN and infinite outputs, naming the image or the original of the pair."""
        bad = torch.stack([~output.reshape(len(rows), -1).isfinite().all(1) for output in outputs]).any(0)
        if bool(bad.any()):
            first = rows[int(bad.int().argmax())]
            raise ModelError(
                f"the {role} returned NaN or infinite values for image {first} or its target; check the weights"
            )

    def reconstruction_error(self, inputs: Tensor) -> Floats:
        """L2(r(x) - x), `(batch,)`."""
        own = self.ae.reconstructions(inputs)
        return plain((own - inputs).flatten(1).double().norm(dim=1))

    def kept(
        self, name: str, title: str, rows: Sequence[str], measure: Callable[[Rows], Arrays], size: int,
        settings: Mapping[str, object], *crew: Callable[[Rows], Arrays],
    ) -> Arrays:  # fmt: skip
        """Measure the rows that are not finished yet, a chunk at a time; the crew's devices take chunks too."""
        return self.checkpoint.measured(
            name, rows, measure, *crew, size=size, settings=settings, progress=partial(self.progress, title)
        )

    def radii(self, shares: tuple[float, ...]) -> list[float]:
        """L2 budgets from root-mean-square distortions as shares of the input range."""
        return [share * self._span() * math.sqrt(self.images[0].numel()) for share in shares]

    def filled(self) -> float:
        """Share of the input range that the images take up, in [0, 1]; 1 where a bound is infinite."""
        span = self._span()
        return self._images_span() / span if span else 1.0

    def _span(self) -> float:
        """Width of the bounds, or of the images' values where a bound is infinite."""
        low, high = self.ae.bounds
        return high - low if math.isfinite(high - low) else self._images_span()

    def _images_span(self) -> float:
        return float(self.images.max() - self.images.min())


def afforded(spec: Spec, wanted: int, cost: int, units: int) -> int:
    """Images at which a preset affords so many rows of Jacobians, or products, each.

    Raises:
        ModelError: fewer than two.
    """
    count = min(wanted, spec.jacobian_rows // cost)
    if count < min(wanted, _FEWEST):
        raise ModelError(
            f"{units} latent units take {cost} rows of Jacobians or products with them an image, and this preset "
            f"affords {spec.jacobian_rows} for at least {_FEWEST} images"
        )
    return count


def once(*rows: Rows) -> Rows:
    """Rows one after the other, each at its first place only."""
    joined = np.concatenate(rows)
    _, first = np.unique(joined, return_index=True)
    return joined[np.sort(first)]


def plain(tensor: Tensor) -> Floats:
    """A tensor as a float64 array."""
    return tensor.detach().double().cpu().numpy()
