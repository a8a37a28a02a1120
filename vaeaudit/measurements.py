"""The measurements of an audit, each of whose rows is kept as soon as it is finished."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import attacks
from vaeaudit.attacks.targeted import SOLVER, TargetedAttack, pairs_at_once
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.data import Images
from vaeaudit.errors import ModelError
from vaeaudit.pullbacks import decomposed_at_once, products_an_image, pullback_arrays, stochastic_arrays
from vaeaudit.reconstruction import target_distances
from vaeaudit.spec import Spec
from vaeaudit.statistics import SMALLEST_SAMPLE

Progress = Callable[[str, int, int], None]
"""Called with the name of a measurement, how much of it is finished, and how much there is."""

PICTURED = 6
IMAGES_AT_ONCE = 25
BUDGETS = (0.01, 0.02, 0.05)
"""Root-mean-square distortion of the untargeted attack's budgets, as shares of the input range."""
LOCAL_BUDGETS = (0.0005, 0.001, 0.002, 0.005, *BUDGETS, 0.1)
"""The same for the steps along eigenvectors: from where any model is linear to beyond where one is."""
OCTAVES_LOWER = 5
STRENGTHS_LOWER = 5
_ROWS_A_UNIT = 3
_METRICS_PRODUCTS = 3
"""Products of the steps of both metrics, in those of an encoder's; a round trip takes twice as many."""
_FEWEST = 2
_ROUNDINGS = 64
"""A displacement stands clear of rounding above so many units in the last place of what is displaced."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measures one model on one set of images.

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
    penalty: attacks.Penalty
    precision: Precision | None
    seed: int
    checkpoint: Checkpoint
    progress: Progress
    crew: tuple[Measurements, ...] = ()

    def activity(self) -> Arrays:
        """Variance of each unit's posterior mean over the data, and its standard error, `(units,)`.

        Raises:
            ModelError: the encoder returns NaN or infinite values for one of the images.
        """
        posterior = self.ae.posteriors(self.images)
        self._check_finite("encoder", posterior.mean, posterior.std, rows=self.data.index)
        means = posterior.mean.flatten(1).double()
        centred = means - means.mean(0)
        variance = centred.square().sum(0) / max(len(means) - 1, 1)
        fourth = centred.pow(4).mean(0)
        error = ((fourth - variance.square()).clamp_min(0) / len(means)).sqrt()
        return {"variance": _plain(variance), "error": _plain(error)}

    def tradeoff(self, strengths: Tensor, pairs: int, *, further: bool = False) -> Arrays:
        """Attack the first pairs at every strength, and measure what the reconstructions became.

        Args:
            strengths: the series of C.
            pairs: how many.
            further: whether these come on top of the series, for curves that it does not resolve.
        """
        spec = self.spec
        settings = {
            "strengths": strengths.tolist(), "divergence": self.divergence, "penalty": self.penalty,
            "restarts": spec.restarts, "evaluations": spec.evaluations, "samples": spec.samples,
            "precision": self.precision,
        }  # fmt: skip
        return self._kept(
            "tradeoff", "further strengths" if further else "targeted attack", self._pair_keys(pairs),
            partial(self._tradeoff, strengths=strengths), pairs_at_once(self.images, len(strengths)), settings,
            *(one._as_crew(partial(one._tradeoff, strengths=strengths)) for one in self.crew),
        )  # fmt: skip

    def _as_crew(self, measure: Callable[[Rows], Arrays]) -> Callable[[Rows], Arrays]:
        """A measurement with this device's model at rest, in whichever thread it is called."""

        def measured(chunk: Rows) -> Arrays:
            place = self.images.device
            current = torch.cuda.device(place) if place.type == "cuda" else contextlib.nullcontext()
            with current, self.ae.at_rest(self.seed):
                return measure(chunk)

        return measured

    def _pair_keys(self, pairs: int) -> list[str]:
        """What each pair's row is kept under; the first few are kept with their pictures."""
        names = [":".join(self.data.fingerprint_of(int(row)) for row in pair) for pair in self.pairs[:pairs]]
        return [f"{name}:pictured" if i < PICTURED else name for i, name in enumerate(names)]

    def _tradeoff(self, chunk: Rows, strengths: Tensor) -> Arrays:
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
            precision=self.precision,
            solver=replace(SOLVER, max_evaluations=self.spec.evaluations),
        )
        distances = target_distances(
            self.ae, originals, targets, attack.adversarial, samples=self.spec.samples, keys=self._noise_keys(chunk)
        )
        self._check_finite("decoder", distances.original, distances.target, rows=self.data.index[self.pairs[chunk, 0]])
        own = self._reconstruction_error(originals)
        return {
            "distortion": _plain(attack.relative_distortion), "divergence": _plain(attack.divergence),
            "objective": _plain(attack.objective), "converged": attack.converged.cpu().numpy(),
            "disagreement": _plain(attack.disagreement),
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

    def _pictures(self, chunk: Rows, attack: TargetedAttack) -> Arrays:
        """Adversarials of the first few pairs and their reconstructions; no other pictures are kept."""
        few = attack.adversarial[: int((chunk < PICTURED).sum())]
        if not len(few):
            empty = np.zeros((0, *few.shape[1:]), dtype=np.float32)
            return {"adversarial": empty, "adversarial_reconstruction": empty}
        decoded = self.ae.reconstructions(few.flatten(0, 1)).reshape(few.shape)
        return {"adversarial": few.float().cpu().numpy(), "adversarial_reconstruction": decoded.float().cpu().numpy()}

    def pair_pictures(self) -> Arrays:
        """Originals, targets and their reconstructions for the first few pairs."""
        originals, targets = self._pair_images(np.arange(min(PICTURED, len(self.pairs))))
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
        rows = self.originals_first(self.spec.grown(self.first).damaged, self.spec.grown(len(self.pairs)).damaged)
        attack = partial(self._damage, rows=rows, radii=radii)
        settings = {"radii": radii, "steps": self.spec.damage_steps, "restarts": self.spec.damage_restarts}
        arrays = self._kept("damage", "untargeted attack", self._image_keys(rows), attack, IMAGES_AT_ONCE, settings)
        return {**arrays, "images": self.data.index[rows]}

    def _image_keys(self, rows: Rows) -> list[str]:
        return [self.data.fingerprint_of(int(row)) for row in rows]

    def _damage(self, chunk: Rows, rows: Rows, radii: list[float]) -> Arrays:
        images = self.images[rows[chunk]]
        attack = attacks.maximum_damage(
            self.ae, images, radii, steps=self.spec.damage_steps, restarts=self.spec.damage_restarts,
            seed=self.seed,
        )  # fmt: skip
        return {"displacement": _plain(attack.displacement), "converged": attack.converged.cpu().numpy()}

    def spectra(self, active: NDArray[np.bool_]) -> Arrays:
        """Eigenvalues, condition numbers and scores of encoder, decoder and round trip at each image.

        From decomposed Jacobians where they can be held and the preset affords them; otherwise from products
        with them, and the scores are stochastic estimates (`pullbacks.stochastic_arrays`).

        Raises:
            ModelError: either way is too much for the preset.
        """
        units, spec = len(active), self.spec
        exact = self._decomposed(units)
        cost = _ROWS_A_UNIT * units if exact else products_an_image(spec.probes, spec.probe_steps)
        counts = [
            _afforded(spec.grown(pairs), spec.grown(pairs).spectra, cost, units)
            for pairs in (self.first, len(self.pairs))
        ]
        rows = self.originals_first(*counts)
        settings: dict[str, object] = {"active": np.flatnonzero(active).tolist()}
        if not exact:
            settings |= {"probes": spec.probes, "probe_steps": spec.probe_steps}
        arrays = self._kept(
            "spectra", "pullback spectra", self._image_keys(rows),
            partial(self._spectra if exact else self._spectra_by_products, rows=rows, active=active),
            min(IMAGES_AT_ONCE, decomposed_at_once(self.ae, self.images)) if exact else 1, settings,
        )  # fmt: skip
        return {**arrays, "images": self.data.index[rows]}

    def _decomposed(self, units: int) -> bool:
        """Whether Jacobians are decomposed: they can be, and are affordable or cheaper than products.

        The pairs that were planned first decide, so that an extension goes on in the same way.
        """
        spec, rows = self.spec.grown(self.first), _ROWS_A_UNIT * units
        cheaper = rows <= products_an_image(spec.probes, spec.probe_steps)
        affordable = spec.jacobian_rows >= SMALLEST_SAMPLE * rows
        return (cheaper or affordable) and decomposed_at_once(self.ae, self.images) > 0

    def _spectra(self, chunk: Rows, rows: Rows, active: NDArray[np.bool_]) -> Arrays:
        return pullback_arrays(self.ae, self.images[rows[chunk]], active)

    def _spectra_by_products(self, chunk: Rows, rows: Rows, active: NDArray[np.bool_]) -> Arrays:
        """At a single image, with random vectors of its own."""
        (row,) = rows[chunk]
        image = int(self.data.fingerprint_of(int(row))[:16], 16)
        seed = np.random.SeedSequence([self.seed, image]).generate_state(1, np.uint64)
        return stochastic_arrays(
            self.ae, self.images[row : row + 1], active,
            probes=self.spec.probes, steps=self.spec.probe_steps, seed=int(seed[0] >> np.uint64(1)),
        )  # fmt: skip

    def local(self, radii: list[float], compared: list[float]) -> Arrays:
        """Steps along leading eigenvectors at the pairs' originals, and how far they lead to the targets.

        Args:
            radii: L2 budgets of the steps.
            compared: those of them at which the way to the target is measured.

        Raises:
            ModelError: the leading eigenvectors are too many for the preset.
        """
        grown = self.spec.grown(len(self.pairs))
        units = self.ae.posteriors(self.images[:1]).mean.numel()
        products = _METRICS_PRODUCTS * attacks.spectral_products(len(radii))
        cost = min(_ROWS_A_UNIT * units, products) if self._decomposed(units) else products
        count = _afforded(grown, min(len(self.pairs), grown.damaged), cost, units)
        return self._kept(
            "local", "steps along eigenvectors", [key.removesuffix(":pictured") for key in self._pair_keys(count)],
            partial(self._local, radii=radii, compared=compared), IMAGES_AT_ONCE,
            {"radii": radii, "compared": compared, "samples": self.spec.samples},
        )  # fmt: skip

    def _local(self, chunk: Rows, radii: list[float], compared: list[float]) -> Arrays:
        originals, targets = self._pair_images(chunk)
        latent, displaced = (
            attacks.spectral(self.ae, originals, radii, metric) for metric in ("wasserstein", "round_trip_mean")
        )
        clean = self.ae.posteriors(originals).mean, self.ae.reconstructions(originals)
        arrays = {"span": _plain((originals - targets).flatten(1).double().norm(dim=1))}
        for part, step, outputs in zip(("latent", "reconstruction"), (latent, displaced), clean, strict=True):
            rounding = _ROUNDINGS * torch.finfo(self.ae.dtype).eps * outputs.flatten(1).double().norm(dim=1)
            clear = step.predicted > rounding[:, None]
            arrays[f"{part}.eigenvalue"] = _plain(step.eigenvalue)
            arrays[f"{part}.predicted"] = _plain(torch.where(clear, step.predicted, torch.nan))
            arrays[f"{part}.realised"] = _plain(torch.where(clear, step.realised, torch.nan))
        columns = [radii.index(radius) for radius in compared]
        return {**arrays, "way": self._way(chunk, latent, columns)}

    def _way(self, chunk: Rows, step: attacks.SpectralAttack, columns: list[int]) -> NDArray[np.float64]:
        """1 - Y of both directions of a step, the better one, `(pairs, compared)`."""
        originals, targets = self._pair_images(chunk)
        both = torch.cat([step.adversarial[:, columns], step.opposite[:, columns]], 1)
        distances = target_distances(
            self.ae, originals, targets, both, samples=self.spec.samples, keys=self._noise_keys(chunk)
        )
        reach = (distances.original - distances.target)[:, None]
        way = (distances.original[:, None] - distances.adversarial) / reach
        return _plain(way.view(len(chunk), 2, len(columns)).amax(1))

    def _noise_keys(self, chunk: Rows) -> list[tuple[int, ...]]:
        """What seeds the posterior noise of each pair."""
        return [(self.seed, *map(int, self.data.index[pair])) for pair in self.pairs[chunk]]

    def originals_first(self, before: int, count: int) -> Rows:
        """Rows of up to `count` images: the pairs' originals, then others in a seeded order.

        The first `before` of them are those of the plan's own pairs, so that an extension adds images
        and lets go of none.
        """
        rest = np.random.default_rng([self.seed, 1]).permutation(len(self.images))
        originals = self.pairs[:, 0]
        base = _once(originals[: self.first], rest)[:before]
        return _once(base, originals, rest)[:count]

    def _pair_images(self, chunk: Rows) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(self.pairs[chunk]).to(self.images.device)
        return self.images[rows[:, 0]], self.images[rows[:, 1]]

    def _kept(
        self, name: str, title: str, rows: Sequence[str], measure: Callable[[Rows], Arrays], size: int,
        settings: Mapping[str, object], *crew: Callable[[Rows], Arrays],
    ) -> Arrays:  # fmt: skip
        """Measure the rows that are not finished yet, a chunk at a time; the crew's devices take chunks too."""
        return self.checkpoint.measured(
            name, rows, measure, *crew, size=size, settings=settings, progress=partial(self.progress, title)
        )


def _afforded(spec: Spec, wanted: int, cost: int, units: int) -> int:
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


def lower_strengths(strengths: Tensor, times: int) -> Tensor:
    """Strengths below a series, for curves that do not saturate within it, and below those of `times` earlier calls."""
    floor = strengths[strengths > 0].min() * 2.0 ** (-OCTAVES_LOWER * times)
    octaves = torch.arange(STRENGTHS_LOWER, dtype=torch.float64, device=strengths.device)
    return floor * 2.0 ** (-OCTAVES_LOWER + octaves * OCTAVES_LOWER / STRENGTHS_LOWER)


def _once(*rows: Rows) -> Rows:
    """Rows one after the other, each at its first place only."""
    joined = np.concatenate(rows)
    _, first = np.unique(joined, return_index=True)
    return joined[np.sort(first)]


def _plain(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
