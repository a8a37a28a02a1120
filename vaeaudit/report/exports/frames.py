"""A report as pandas frames, one observation a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaeaudit.packages import optional
from vaeaudit.report import words
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.meanings import ROOMS
from vaeaudit.report.model import AuditReport

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
_SCORES = ("score", "value", "low", "high", "n", "unit", "statistic", "higher_is_better", "trusted")
_HEALTH = ("check", "severity", "message", "remedy", "affects", "cause", "consequence", "suppressed")
_DAMAGE = ("image", "radius", "displacement", "gain", "latent")
_CHANNELS = ("channel", "moved", "error", "deviation", "collapsed")
_SPECTRA = ("room", "metric", "image", "rank", "eigenvalue")
_GEOMETRY = ("room", "metric", "image", "score", "value", "resolved")


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """A report as tidy frames; what was not measured is a frame without rows.

    Images and pairs are given by their index among the audited ones. Units are those of the report's own fields.

    Attributes:
        scores: one row a score: value, interval, n, unit, direction, and `trusted`: whether neither the measurement nor
            a health finding forbids to rely on it.
        pairs: one row a pair: hinge, AUDDC, reach and whatever else has one figure a pair (`Curves`).
        curves: one row a pair and strength of C: distortion, gap, divergence and so on (`Curves`).
        damage: one row an image and L2 budget: displacement of the reconstruction, its gain, and the movement of the
            latent in standard deviations (NaN where it was not measured).
        channels: one row a latent channel: how far the largest budget moves it (`LatentMovement`).
        spectra: one row an image and rank: eigenvalues of the encoder, decoder and round trip, descending.
        geometry: one row an image and pullback score; `resolved` is False where a condition number is at least the
            value, and is missing elsewhere.
        health: one row a finding; `affects` holds names of scores, parted by spaces.
    """

    scores: pd.DataFrame
    pairs: pd.DataFrame
    curves: pd.DataFrame
    damage: pd.DataFrame
    channels: pd.DataFrame
    spectra: pd.DataFrame
    geometry: pd.DataFrame
    health: pd.DataFrame


def frames(report: AuditReport) -> Frames:
    """A report's figures as pandas frames.

    Raises:
        PackageError: pandas is not installed.
    """
    pandas = optional("pandas", "AuditReport.to_pandas")

    def table(rows: Iterator[Row], columns: tuple[str, ...]) -> pd.DataFrame:
        return pandas.DataFrame(list(rows), columns=list(columns))

    scores = table(_scores(report), _SCORES).astype({"higher_is_better": "boolean"})
    geometry = table(_geometry(report), _GEOMETRY).astype({"resolved": "boolean"})
    return Frames(
        scores=scores, pairs=pandas.DataFrame(_pairs(report)), curves=pandas.DataFrame(_curves(report)),
        damage=table(_damage(report), _DAMAGE), channels=table(_channels(report), _CHANNELS),
        spectra=table(_spectra(report), _SPECTRA), geometry=geometry, health=table(_health(report), _HEALTH),
    )  # fmt: skip


def _scores(report: AuditReport) -> Iterator[Row]:
    for name, estimate in report.scores().items():
        yield {"score": name, **dataclasses.asdict(estimate), "trusted": words.trusted(report, name)}


def _arrays(report: AuditReport) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of the curves but for the series of C, by name."""
    for field in dataclasses.fields(report.curves):
        value = getattr(report.curves, field.name)
        if isinstance(value, np.ndarray) and field.name != "strengths":
            yield {"originals": "original", "targets": "target"}.get(field.name, field.name), value


def _pairs(report: AuditReport) -> dict[str, NDArray[Any]]:
    pairs = np.arange(report.curves.originals.size)
    return {"pair": pairs, **{name: array for name, array in _arrays(report) if array.shape == pairs.shape}}


def _curves(report: AuditReport) -> dict[str, NDArray[Any]]:
    strengths = report.curves.strengths
    shape = (report.curves.originals.size, strengths.size)
    pair, place = np.indices(shape)
    grids = {name: array.ravel() for name, array in _arrays(report) if array.shape == shape}
    return {"pair": pair.ravel(), "strength": strengths[place.ravel()], **grids}


def _damage(report: AuditReport) -> Iterator[Row]:
    if (damage := report.damage) is None:
        return
    latent = np.full_like(damage.displacement, np.nan) if damage.latent is None else damage.latent.moved
    for image, *rows in zip(damage.images, damage.displacement, latent, strict=True):
        for radius, moved, inside in zip(damage.radii, *rows, strict=True):
            yield {"image": image, "radius": radius, "displacement": moved, "gain": moved / radius, "latent": inside}


def _channels(report: AuditReport) -> Iterator[Row]:
    if report.damage is None or (latent := report.damage.latent) is None:
        return
    columns = latent.by_channel, latent.by_channel_errors, latent.deviations, latent.collapsed
    for channel, figures in enumerate(zip(*columns, strict=True)):
        yield {"channel": channel, **dict(zip(_CHANNELS[1:], figures, strict=True))}


def _rooms(report: AuditReport) -> Iterator[tuple[Row, GeometryScores]]:
    for room in ROOMS:
        if (scores := getattr(report, room)) is not None:
            yield {"room": room, "metric": scores.metric}, scores


def _spectra(report: AuditReport) -> Iterator[Row]:
    for room, scores in _rooms(report):
        for image, row in zip(scores.images, scores.eigenvalues, strict=True):
            for rank, eigenvalue in enumerate(row, 1):
                yield {**room, "image": image, "rank": rank, "eigenvalue": eigenvalue}


def _geometry(report: AuditReport) -> Iterator[Row]:
    for room, scores in _rooms(report):
        for score, values in scores.per_image.items():
            known = scores.resolved.tolist() if score == "condition_number" else [None] * len(values)
            for image, value, resolved in zip(scores.images, values, known, strict=True):
                yield {**room, "image": image, "score": score, "value": value, "resolved": resolved}


def _health(report: AuditReport) -> Iterator[Row]:
    for finding in report.health:
        said = dataclasses.asdict(finding)
        yield {**said, "check": said["name"], "affects": " ".join(finding.affects)}
