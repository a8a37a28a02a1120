"""One audit under way: what is measured, what it comes to, and what speaks against it."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import assembly, health
from vaeaudit.checkpoint import Arrays
from vaeaudit.errors import ModelError
from vaeaudit.geometry import scores
from vaeaudit.measurements import BUDGETS, LOCAL_BUDGETS, Measurements, lower_strengths
from vaeaudit.meter import Meter, metered
from vaeaudit.placement import strengths_between
from vaeaudit.probe import Probe
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.model import AuditReport, Curves, Damage, GeometryScores, Provenance, Work
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate, estimate
from vaeaudit.tradeoff import hinge_estimate

_BETWEEN_AT_ONCE = 4
_APART, _OFTEN_APART = 0.1, 0.5
"""The paths' objectives differ clearly above the first, and often above the second, as shares."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Measures the pairs of `measure` and reports.

    Attributes:
        measure: the measurements.
        probed: what the model was seen to do.
        series: of C.
        automatic: whether the series was chosen for the model and may be lowered.
        training: kinds of the model's modules that came in training mode; None if none did.
        provenance: of the report, but for the seconds of its measurements.
    """

    measure: Measurements
    probed: Probe
    series: Tensor
    automatic: bool
    training: tuple[str, ...] | None
    provenance: Provenance

    def report(self) -> AuditReport:
        """Measure, estimate, and say what speaks against it."""
        seconds, work = dict(self.provenance.seconds), dict(self.provenance.work)
        timed = functools.partial(_timed, seconds, work)
        with timed("activity"):
            activity = self.measure.activity()
        with timed("targeted attack"):
            curves, arrays, order = self._curves()
        with timed("pullback spectra"):
            spectra, no_spectrum = self._spectra(activity)
        with timed("untargeted attack"):
            damage, unconverged = self._damage()
        with timed("local prediction"):
            local = self._local(curves, damage)
        findings = self._findings(curves, arrays, spectra) + no_spectrum
        if unconverged > 0.02:
            findings.append(health.finding_damage_not_converged(unconverged))
        subject = self.measure.ae
        gallery = assembly.gallery_of(arrays, self.measure.pair_pictures(), curves, order, subject.bounds)
        report = AuditReport(
            name=subject.name, **self._headline(curves, arrays), damage=damage,
            encoder=spectra.get("encoder"), decoder=spectra.get("decoder"), round_trip=spectra.get("round_trip"),
            local=local, curves=curves, health=tuple(findings), gallery=gallery,
            provenance=dataclasses.replace(self.provenance, seconds=seconds, work=work),
        )  # fmt: skip
        return _distrust(report)

    def _curves(self) -> tuple[Curves, Arrays, NDArray[np.int64]]:
        """Curves of all pairs over the series.

        If the series is ours to choose, it is lowered until the first pairs' curves saturate, and made denser
        where they bend until hinge and AUDDC are resolved.
        """
        measure, first = self.measure, self.measure.first
        series = [self.series]
        parts = [measure.tradeoff(self.series, first)]
        curves, arrays = self._joined(parts, series)

        def extended(strengths: Tensor) -> tuple[Curves, Arrays]:
            series.append(strengths)
            parts.append(measure.tradeoff(strengths, first, further=True))
            return self._joined(parts, series)

        for time_ in range(measure.spec.extensions if self.automatic else 0):
            if not curves.censored.any():
                break
            curves, arrays = extended(lower_strengths(self.series, time_))
        most = len(curves.strengths) + measure.spec.between if self.automatic else 0
        while len(curves.strengths) < most:
            count = min(_BETWEEN_AT_ONCE, most - len(curves.strengths))
            between = strengths_between(curves.strengths, curves.distortion, curves.gap, count)
            if not len(between):
                break
            curves, arrays = extended(torch.from_numpy(between).to(self.series))
        if len(measure.pairs) > first:
            parts = [measure.tradeoff(part, len(measure.pairs), further=i > 0) for i, part in enumerate(series)]
            curves, arrays = self._joined(parts, series)
        return curves, arrays, np.argsort(torch.cat(series).cpu().numpy())

    def _joined(self, parts: list[Arrays], series: list[Tensor]) -> tuple[Curves, Arrays]:
        """Curves over all strengths so far, and what they were made of."""
        measure, arrays = self.measure, functools.reduce(_beside, parts)
        pairs = measure.pairs[: len(arrays["distortion"])]
        originals, targets = measure.images[pairs[:, 0]], measure.images[pairs[:, 1]]
        spans = (originals - targets).flatten(1).double().norm(dim=1).cpu().numpy()
        strengths = torch.cat(series).cpu().numpy()
        arrays = assembly.exchanged(arrays, strengths, spans, measure.penalty)
        return assembly.curves_of(arrays, strengths, spans, measure.data.index[pairs], measure.seed), arrays

    def _headline(self, curves: Curves, arrays: Arrays) -> dict[str, Estimate]:
        kept = np.where(curves.excluded, np.nan, 1.0)
        seed, unit = self.measure.seed, assembly.INPUT_UNITS
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

    def _radii(self, shares: tuple[float, ...]) -> list[float]:
        """L2 budgets from root-mean-square distortions as shares of the input range."""
        pixels, (low, high) = self.measure.images, self.measure.ae.bounds
        span = high - low if math.isfinite(high - low) else float(pixels.max() - pixels.min())
        return [share * span * math.sqrt(pixels[0].numel()) for share in shares]

    def _damage(self) -> tuple[Damage, float]:
        measure, radii = self.measure, self._radii(BUDGETS)
        arrays = measure.damage(radii)
        damage = assembly.damage_of(arrays["displacement"], radii, arrays["images"], measure.seed)
        return damage, float((~arrays["converged"]).mean())

    def _local(self, curves: Curves, damage: Damage) -> LocalPrediction | None:
        """None where the spectra are too large to be computed, which a finding says already."""
        measure, radii = self.measure, self._radii(LOCAL_BUDGETS)
        try:
            arrays = measure.local(radii, self._radii(BUDGETS))
        except ModelError:
            return None
        metric = "mean" if self.probed.deterministic_code else "wasserstein"
        return assembly.local_of(arrays, metric, radii, curves, damage, measure.seed)

    def _spectra(self, activity: Arrays) -> tuple[dict[str, GeometryScores], list[health.Finding]]:
        measure = self.measure
        try:
            arrays = measure.spectra(activity["variance"] > scores.ACTIVE_VARIANCE)
        except ModelError as error:
            return {}, [health.finding_no_spectrum(str(error))]
        metrics = {
            "encoder": "mean" if self.probed.deterministic_code else "wasserstein",
            "decoder": "decoder",
            "round_trip": "round_trip",
        }
        spectra = {
            part: assembly.geometry_of(arrays, part, metric, activity, len(measure.data), measure.seed)
            for part, metric in metrics.items()
        }
        lost = {part: float((~arrays[f"{part}.resolved"]).mean()) for part in metrics}
        findings = [health.finding_condition_unresolved(part, share) for part, share in lost.items() if share > 0]
        if "encoder.half_width" in arrays:
            findings.append(_estimated(arrays, list(metrics)))
        return spectra, findings

    def _findings(self, curves: Curves, arrays: Arrays, spectra: dict[str, GeometryScores]) -> list[health.Finding]:
        probed, pairs = self.probed, len(self.measure.pairs)
        findings = health.findings_of_model(
            training=self.training, without_weights=self.measure.ae.parts_without_weights,
            encoder_noise=probed.encoder_noise, decoder_noise=probed.decoder_noise,
            batch_dependence=probed.batch_dependence, outside_bounds=probed.outside_bounds,
            zero_gradients=probed.zero_gradients,
        )  # fmt: skip
        floors = curves.floor[np.isfinite(curves.floor) & ~curves.excluded]
        findings += health.findings_of_curves(
            pairs=pairs, excluded=int(curves.excluded.sum()), censored=int(curves.censored.sum()),
            non_finite=int((~np.isfinite(curves.gap).all(1) & ~curves.excluded).sum()),
            unconverged=float((~curves.converged).mean()), floor=float(np.median(floors)) if len(floors) else 0.0,
            poor_targets=int((arrays["target_distance"] > 0.5 * arrays["original_distance"]).sum()),
        )  # fmt: skip
        apart = float((curves.disagreement > _APART).mean())
        if apart > _OFTEN_APART:
            findings.append(health.finding_local_minima(apart, _APART))
        if pairs < SMALLEST_SAMPLE:
            findings.append(health.finding_few_samples(pairs, SMALLEST_SAMPLE))
        if spectra and spectra["encoder"].active_units.value < 2:
            findings.append(health.finding_few_active_units(int(spectra["encoder"].active_units.value)))
        return findings


def _estimated(arrays: Arrays, parts: list[str]) -> health.Finding:
    shares, nats = (
        max(float(np.median(arrays[f"{part}.{name}"])) for part in parts) for name in ("half_width", "half_width_log")
    )
    errors = [float((arrays[f"{part}.error"] / arrays[f"{part}.eigenvalues"])[:, 0].max()) for part in parts]
    return health.finding_spectrum_estimated(len(arrays["images"]), max(errors), shares, nats)


@contextmanager
def _timed(seconds: dict[str, float], work: dict[str, Work], name: str) -> Iterator[None]:
    """Note how long a measurement takes, and what it asks of the model."""
    meter, started = Meter(), time.perf_counter()
    with metered(meter):
        yield
    in_model = meter.model_seconds  # waits for the device
    seconds[name] = round(time.perf_counter() - started, 3)
    work[name] = Work(model_seconds=round(in_model, 3), gradients=meter.gradients)


def _beside(a: Arrays, b: Arrays) -> Arrays:
    """Join two sets of arrays along their strengths; what has no strengths is the first's."""
    wide = ("distortion", "divergence", "objective", "converged", "disagreement", "adversarial_distance")
    pictures = ("adversarial", "adversarial_reconstruction")
    joined = {key: np.concatenate([a[key], b[key]], axis=1) for key in (*wide, *pictures)}
    return {**a, **joined, "evaluations": a["evaluations"] + b["evaluations"]}


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
        if isinstance(value, LocalPrediction):
            return value.distrusted(lambda score: any(f.invalidates(score) for f in report.health))
        return value

    return dataclasses.replace(
        report, **{f.name: marked(getattr(report, f.name), f.name) for f in dataclasses.fields(report)}
    )
