"""`AuditReport` and its parts: plain values, saved and loaded without loss."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.files import write_atomically
from vaeaudit.health import Finding
from vaeaudit.report import codec
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.shapes import check_entries, check_shapes
from vaeaudit.samples import Sample
from vaeaudit.score_names import DIRECTIONS, full_name, statistic_of
from vaeaudit.statistics import CONFIDENCE, Estimate
from vaeaudit.verdict import Bar, Verdict, check_bar, judge, level

SCHEMA = 4
JSON_NAME, HTML_NAME, ARRAYS_NAME = "report.json", "report.html", "arrays.npz"
FOLDER_NAME = "vaeaudit-report"
"""Folder of a report where nobody says another."""
_OWNER = "report"
"""Name of the array that says which report.json the pictures belong to."""

NOT_MEASURED = Estimate(value=math.nan, low=-math.inf, high=math.inf, n=0, trusted=False)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
PER_IMAGE = (
    "spectral_radius", "condition_number", "von_neumann_entropy", "effective_rank", "entropy_khan2022", "trace",
    "log_pseudo_determinant",
)  # fmt: skip
"""Scores of a pullback spectrum with one figure an image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """The trade-off curve of every pair (definitions D3 to D5).

    Attributes:
        strengths: the series of the regularising constant C, ascending, `(strengths,)`.
        distortion: X = L2(d) / L2(x - t), `(pairs, strengths)`.
        gap: Y, distance of the reconstruction to the target between 1 (the original's) and 0
            (the target's own), `(pairs, strengths)`; NaN for excluded pairs.
        divergence: latent divergence to the target, `(pairs, strengths)`.
        objective: divergence + C * penalty, `(pairs, strengths)`.
        converged: whether the optimiser met its tolerance, `(pairs, strengths)`.
        disagreement: by how much the objectives of the paths from the original and from the target differed before
            the better one was polished, as a fraction of it, `(pairs, strengths)`; large values tell of local minima.
        originals: index of each original among the audited images, `(pairs,)`.
        targets: index of each target, `(pairs,)`.
        reach: denominator of Y, in input units, `(pairs,)`.
        excluded: pairs whose reach is not clearly positive, `(pairs,)`.
        hinge: saturation point of X, `(pairs,)`; the largest X reached where censored.
        censored: curves that do not saturate: the hinge is only known to be at least that, `(pairs,)`.
        floor: Y right of the hinge, `(pairs,)`.
        slope: fall of Y per unit of X left of the hinge, `(pairs,)`.
        r_squared: fit of the broken stick, `(pairs,)`.
        linearity: fit of a straight line left of the hinge, `(pairs,)`.
        auddc: area under the distortion-distortion curve, `(pairs,)`.
        reconstruction_error: L2(r(x) - x) of each pair's original, input units, `(pairs,)`.
        evaluations: gradient evaluations that the attack spent on each pair, `(pairs,)`.
    """

    strengths: Floats
    distortion: Floats
    gap: Floats
    divergence: Floats
    objective: Floats
    converged: Booleans
    disagreement: Floats
    originals: Integers
    targets: Integers
    reach: Floats
    excluded: Booleans
    hinge: Floats
    censored: Booleans
    floor: Floats
    slope: Floats
    r_squared: Floats
    linearity: Floats
    auddc: Floats
    reconstruction_error: Floats
    evaluations: Integers

    def __post_init__(self) -> None:
        pairs, strengths = self.originals.size, self.strengths.size
        grids = dict.fromkeys(
            ("distortion", "gap", "divergence", "objective", "converged", "disagreement"), (pairs, strengths)
        )
        columns = {f.name: (pairs,) for f in dataclasses.fields(self) if f.name not in grids}
        check_shapes(self, {**columns, **grids, "strengths": (strengths,)})

    def sample(self, score: str) -> Sample:
        """The figures behind a score that comes from the pairs; those of excluded pairs are left out."""
        values: Floats = getattr(self, score)
        if score == "reconstruction_error":
            # an original may take part in several pairs, but counts once
            _, first = np.unique(self.originals, return_index=True)
            return _sample(values[first], score, self.originals[first])
        if score != "reach":
            values = np.where(self.excluded, math.nan, values)
        upper = np.where(self.censored, math.inf, values) if score == "hinge" else None
        return _sample(values, score, self.originals, targets=self.targets, upper=upper)


@dataclass(frozen=True, kw_only=True, eq=False)
class Damage:
    """What an untargeted attack does to the reconstruction at fixed input budgets (definitions D12).

    Attributes:
        radii: L2 budgets in input units, `(budgets,)`.
        displacement: L2 distance the reconstruction was moved, input units, `(images, budgets)`.
        images: index of each attacked image, `(images,)`.
        estimates: mean displacement at each budget.
        gains: mean displacement per unit of distortion at each budget.
    """

    radii: Floats
    displacement: Floats
    images: Integers
    estimates: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]

    def __post_init__(self) -> None:
        images, budgets = self.images.size, self.radii.size
        check_shapes(self, {**dict.fromkeys(("radii", "estimates", "gains"), (budgets,)), "images": (images,)})
        check_shapes(self, {"displacement": (images, budgets)})

    @property
    def middle(self) -> int:
        """Which budget the scores `damage` and `damage_gain` are those of."""
        return len(self.estimates) // 2

    def sample(self, score: str) -> Sample:
        """The figures behind `damage` or `damage_gain`."""
        values = self.displacement[:, self.middle]
        return _sample(values / self.radii[self.middle] if score == "damage_gain" else values, score, self.images)


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryScores:
    """Scores of a pullback spectrum (definitions D6 to D9), each over images.

    Attributes:
        metric: name of the metric whose eigenvalues these are.
        spectral_radius: largest eigenvalue; lower is more robust.
        condition_number: sqrt(largest / smallest) over the active latent units; lower is more robust.
        von_neumann_entropy: -sum p ln p of the normalised spectrum, nats; no direction.
        effective_rank: exp of the entropy; no direction.
        entropy_khan2022: the max-normalised variant that Khan and Storkey's code computes.
        trace: sum of eigenvalues; lower is more robust.
        log_pseudo_determinant: sum of logs of the non-zero eigenvalues; no direction.
        active_units: latent units in use (Burda et al. 2016); the condition number's denominator.
        eigenvalues: descending, `(images, rank)`.
        images: index of each image, `(images,)`.
        per_image: the figures behind every score but `active_units`, by name, each `(images,)`.
        resolved: whether the condition number stands clear of rounding noise, `(images,)`; where it
            does not, it is at least the figure given.
        variances: variance over the data of each unit's posterior mean, `(units,)`.
        variance_errors: their standard errors, `(units,)`.
        active_variance: the variance above which a unit counts as active.
    """

    metric: str
    spectral_radius: Estimate
    condition_number: Estimate
    von_neumann_entropy: Estimate
    effective_rank: Estimate
    entropy_khan2022: Estimate
    trace: Estimate
    log_pseudo_determinant: Estimate
    active_units: Estimate
    eigenvalues: Floats
    images: Integers
    per_image: dict[str, Floats]
    resolved: Booleans
    variances: Floats
    variance_errors: Floats
    active_variance: float

    def __post_init__(self) -> None:
        images, rank = self.images.size, self.eigenvalues.shape[-1] if self.eigenvalues.ndim else 0
        units = (self.variances.size,)
        check_shapes(self, {"images": (images,), "eigenvalues": (images, rank), "resolved": (images,)})
        check_shapes(self, {"variances": units, "variance_errors": units})
        check_entries(self, "per_image", dict.fromkeys(PER_IMAGE, (images,)))

    def sample(self, score: str) -> Sample:
        """The figures behind one of the scores."""
        if score == "active_units":
            nowhere = np.zeros(0, dtype=np.int64)
            return Sample(
                values=self.variances, statistic="count", originals=nowhere, errors=self.variance_errors,
                threshold=self.active_variance,
            )  # fmt: skip
        values = self.per_image[score]
        upper = np.where(self.resolved, values, math.inf) if score == "condition_number" else None
        return _sample(values, score, self.images, upper=upper)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Pictures of a few pairs at a few strengths (paper A, figure 2).

    Attributes:
        pairs: which pairs, indices into `Curves.originals`, `(shown,)`.
        strengths: which strengths, indices into `Curves.strengths`, `(columns,)`.
        bounds: lower and upper end of the input space.
        originals, targets, original_reconstructions, target_reconstructions: `(shown, *event)`.
        adversarials, reconstructions: `(shown, columns, *event)`.
    """

    pairs: Integers
    strengths: Integers
    bounds: tuple[float, ...]
    originals: NDArray[np.float32]
    targets: NDArray[np.float32]
    original_reconstructions: NDArray[np.float32]
    target_reconstructions: NDArray[np.float32]
    adversarials: NDArray[np.float32]
    reconstructions: NDArray[np.float32]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditReport:
    """What an audit found. Every figure is an `Estimate`.

    Attributes:
        name: the model's name.
        hinge: distortion at which the trade-off saturates, median over pairs; higher is more robust.
        auddc: area under the trade-off curve, mean over pairs; higher is more robust.
        linearity: R2 of a straight line left of the hinge, median over pairs.
        floor: gap right of the hinge, median over pairs; near 0 when the target is reached.
        reach: how far apart the model can place an original's and a target's reconstruction,
            input units, mean over pairs; read the hinge beside it (definitions D12).
        reconstruction_error: L2(r(x) - x) of the originals, input units, mean.
        damage: untargeted damage at fixed budgets; None if it was not measured.
        encoder, decoder, round_trip: pullback scores; None where the spectrum was not computed.
        local: how well the leading eigenvectors predict the real attack; None where they were not computed.
        curves: the trade-off curves.
        health: findings on whether the figures can be trusted.
        provenance: everything needed to repeat the run.
        gallery: pictures; None after loading a report.json without its own arrays.npz.
    """

    name: str
    hinge: Estimate
    auddc: Estimate
    linearity: Estimate
    floor: Estimate
    reach: Estimate
    reconstruction_error: Estimate
    damage: Damage | None
    encoder: GeometryScores | None
    decoder: GeometryScores | None
    round_trip: GeometryScores | None
    local: LocalPrediction | None
    curves: Curves
    health: tuple[Finding, ...]
    provenance: Provenance
    gallery: Gallery | None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AuditReport):
            return NotImplemented
        fields = (field.name for field in dataclasses.fields(AuditReport))
        return all(codec.equal(getattr(self, name), getattr(other, name)) for name in fields)

    __hash__ = None  # type: ignore[assignment]

    def scores(self) -> dict[str, Estimate]:
        """Every score that can be asserted, by its full name (`hinge`, `encoder.trace`, ...)."""
        return dict(self._scores())

    def _scores(self) -> Iterator[tuple[str, Estimate]]:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Estimate):
                yield field.name, value
            elif isinstance(value, GeometryScores):
                for part in dataclasses.fields(value):
                    if isinstance(score := getattr(value, part.name), Estimate):
                        yield f"{field.name}.{part.name}", score
            elif isinstance(value, Damage):
                yield "damage", value.estimates[value.middle]
                yield "damage_gain", value.gains[value.middle]

    def score(self, name: str) -> Estimate:
        """One score by name; a bare geometry score is the encoder's. NaN where it was not measured.

        Raises:
            OptionError: there is no such score.
        """
        return self.scores().get(full_name(name), NOT_MEASURED)

    def sample(self, name: str) -> Sample:
        """The figures behind a score: one a pair or an image. Empty where it was not measured.

        Raises:
            OptionError: there is no such score.
        """
        room, _, score = full_name(name).rpartition(".")
        section: Curves | Damage | GeometryScores | None = self.curves
        if room:
            section = getattr(self, room)
        elif score in ("damage", "damage_gain"):
            section = self.damage
        return _empty_sample(score) if section is None else section.sample(score)

    def check(self, *, confidence: float = CONFIDENCE, looks: int = 1, **bars: Bar) -> tuple[Verdict, ...]:
        """Hold scores against bars: `report.check(hinge=at_least(0.3))`; one verdict a bar.

        A verdict rests on one-sided bounds, computed from the report's own samples: PASS if the bound
        on the safe side clears the bar, FAIL if the opposite one is beyond it, INCONCLUSIVE in
        between, INVALID where a health finding forbids to rely on the score. A score with a dot in
        its name goes in by `**{"decoder.spectral_radius": at_most(3)}`.

        Args:
            confidence: of each bound, above 0.5 and below 1; a PASS is false with at most the rest.
            looks: how many times a sample that grows may be judged and still keep that confidence.
            bars: `at_least(...)` or `at_most(...)` by score.

        Raises:
            OptionError: an unknown score, a bar of the wrong direction or out of reach, no bar at
                all, or a confidence or looks that cannot be.
        """
        if not bars:
            raise OptionError("check expects at least one bar, such as hinge=at_least(0.3); got none")
        level(confidence, looks)
        named = [(check_bar(name, bar), bar) for name, bar in bars.items()]
        return tuple(self._judge(name, bar, confidence, looks) for name, bar in named)

    def _judge(self, name: str, bar: Bar, confidence: float, looks: int) -> Verdict:
        found = dataclasses.replace(self.score(name), higher_is_better=DIRECTIONS[name])
        blame = "; ".join(f.message for f in self.health if f.invalidates(name))
        bounds = self.sample(name).bounds(level(confidence, looks))
        return judge(name, found, bar, bounds=bounds, confidence=confidence, looks=looks, distrust=blame)

    def require(self, *, confidence: float = CONFIDENCE, **bars: Bar) -> None:
        """Like `check`, but raise AssertionError unless every verdict is PASS."""
        __tracebackhide__ = True
        failed = [str(verdict) for verdict in self.check(confidence=confidence, looks=1, **bars) if not verdict]
        if failed:
            raise AssertionError("\n".join(failed))

    def to_dict(self) -> dict[str, Any]:
        """Builtin types only, pictures left out; `AuditReport.from_dict` is the inverse."""
        fields = (field.name for field in dataclasses.fields(AuditReport))
        plain = {name: codec.to_builtin(getattr(self, name)) for name in fields if name != "gallery"}
        return {"schema": SCHEMA, **plain, "gallery": None}

    @staticmethod
    def from_dict(data: Any, gallery: Gallery | None = None) -> AuditReport:
        """Rebuild a report from `to_dict`, or from the strict JSON that `save` writes.

        Raises:
            ReportError: the data are not a report of this schema.
        """
        if not isinstance(data, dict) or "schema" not in data:
            raise ReportError("expected a vaeaudit report (an object with a 'schema'), got something else")
        if data["schema"] != SCHEMA:
            raise ReportError(
                f"the report has schema {data['schema']!r}, this version reads {SCHEMA}: it was written by another "
                "version of vaeaudit; audit the model again with this one"
            )
        fields = {key: value for key, value in data.items() if key != "schema"}
        report: AuditReport = codec.from_builtin(AuditReport, fields)
        return dataclasses.replace(report, gallery=gallery)

    def save(self, folder: str | os.PathLike[str], *, page: bool = True) -> Path:
        """Write report.json, report.html and arrays.npz, each atomically; returns the folder.

        The arrays come first and hold a digest of the JSON they belong to, so that a save that is
        cut short leaves the older report, which then loads without pictures.

        Args:
            folder: where to; made if it is not there.
            page: False leaves report.html out, and removes that of an earlier report in the folder.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        data = self.to_dict()
        arrays = {_OWNER: np.array(_digest(data)), **({} if self.gallery is None else _fields(self.gallery))}
        write_atomically(path / ARRAYS_NAME, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
        if page:
            from vaeaudit.report.html import render

            write_atomically(path / HTML_NAME, lambda file: file.write(render(self).encode(errors="replace")))
        else:
            (path / HTML_NAME).unlink(missing_ok=True)
        write_atomically(path / JSON_NAME, lambda file: file.write(codec.write_json(data)))
        return path

    def __str__(self) -> str:
        from vaeaudit.report.terminal import table_text

        return table_text(self)


def load(path: str | os.PathLike[str]) -> AuditReport:
    """Load a saved report from its folder or its report.json; equal to what was saved.

    Pictures are only ever the report's own: where arrays.npz is missing or belongs to another
    report.json (copied, edited since, or left by a save that was cut short), `gallery` is None.

    Raises:
        ReportError: there is no report, or it cannot be read.
    """
    file = Path(path)
    file = file / JSON_NAME if file.is_dir() else file
    data = codec.read_json(file)
    report = AuditReport.from_dict(data)
    return dataclasses.replace(report, gallery=_load_gallery(file.with_name(ARRAYS_NAME), _digest(data)))


def _sample(
    values: Floats, score: str, originals: Integers, *, targets: Integers | None = None, upper: Floats | None = None
) -> Sample:
    """A sample without the values that are missing."""
    kept = ~np.isnan(values)
    return Sample(
        values=values[kept], statistic=statistic_of(score), originals=originals[kept],
        targets=None if targets is None else targets[kept], upper=None if upper is None else upper[kept],
    )  # fmt: skip


def _empty_sample(score: str) -> Sample:
    nothing = np.zeros(0)
    statistic = statistic_of(score)
    return Sample(
        values=nothing, statistic=statistic, originals=nothing.astype(np.int64),
        errors=nothing if statistic == "count" else None,
    )  # fmt: skip


def _digest(data: dict[str, Any]) -> str:
    """SHA-256 of a report's JSON, whatever its whitespace."""
    return hashlib.sha256(codec.write_json(data)).hexdigest()


def _fields(value: Any) -> dict[str, NDArray[Any]]:
    return {f.name: np.asarray(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _load_gallery(path: Path, owner: str) -> Gallery | None:
    """The pictures of the report of that digest; None if there are none or they are another's."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if arrays.files in ([], [_OWNER]) or _OWNER not in arrays or str(arrays[_OWNER]) != owner:
                return None
            fields = {f.name: arrays[f.name] for f in dataclasses.fields(Gallery)}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zlib.error, zipfile.BadZipFile) as error:
        raise ReportError(f"{path} cannot be read: {error}; delete it to load the report without pictures") from error
    return Gallery(**{**fields, "bounds": tuple(map(float, fields["bounds"]))})
