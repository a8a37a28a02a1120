"""`audit`: one call that measures a model and returns a report."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import assembly, health
from vaeaudit.adapters import wrap
from vaeaudit.attacks import Penalty, Strengths
from vaeaudit.autoencoder import Autoencoder, checked_device
from vaeaudit.checkpoint import Arrays, Checkpoint
from vaeaudit.data import Images, load_images
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.geometry import scores
from vaeaudit.measurements import BUDGETS, Measurements, Progress
from vaeaudit.pairs import Pairs, draw_pairs, positions_named
from vaeaudit.probe import Probe, probe
from vaeaudit.report.model import AuditReport, Curves, Damage, GeometryScores, Provenance
from vaeaudit.spec import Spec, preset_named
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate, estimate
from vaeaudit.tradeoff import FEWEST_STRENGTHS, hinge_estimate


def audit(
    ae: Any,
    images: Any,
    preset: str = "standard",
    pairs: Pairs = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    *,
    strengths: Strengths = None,
    divergence: str = "kl",
    penalty: Penalty = "l2_squared",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Measure how easily an autoencoder can be fooled.

    Draws original/target pairs, runs the targeted latent attack of Tabacof et al. (2016) over a
    series of C for all pairs, fits the hinge of every trade-off curve, attacks untargeted at fixed
    budgets, computes the pullback spectra of Khan and Storkey (2022), and probes the model's
    health. The model comes back exactly as it went in.

    Args:
        ae: an `Autoencoder`, or a model that `wrap` recognises.
        images: a tensor or array `(n, *event)`, a pair `(images, labels)`, a Dataset or a
            DataLoader; with labels, a pair's two images differ in label.
        preset: "quick", "standard" or "thorough".
        pairs: how many pairs, or their `(original, target)` positions; None takes the preset's
            number, or as many as there are images.
        device: where to measure; None is where the model lives. On another device a copy is measured.
        seed: the same seed on the same machine repeats every figure.
        strengths: series of C, see `vaeaudit.attacks.targeted`; None chooses one for the model, and
            lowers it further for curves that do not saturate.
        divergence: between posteriors, see `vaeaudit.divergences`.
        penalty: on the distortion, "l2_squared" or "l2".
        checkpoint: folder in which finished measurements are kept, so that the same call goes on
            where a killed one stopped; delete it when the report is saved.
        progress: called as `progress(measurement, finished, total)`.

    Returns:
        The report.

    Raises:
        DataError: images, labels or pairs that cannot be audited.
        EncoderOutputError: an encoder or decoder whose output is ambiguous.
        ModelError: a model whose parts do not fit, or that returns non-finite values.
        GradientError: a model through which no gradient flows.
        OptionError: an unknown preset, divergence, penalty or series.
    """
    spec = preset_named(preset)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise OptionError(f"seed expects an integer from 0 to 2**63 - 1, got {seed!r}")
    subject = wrap(ae)
    training = subject.training_modules()
    subject = subject.on(device)
    place = subject.device or checked_device(device or "cpu")
    if place.type in ("mps", "meta"):
        raise ModelError(
            f"figures need float64, which {place.type} does not compute; audit a copy on the CPU: device='cpu'"
        )
    with subject.at_rest(seed):
        data = load_images(
            images, bounds=subject.bounds, dtype=subject.figures_dtype, seed=seed, include=positions_named(pairs),
            limit=max(spec.images, int(pairs)) if isinstance(pairs, (int, np.integer)) else spec.images,
        )  # fmt: skip
        run = _Run(
            subject=subject, data=data, pairs=draw_pairs(data, pairs, default=spec.pairs, seed=seed), preset=preset,
            spec=spec, seed=seed, strengths=strengths, divergence=divergence, penalty=penalty, training=training,
            device=place, checkpoint=checkpoint, progress=progress or _silent, seconds={},
        )  # fmt: skip
        return run.report()


def _silent(measurement: str, finished: int, total: int) -> None:
    """No progress wanted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """One audit under way; fields as the arguments of `audit`."""

    subject: Autoencoder
    data: Images
    pairs: NDArray[np.int64]
    preset: str
    spec: Spec
    seed: int
    strengths: Strengths
    divergence: str
    penalty: Penalty
    training: tuple[str, ...] | None
    device: torch.device
    checkpoint: str | os.PathLike[str] | None
    progress: Progress
    seconds: dict[str, float]

    def report(self) -> AuditReport:
        """Measure, estimate, and say what speaks against it."""
        pixels = self.data.pixels.to(self.device).clamp(*self.subject.bounds)
        with self._timed("probe"):
            probed = probe(self.subject, pixels)
        name, _ = divergence_named(self.divergence, deterministic=probed.deterministic_code)
        settings = self._settings(name)
        provenance = self._provenance(settings)
        measure = self._measurements(pixels, provenance, probed.behaviour)
        with self._timed("activity"):
            activity = measure.activity()
        with self._timed("targeted attack"):
            curves, arrays, order = self._curves(measure, pixels)
        with self._timed("pullback spectra"):
            spectra, no_spectrum = self._spectra(measure, probed, activity)
        with self._timed("untargeted attack"):
            damage, unconverged = self._damage(measure, pixels)
        findings = self._findings(probed, curves, arrays, spectra) + no_spectrum
        if unconverged > 0.02:
            findings.append(health.finding_damage_not_converged(unconverged))
        gallery = assembly.gallery_of(arrays, measure.pair_pictures(), curves, order, self.subject.bounds)
        report = AuditReport(
            name=self.subject.name, **self._headline(curves, arrays), damage=damage,
            encoder=spectra.get("encoder"), decoder=spectra.get("decoder"), round_trip=spectra.get("round_trip"),
            curves=curves, health=tuple(findings), gallery=gallery,
            provenance=dataclasses.replace(provenance, seconds={k: round(v, 3) for k, v in self.seconds.items()}),
        )  # fmt: skip
        return _distrust(report)

    def _measurements(self, pixels: torch.Tensor, provenance: Provenance, behaviour: str) -> Measurements:
        key = {f.name: getattr(provenance, f.name) for f in dataclasses.fields(provenance) if f.name != "seconds"}
        return Measurements(
            ae=self.subject, images=pixels, pairs=self.pairs, index=self.data.index, spec=self.spec,
            divergence=self.divergence, penalty=self.penalty, seed=self.seed,
            checkpoint=Checkpoint(self.checkpoint, {**key, "behaviour": behaviour, "pairs": self.pairs.tolist()}), progress=self.progress,
        )  # fmt: skip

    def _curves(self, measure: Measurements, pixels: torch.Tensor) -> tuple[Curves, Arrays, NDArray[np.int64]]:
        """Curves over the series, lowered for those that do not saturate, if the series is ours to choose."""
        automatic = self.strengths is None
        series = measure.strengths(self.spec.strengths if automatic else self.strengths)
        if len(series) < FEWEST_STRENGTHS:
            raise OptionError(
                f"strengths expects at least {FEWEST_STRENGTHS} different values of C for a curve, got {len(series)}"
            )
        arrays = measure.tradeoff(series)
        rows = torch.from_numpy(self.pairs).to(pixels.device)
        spans = (pixels[rows[:, 0]] - pixels[rows[:, 1]]).flatten(1).double().norm(dim=1).cpu().numpy()
        given = self.data.index[self.pairs]
        curves = assembly.curves_of(arrays, series.cpu().numpy(), spans, given, self.seed)
        first = series
        for time_ in range(self.spec.extensions if automatic else 0):
            if not curves.censored.any():
                break
            more = measure.lower(first, time_)
            arrays = _beside(arrays, measure.tradeoff(more, f"tradeoff-lower{time_ + 1}"))
            series = torch.cat([series, more])
            curves = assembly.curves_of(arrays, series.cpu().numpy(), spans, given, self.seed)
        return curves, arrays, np.argsort(series.cpu().numpy())

    def _headline(self, curves: Curves, arrays: Arrays) -> dict[str, Estimate]:
        kept = np.where(curves.excluded, np.nan, 1.0)
        seed, unit = self.seed, assembly.INPUT_UNITS
        _, first = np.unique(curves.originals, return_index=True)
        return {
            "hinge": hinge_estimate(curves.hinge, curves.censored, seed=seed),
            "auddc": estimate(curves.auddc, statistic="mean", unit="area", higher_is_better=True, seed=seed),
            "linearity": estimate(curves.linearity * kept, unit="R2", seed=seed),
            "floor": estimate(curves.floor * kept, unit="gap", seed=seed),
            "reach": estimate(curves.reach, statistic="mean", unit=unit, seed=seed),
            "reconstruction_error": estimate(
                arrays["reconstruction_error"][first], statistic="mean", unit=unit, seed=seed
            ),
        }

    def _damage(self, measure: Measurements, pixels: torch.Tensor) -> tuple[Damage, float]:
        low, high = self.subject.bounds
        span = high - low if math.isfinite(high - low) else float(pixels.max() - pixels.min())
        radii = [share * span * math.sqrt(pixels[0].numel()) for share in BUDGETS]
        arrays = measure.damage(radii)
        damage = assembly.damage_of(arrays["displacement"], radii, arrays["images"], self.seed)
        return damage, float((~arrays["converged"]).mean())

    def _spectra(
        self, measure: Measurements, probed: Probe, activity: Arrays
    ) -> tuple[dict[str, GeometryScores], list[health.Finding]]:
        try:
            arrays = measure.spectra(activity["variance"] > scores.ACTIVE_VARIANCE)
        except ModelError as error:
            return {}, [health.finding_no_spectrum(str(error))]
        active = assembly.active_units_of(activity, len(self.data))
        metrics = {
            "encoder": "mean" if probed.deterministic_code else "wasserstein",
            "decoder": "decoder",
            "round_trip": "round_trip",
        }
        spectra = {
            part: assembly.geometry_of(arrays, part, metric, active, self.seed) for part, metric in metrics.items()
        }
        lost = {part: float((~arrays[f"{part}.resolved"]).mean()) for part in metrics}
        return spectra, [health.finding_condition_unresolved(part, share) for part, share in lost.items() if share > 0]

    def _findings(
        self, probed: Probe, curves: Curves, arrays: Arrays, spectra: dict[str, GeometryScores]
    ) -> list[health.Finding]:
        found = self.subject.found
        findings = health.findings_of_model(
            training=self.training, weights_found=bool(found.modules or found.tensors),
            encoder_noise=probed.encoder_noise, decoder_noise=probed.decoder_noise,
            batch_dependence=probed.batch_dependence, outside_bounds=probed.outside_bounds,
            zero_gradients=probed.zero_gradients,
        )  # fmt: skip
        floors = curves.floor[np.isfinite(curves.floor) & ~curves.excluded]
        findings += health.findings_of_curves(
            pairs=len(self.pairs), excluded=int(curves.excluded.sum()), censored=int(curves.censored.sum()),
            non_finite=int((~np.isfinite(curves.gap).all(1) & ~curves.excluded).sum()),
            unconverged=float((~curves.converged).mean()), floor=float(np.median(floors)) if len(floors) else 0.0,
            poor_targets=int((arrays["target_distance"] > 0.5 * arrays["original_distance"]).sum()),
        )  # fmt: skip
        if len(self.pairs) < SMALLEST_SAMPLE:
            findings.append(health.finding_few_samples(len(self.pairs), SMALLEST_SAMPLE))
        if spectra and spectra["encoder"].active_units.value < 2:
            findings.append(health.finding_few_active_units(int(spectra["encoder"].active_units.value)))
        return findings

    def _settings(self, divergence: str) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self.spec), "pairs": len(self.pairs), "strengths_given": _plain_setting(self.strengths),
            "divergence": divergence, "penalty": self.penalty, "bounds": list(self.subject.bounds), "scale": self.subject.scale,
            "labels": self.data.labels is not None, "images": len(self.data),
        }  # fmt: skip

    def _provenance(self, settings: dict[str, Any]) -> Provenance:
        return Provenance(
            preset=self.preset, seed=self.seed, settings=settings, environment=_environment(self.subject, self.device),
            weights=self.subject.fingerprint(), data=self.data.fingerprint(), seconds={},
        )  # fmt: skip

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started


def _plain_setting(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, str)) else np.asarray(value).tolist()


def _beside(a: Arrays, b: Arrays) -> Arrays:
    """Join two sets of arrays along their strengths; what has no strengths is the first's."""
    wide = ("distortion", "divergence", "objective", "converged", "adversarial_distance")
    pictures = ("adversarial", "adversarial_reconstruction")
    joined = {key: np.concatenate([a[key], b[key]], axis=1) for key in (*wide, *pictures)}
    return {**a, **joined, "evaluations": a["evaluations"] + b["evaluations"]}


def _environment(subject: Autoencoder, device: torch.device) -> dict[str, str]:
    cuda = device.type == "cuda"
    return {
        "vaeaudit": version("vaeaudit"), "torch": torch.__version__, "numpy": np.__version__,
        "scipy": version("scipy"), "python": platform.python_version(), "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if cuda else platform.machine(), "device_type": device.type,
        "dtype": str(subject.dtype).removeprefix("torch."), "threads": str(torch.get_num_threads()),
    }  # fmt: skip


def version(package: str) -> str:
    """Installed version of a package, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _distrust(report: AuditReport) -> AuditReport:
    """Mark every estimate that an invalid finding affects."""

    def marked(value: Any, name: str) -> Any:
        if isinstance(value, Estimate):
            return value.distrusted() if any(f.invalidates(name) for f in report.health) else value
        if isinstance(value, GeometryScores):
            parts = {f.name: marked(getattr(value, f.name), f"{name}.{f.name}") for f in dataclasses.fields(value)}
            return GeometryScores(**parts)
        if isinstance(value, Damage) and any(f.invalidates("damage") for f in report.health):
            estimates = tuple(e.distrusted() for e in value.estimates)
            return dataclasses.replace(value, estimates=estimates, gains=tuple(e.distrusted() for e in value.gains))
        return value

    return dataclasses.replace(
        report, **{f.name: marked(getattr(report, f.name), f.name) for f in dataclasses.fields(report)}
    )
