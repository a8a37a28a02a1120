"""`AuditReport`: plain values, saved and loaded without loss, and held against bars."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.files import make_folder, write_atomically
from vaeaudit.health import Finding
from vaeaudit.report import codec
from vaeaudit.report.certificates import Certified
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import SCORES as DAMAGE_SCORES
from vaeaudit.report.damage import Damage
from vaeaudit.report.extension import ExtensionScore
from vaeaudit.report.gallery import Gallery, load_gallery, save_gallery
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.migration import migrated
from vaeaudit.report.provenance import Provenance
from vaeaudit.report.sampled import empty_sample
from vaeaudit.report.worst_case import AttackFamily, WorstCase
from vaeaudit.samples import Sample
from vaeaudit.score_names import ROOMS, declare, direction_of, full_name
from vaeaudit.statistics import CONFIDENCE, Estimate
from vaeaudit.verdict import Bar, Verdict, check_bar, judge, level

if TYPE_CHECKING:
    from vaeaudit.report.exports.frames import Frames

SCHEMA = 7
JSON_NAME, HTML_NAME, ARRAYS_NAME = "report.json", "report.html", "arrays.npz"
FOLDER_NAME = "vaeaudit-report"
"""Folder of a report where nobody says another."""
NOT_MEASURED = Estimate(value=math.nan, low=-math.inf, high=math.inf, n=0, trusted=False)


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
        worst_case: the worst case over all attacks; None where the preset tries the headline's two alone.
        certificates: bounds that no attack can beat, of the first pairs; None if they were not sought.
        extensions: scores of plugins.
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
    worst_case: WorstCase | None
    certificates: Certified | None
    curves: Curves
    health: tuple[Finding, ...]
    provenance: Provenance
    gallery: Gallery | None
    extensions: tuple[ExtensionScore, ...] = ()

    def __post_init__(self) -> None:
        self._declare()

    def _declare(self) -> None:
        """Make the scores of plugins known to bars and tables, whether or not the plugins are installed here.

        Raises:
            OptionError: a plugin of another version is, by which one of them means something else.
        """
        for one in self.extensions:
            declare(one.name, one.kind)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AuditReport):
            return NotImplemented
        fields = (field.name for field in dataclasses.fields(AuditReport))
        return all(codec.equal(getattr(self, name), getattr(other, name)) for name in fields)

    __hash__ = None  # type: ignore[assignment]

    def scores(self) -> dict[str, Estimate]:
        """Every score that can be asserted, by its full name (`hinge`, `encoder.trace`, ...)."""
        self._declare()
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
                yield from value.scores().items()
            elif isinstance(value, WorstCase):
                for name, family in value.families().items():
                    yield name, family.estimates[family.middle]
            elif isinstance(value, Certified) and value.measured:
                yield "certified_distortion", value.certified_distortion
        yield from ((one.name, one.estimate) for one in self.extensions)

    def score(self, name: str) -> Estimate:
        """One score by name; a bare geometry score is the encoder's. NaN where it was not measured.

        Raises:
            OptionError: there is no such score.
        """
        scores = self.scores()
        return scores.get(full_name(name), NOT_MEASURED)

    def sample(self, name: str) -> Sample:
        """The figures behind a score: one a pair or an image. Empty where it was not measured.

        Raises:
            OptionError: there is no such score.
        """
        for one in self.extensions:
            if one.name == name:
                return one.sample()
        room, _, score = full_name(name).rpartition(".")
        section: Curves | Damage | GeometryScores | AttackFamily | Certified | None = self.curves
        if room in ROOMS:
            section = getattr(self, room)
        elif room:  # of a plugin that did not measure this model
            section = None
        elif score in DAMAGE_SCORES:
            section = self.damage
        elif score.startswith("worst_"):
            section = None if self.worst_case is None else self.worst_case.families()[score]
        elif score == "certified_distortion":
            section = self.certificates
        return empty_sample(score) if section is None else section.sample(score)

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
        self._declare()
        named = [(check_bar(name, bar), bar) for name, bar in bars.items()]
        return tuple(self._judge(name, bar, confidence, looks) for name, bar in named)

    def _judge(self, name: str, bar: Bar, confidence: float, looks: int) -> Verdict:
        found = dataclasses.replace(self.score(name), higher_is_better=direction_of(name))
        blame = "; ".join(f.message for f in self.health if f.invalidates(name))
        if name == "certified_distortion" and self.certificates is not None:
            blame = blame or self.certificates.refusal
        if name.startswith("worst_") and self.worst_case is None:
            blame = blame or f'the preset "{self.provenance.preset}" does not measure it; "thorough" does'
        bounds = self.sample(name).bounds(level(confidence, looks))
        return judge(name, found, bar, bounds=bounds, confidence=confidence, looks=looks, distrust=blame)

    def suppressed(self, score: str) -> tuple[str, ...]:
        """Names of the suppressed findings that would otherwise make a score's verdicts INVALID."""
        return tuple(f.name for f in self.health if f.suppressed and f.concerns(full_name(score)))

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
        """Rebuild a report from `to_dict`, or from the strict JSON that `save` writes, by this version or an older one.

        Raises:
            ReportError: the data are not a report, or of a schema that this version does not read.
        """
        if not isinstance(data, dict) or "schema" not in data:
            raise ReportError("expected a vaeaudit report (an object with a 'schema'), got something else")
        fields = {key: value for key, value in migrated(data, SCHEMA).items() if key != "schema"}
        report: AuditReport = codec.from_builtin(AuditReport, fields)
        return dataclasses.replace(report, gallery=gallery)

    def save(self, folder: str | os.PathLike[str], *, page: bool = True) -> Path:
        """Write report.json, report.html and arrays.npz, each atomically; returns the folder.

        The arrays come first and hold a digest of the JSON they belong to, so that a save that is
        cut short leaves the older report, which then loads without pictures.

        Args:
            folder: where to; made if it is not there.
            page: False leaves report.html out, and removes that of an earlier report in the folder.

        Raises:
            StorageError: the disk is full, or the folder cannot be written to.
        """
        path = Path(folder)
        make_folder(path)
        data = self.to_dict()
        save_gallery(self.gallery, path / ARRAYS_NAME, _digest(data))
        if page:
            from vaeaudit.report.pages.html import render

            write_atomically(path / HTML_NAME, lambda file: file.write(render(self).encode(errors="replace")))
        else:
            (path / HTML_NAME).unlink(missing_ok=True)
        write_atomically(path / JSON_NAME, lambda file: file.write(codec.write_json(data)))
        return path

    def to_pandas(self) -> Frames:
        """The figures as tidy pandas frames: `report.to_pandas().scores`, `.pairs`, `.curves` and others.

        Raises:
            PackageError: pandas is not installed.
        """
        from vaeaudit.report.exports.frames import frames

        return frames(self)

    def __str__(self) -> str:
        from vaeaudit.report.text.terminal import table_text

        return table_text(self)

    def _repr_html_(self) -> str:
        from vaeaudit.report.pages.notebook import fragment

        return fragment(self)


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
    try:
        report = AuditReport.from_dict(data)
    except ReportError as error:
        raise ReportError(f"{file}: {error}") from error
    return dataclasses.replace(report, gallery=load_gallery(file.with_name(ARRAYS_NAME), _digest(data)))


def _digest(data: dict[str, Any]) -> str:
    """SHA-256 of a report's JSON, whatever its whitespace."""
    return hashlib.sha256(codec.write_json(data)).hexdigest()
