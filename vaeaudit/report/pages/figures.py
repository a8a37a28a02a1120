"""Estimates as pages show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vaeaudit.report import words
from vaeaudit.report.meanings import MEANINGS
from vaeaudit.report.model import AuditReport
from vaeaudit.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One estimate, ready to be shown."""

    label: str
    value: str
    interval: str
    sample: str
    unit: str
    direction: str
    trusted: bool
    says: str = ""


def score_figure(report: AuditReport, score: str, estimate: Estimate) -> Figure:
    """A score of a report, with all that a reader should know beside it.

    Args:
        report: whose it is; it says whether the score is to be relied upon.
        score: its full name.
        estimate: the figure, which may be at another budget than the score itself.
    """
    name = score.rpartition(".")[2]
    bound = "≥ " if words.is_a_bound(report, score) else ""
    return Figure(
        label=words.label(score),
        value=bound + typeset(words.figure(estimate)),
        interval=typeset(words.interval(estimate, words.counted(score))),
        sample=words.sample(score, estimate),
        unit=words.clean(estimate.unit),
        direction={True: "higher is more robust", False: "lower is more robust", None: ""}[estimate.higher_is_better],
        trusted=words.trusted(report, score) if score in report.scores() else estimate.trusted,
        says=_says(report, score, name),
    )


def _says(report: AuditReport, score: str, name: str) -> str:
    for one in report.extensions:
        if one.name == score:
            return words.clean(one.says)
    return MEANINGS[name].says if name in MEANINGS else ""


def plain_figure(estimate: Estimate, counted: str = "images") -> Figure:
    """An estimate that is no score of its own."""
    return Figure(
        label="", value=typeset(words.figure(estimate)), interval=typeset(words.interval(estimate, counted)),
        sample=str(estimate.n), unit="", direction="", trusted=estimate.trusted,
    )  # fmt: skip


def typeset(text: str) -> str:
    """A true minus sign before numbers, which is as wide as the digits."""
    return text.replace("-", "\N{MINUS SIGN}") if any(map(str.isdigit, text)) else text


def sort_key(value: float) -> str:
    """By which a page's script sorts a cell; empty for NaN, which comes last."""
    return "" if math.isnan(value) else f"{value:.6g}"
