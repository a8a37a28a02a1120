"""The measurements of an audit, each in chunks that are kept as soon as they are finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import attacks, geometry
from vaeaudit.attacks.targeted import SOLVER, TargetedAttack, pairs_at_once
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.errors import ModelError
from vaeaudit.reconstruction import target_distances
from vaeaudit.spec import Spec
from vaeaudit.statistics import SMALLEST_SAMPLE

Progress = Callable[[str, int, int], None]
"""Called with the name of a measurement, how much of it is finished, and how much there is."""

PICTURED = 6
IMAGES_AT_ONCE = 25
BUDGETS = (0.01, 0.02, 0.05)
"""Root-mean-square distortion of the untargeted attack's budgets, as shares of the input range."""
OCTAVES_LOWER = 5
STRENGTHS_LOWER = 5
_ROWS_A_UNIT = 3


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measures one model on one set of images.

    Attributes:
        ae: the model, at rest.
        images: `(n, *event)`, on the model's device.
        pairs: rows of original and target, `(pairs, 2)`.
        index: position of each image in the user's data, `(n,)`.
        spec: how much to measure.
        divergence: of the targeted attack.
        penalty: of the targeted attack.
        seed: seed of everything random.
        checkpoint: where finished chunks are kept.
        progress: told what is finished.
    """

    ae: Autoencoder
    images: Tensor
    pairs: NDArray[np.int64]
    index: NDArray[np.int64]
    spec: Spec
    divergence: str
    penalty: attacks.Penalty
    seed: int
    checkpoint: Checkpoint
    progress: Progress

    def activity(self) -> Arrays:
        """Variance of each unit's posterior mean over the data, and its standard error, `(units,)`.

        Raises:
            ModelError: the encoder returns NaN or infinite values for one of the images.
        """

        def measure() -> Arrays:
            posterior = self.ae.posteriors(self.images)
            self._check_finite("encoder", posterior.mean, posterior.std, rows=self.index)
            means = posterior.mean.flatten(1).double()
            centred = means - means.mean(0)
            variance = centred.square().sum(0) / max(len(means) - 1, 1)
            fourth = centred.pow(4).mean(0)
            error = ((fourth - variance.square()).clamp_min(0) / len(means)).sqrt()
            return {"variance": _plain(variance), "error": _plain(error)}

        return self.checkpoint.measured("activity", measure)

    def strengths(self, given: attacks.Strengths) -> Tensor:
        """The series of C for all pairs."""
        originals, targets = self._pair_images(slice(None))
        return attacks.strength_series(
            self.ae, originals, targets, given, divergence=self.divergence, penalty=self.penalty
        )

    def tradeoff(self, strengths: Tensor, name: str = "tradeoff") -> Arrays:
        """Attack every pair at every strength, and measure what the reconstructions became."""
        attack = partial(self._tradeoff, strengths=strengths)
        size = pairs_at_once(self.images[0].numel(), len(strengths))
        title = "targeted attack" if name == "tradeoff" else "lower strengths"
        return self._in_chunks(attack, name, title, len(self.pairs), size)

    def lower(self, strengths: Tensor, times: int) -> Tensor:
        """Strengths below a series, for curves that do not saturate within it."""
        floor = strengths[strengths > 0].min() * 2.0 ** (-OCTAVES_LOWER * times)
        octaves = torch.arange(STRENGTHS_LOWER, dtype=torch.float64, device=strengths.device)
        return floor * 2.0 ** (-OCTAVES_LOWER + octaves * OCTAVES_LOWER / STRENGTHS_LOWER)

    def _tradeoff(self, chunk: slice, strengths: Tensor) -> Arrays:
        originals, targets = self._pair_images(chunk)
        attack = attacks.targeted(
            self.ae,
            originals,
            targets,
            strengths,
            self.divergence,
            self.penalty,
            self.seed,
            restarts=self.spec.restarts,
            solver=replace(SOLVER, max_evaluations=self.spec.evaluations),
        )
        keys = [(self.seed, *map(int, self.index[pair])) for pair in self.pairs[chunk]]
        distances = target_distances(
            self.ae, originals, targets, attack.adversarial, samples=self.spec.samples, keys=keys
        )
        self._check_finite("decoder", distances.original, distances.target, rows=self.index[self.pairs[chunk, 0]])
        own = self._reconstruction_error(originals)
        return {
            "distortion": _plain(attack.relative_distortion), "divergence": _plain(attack.divergence),
            "objective": _plain(attack.objective), "converged": attack.converged.cpu().numpy(),
            "evaluations": attack.gradient_evaluations.cpu().numpy(), "adversarial_distance": _plain(distances.adversarial),
            "original_distance": _plain(distances.original), "target_distance": _plain(distances.target),
            "reach_error": _plain(distances.reach_error), "reconstruction_error": own, **self._pictures(chunk, attack),
        }  # fmt: skip

    def _check_finite(self, role: str, *outputs: Tensor, rows: NDArray[np.int64]) -> None:
        """Refuse NaN and infinite outputs, naming the image or the original of the pair."""
        bad = torch.stack([~output.reshape(len(rows), -1).isfinite().all(1) for output in outputs]).any(0)
        if bool(bad.any()):
            first = rows[int(bad.int().argmax())]
            raise ModelError(
                f"the {role} returned NaN or infinite values for image {first} or its target; check the weights"
            )

    def _reconstruction_error(self, inputs: Tensor) -> NDArray[np.float64]:
        own = self.ae.reconstructions(inputs)
        return _plain((own - inputs).flatten(1).double().norm(dim=1))

    def _pictures(self, chunk: slice, attack: TargetedAttack) -> Arrays:
        """Adversarials of the first few pairs and their reconstructions; no other pictures are kept."""
        few = attack.adversarial[: max(0, PICTURED - chunk.start)]
        if not len(few):
            empty = np.zeros((0, *few.shape[1:]), dtype=np.float32)
            return {"adversarial": empty, "adversarial_reconstruction": empty}
        decoded = self.ae.reconstructions(few.flatten(0, 1)).reshape(few.shape)
        return {"adversarial": few.float().cpu().numpy(), "adversarial_reconstruction": decoded.float().cpu().numpy()}

    def pair_pictures(self) -> Arrays:
        """Originals, targets and their reconstructions for the first few pairs."""
        originals, targets = self._pair_images(slice(0, PICTURED))
        return {
            name: values.float().cpu().numpy()
            for name, values in (
                ("originals", originals), ("targets", targets),
                ("original_reconstructions", self.ae.reconstructions(originals)),
                ("target_reconstructions", self.ae.reconstructions(targets)),
            )
        }  # fmt: skip

    def damage(self, radii: list[float]) -> Arrays:
        """Most displacement of the reconstruction at each budget, `(images, budgets)`.

        Args:
            radii: L2 budgets.
        """
        rows = self.originals_first(self.spec.damaged)
        attack = partial(self._damage, rows=rows, radii=radii)
        arrays = self._in_chunks(attack, "damage", "untargeted attack", len(rows), IMAGES_AT_ONCE)
        return {**arrays, "images": self.index[rows]}

    def _damage(self, chunk: slice, rows: NDArray[np.int64], radii: list[float]) -> Arrays:
        images = self.images[rows[chunk]]
        attack = attacks.maximum_damage(
            self.ae, images, radii, steps=self.spec.damage_steps, restarts=self.spec.damage_restarts,
            seed=self.seed,
        )  # fmt: skip
        return {"displacement": _plain(attack.displacement), "converged": attack.converged.cpu().numpy()}

    def spectra(self, active: NDArray[np.bool_]) -> Arrays:
        """Eigenvalues and condition numbers of encoder, decoder and round trip at each image.

        Raises:
            ModelError: the Jacobians are too large to be decomposed exactly, or too many for the preset.
        """
        count = min(self.spec.spectra, self.spec.jacobian_rows // (_ROWS_A_UNIT * len(active)))
        if count < SMALLEST_SAMPLE:
            raise ModelError(
                f"{len(active)} latent units take {_ROWS_A_UNIT * len(active)} rows of Jacobians an image, and this preset "
                f"affords {self.spec.jacobian_rows} for at least {SMALLEST_SAMPLE} images"
            )
        rows = self.originals_first(count)
        measure = partial(self._spectra, rows=rows, active=active)
        arrays = self._in_chunks(measure, "spectra", "pullback spectra", len(rows), IMAGES_AT_ONCE)
        return {**arrays, "images": self.index[rows]}

    def _spectra(self, chunk: slice, rows: NDArray[np.int64], active: NDArray[np.bool_]) -> Arrays:
        images = self.images[rows[chunk]]
        encoder = geometry.encoder_jacobians(self.ae, images)
        means = self.ae.posteriors(images).mean
        decoder = geometry.decoder_jacobian(self.ae, means).double()
        factors = {
            "encoder": geometry.encoder_factor(encoder, "wasserstein"),
            "decoder": decoder,
            "round_trip": geometry.round_trip_factor(encoder, decoder),
        }
        alive = torch.from_numpy(np.flatnonzero(active)).to(images.device)
        on_active = geometry.Jacobians(mean=encoder.mean[:, alive], log_std=None, std=None)
        restricted = {
            "encoder": on_active.mean.double(),
            "decoder": decoder[:, :, alive],
            "round_trip": geometry.round_trip_factor(on_active, decoder[:, :, alive]),
        }
        arrays: Arrays = {}
        for part, factor in factors.items():
            spectrum = geometry.spectrum_of(factor, part, (), precision=self.ae.dtype)
            arrays[f"{part}.eigenvalues"] = _plain(spectrum.eigenvalues)
            arrays[f"{part}.error"] = _plain(spectrum.error)
            if len(alive) >= 2:
                limit = geometry.scores.resolvable_condition(len(alive), self.ae.dtype)
                condition = _plain(geometry.scores.condition_number(restricted[part], len(alive)))
                arrays[f"{part}.condition"] = np.minimum(condition, limit)
                arrays[f"{part}.resolved"] = condition < limit
            else:
                arrays[f"{part}.condition"] = np.full(len(images), np.nan)
                arrays[f"{part}.resolved"] = np.full(len(images), True)
        return arrays

    def originals_first(self, count: int) -> NDArray[np.int64]:
        """Rows of up to `count` images: the pairs' originals, then others in a seeded order."""
        rest = np.random.default_rng([self.seed, 1]).permutation(len(self.images))
        rows = np.concatenate([self.pairs[:, 0], rest])
        _, first = np.unique(rows, return_index=True)
        return rows[np.sort(first)][:count]

    def _pair_images(self, chunk: slice) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(self.pairs[chunk]).to(self.images.device)
        return self.images[rows[:, 0]], self.images[rows[:, 1]]

    def _in_chunks(self, measure: Callable[[slice], Arrays], name: str, title: str, total: int, size: int) -> Arrays:
        """Measure chunk by chunk, keeping each, and join what comes out along the first axis."""
        parts = []
        for start in range(0, total, size):
            self.progress(title, start, total)
            chunk = slice(start, min(start + size, total))
            parts.append(self.checkpoint.measured(f"{name}-{start}", partial(measure, chunk)))
        self.progress(title, total, total)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _plain(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
