"""One audit under way: what is measured, what it comes to, and what speaks against it."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor

from vaeaudit import extensions, health
from vaeaudit.measurements.activity import activity
from vaeaudit.measurements.bench import Bench
from vaeaudit.measurements.certificates import certificates
from vaeaudit.measurements.curves import findings_of, headline_of, resolved_curves
from vaeaudit.measurements.damage import damage
from vaeaudit.measurements.gallery import gallery_of
from vaeaudit.measurements.local import local_prediction
from vaeaudit.measurements.plugin_checks import plugin_findings
from vaeaudit.measurements.plugin_scores import plugin_scores, spoiled_too
from vaeaudit.measurements.second_look import second_look
from vaeaudit.measurements.spectra import spectra
from vaeaudit.measurements.worst_case import worst_case
from vaeaudit.meter import Meter, metered
from vaeaudit.probe import Probe, answers, drift_since
from vaeaudit.report.certificates import Certified
from vaeaudit.report.damage import Damage
from vaeaudit.report.extension import ExtensionScore
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.model import AuditReport
from vaeaudit.report.provenance import Provenance, Work
from vaeaudit.report.worst_case import WorstCase
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Measures the pairs on the bench and reports.

    Attributes:
        bench: what is measured.
        probed: what the model was seen to do.
        series: of C.
        automatic: whether the series was chosen for the model and may be lowered.
        training: kinds of the model's modules that came in training mode; None if none did.
        provenance: of the report, but for the seconds of its measurements.
        suppress: names of findings that are told and set aside.
    """

    bench: Bench
    probed: Probe
    series: Tensor
    automatic: bool
    training: tuple[str, ...] | None
    provenance: Provenance
    suppress: tuple[str, ...] = ()

    def report(self) -> AuditReport:
        """Measure, estimate, and say what speaks against it."""
        bench, deterministic = self.bench, self.probed.deterministic_code
        seconds, work = dict(self.provenance.seconds), dict(self.provenance.work)
        timed = functools.partial(_timed, seconds, work)
        asked = bench.images[: bench.spec.probed]
        before = answers(bench.ae, asked)
        with timed("activity"):
            active = activity(bench)
        with timed("targeted attack"):
            tradeoff = resolved_curves(bench, self.series, self.automatic)
        with timed("pullback spectra"):
            rooms, of_spectra = spectra(bench, active, deterministic)
        with timed("untargeted attack"):
            damaged, of_damage = damage(bench, active)
        with timed("local prediction"):
            local = local_prediction(bench, tradeoff.curves, damaged, deterministic)
        with timed("second look"):
            of_attacks = second_look(bench, tradeoff.curves, damaged)
        with timed("all attacks"):
            worst, of_family = worst_case(bench, tradeoff.curves, damaged, deterministic)
        with timed("certificates"):
            certified, of_certificates = certificates(bench, tradeoff.curves, damaged)
        drift = max(self.probed.drift, drift_since(before, bench.ae, asked))
        findings = [
            *self._of_model(drift), *findings_of(tradeoff), *of_spectra, *of_damage, *of_attacks, *of_family,
            *of_certificates,
        ]  # fmt: skip
        extra, of_plugins = self._of_plugins(timed)
        findings = [*spoiled_too(findings, extra), *of_plugins]
        report = AuditReport(
            name=bench.ae.name, **headline_of(tradeoff.curves), damage=damaged,
            encoder=rooms.get("encoder"), decoder=rooms.get("decoder"), round_trip=rooms.get("round_trip"),
            local=local, worst_case=worst, certificates=certified, extensions=extra, curves=tradeoff.curves,
            health=health.described(_each_once(findings), self.suppress),
            gallery=gallery_of(bench, tradeoff, deterministic),
            provenance=dataclasses.replace(self.provenance, seconds=seconds, work=work),
        )  # fmt: skip
        seen = health.described(plugin_findings(report), self.suppress)
        return _distrust(dataclasses.replace(report, health=(*report.health, *seen)))

    def _of_plugins(
        self, timed: Callable[[str], AbstractContextManager[None]]
    ) -> tuple[tuple[ExtensionScore, ...], list[health.Finding]]:
        """Scores of plugins, and what speaks against them; no time is noted where there are none."""
        if not extensions.active().scores():
            return (), []
        with timed("scores of plugins"):
            return plugin_scores(self.bench)

    def _of_model(self, drift: float) -> list[health.Finding]:
        probed, pairs = self.probed, len(self.bench.pairs)
        findings = health.findings_of_model(
            training=self.training, without_weights=self.bench.ae.parts_without_weights,
            encoder_noise=probed.encoder_noise, decoder_noise=probed.decoder_noise,
            drift=drift, batch_dependence=probed.batch_dependence, outside_bounds=probed.outside_bounds,
            saturated_outputs=probed.saturated_outputs, zero_gradients=probed.zero_gradients,
        )  # fmt: skip
        few = [health.finding_few_samples(pairs, SMALLEST_SAMPLE)] if pairs < SMALLEST_SAMPLE else []
        shared = health.findings_of_originals(pairs, len(set(self.bench.pairs[:, 0].tolist())))
        images = health.findings_of_images(self.bench.filled(), self.bench.ae.bounds)
        of_spec = health.findings_of_spec(self.bench.spec.shortened, self.bench.spec.second_looks)
        return [*findings, *images, *few, *shared, *of_spec]


def _each_once(findings: list[health.Finding]) -> list[health.Finding]:
    """What two looks found alike is told once; the graver counts, and the one that spoils more."""
    kept: dict[tuple[str, tuple[str, ...]], health.Finding] = {}
    for finding in findings:
        key = finding.name, tuple(sorted(finding.affects))
        if key not in kept or (finding.severity == "invalid" and kept[key].severity != "invalid"):
            kept[key] = finding
    return list(kept.values())


@contextmanager
def _timed(seconds: dict[str, float], work: dict[str, Work], name: str) -> Iterator[None]:
    """Note how long a measurement takes, and what it asks of the model."""
    meter, started = Meter(), time.perf_counter()
    with metered(meter):
        yield
    in_model = meter.model_seconds  # waits for the device
    seconds[name] = round(time.perf_counter() - started, 3)
    work[name] = Work(model_seconds=round(in_model, 3), gradients=meter.gradients)


def _distrust(report: AuditReport) -> AuditReport:
    """Mark every estimate that an invalid finding affects."""

    def doubted(score: str) -> bool:
        return any(finding.invalidates(score) for finding in report.health)

    def marked(value: Any, name: str) -> Any:
        if isinstance(value, Estimate):
            return value.distrusted() if doubted(name) else value
        if isinstance(value, GeometryScores):
            parts = {f.name: marked(getattr(value, f.name), f"{name}.{f.name}") for f in dataclasses.fields(value)}
            return GeometryScores(**parts)
        if isinstance(value, Damage):
            return value.distrusted() if doubted("damage") else value
        if name == "extensions":
            return tuple(one.distrusted() if doubted(one.name) else one for one in value)
        if isinstance(value, Certified):
            return value.distrusted() if doubted("certified_distortion") else value
        if isinstance(value, (LocalPrediction, WorstCase)):
            return value.distrusted(doubted)
        return value

    return dataclasses.replace(
        report, **{f.name: marked(getattr(report, f.name), f.name) for f in dataclasses.fields(report)}
    )
