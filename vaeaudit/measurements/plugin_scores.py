"""Scores of plugins: measured row by row like the library's own, and looked at before they are believed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from vaeaudit import extensions, health
from vaeaudit.checkpoint import Arrays
from vaeaudit.errors import OptionError
from vaeaudit.extensions import Plugin
from vaeaudit.guarding import untouched
from vaeaudit.hookspecs import Score
from vaeaudit.measurements.bench import IMAGES_AT_ONCE, Bench, Floats, Rows
from vaeaudit.report.extension import ExtensionScore
from vaeaudit.statistics import estimate

_OF_THE_MODEL = ("stochastic_encoder", "stochastic_decoder", "stateful_model")
"""Findings after which no figure of the model means anything, a plugin's neither."""
_OF_PAIRS = ("shared_originals",)
"""Findings after which nothing that is measured a pair bears a verdict, whoever measured it."""
_NO_TARGETS = np.zeros(0, dtype=np.int64)


def plugin_scores(bench: Bench) -> tuple[tuple[ExtensionScore, ...], list[health.Finding]]:
    """Every score of every plugin, at the images under the untargeted attack or at all pairs.

    Raises:
        PluginError: a plugin failed, or returned something else than a figure a row.
    """
    measured = [_measured(bench, plugin, score) for plugin, score in extensions.active().scores()]
    return tuple(found for found, _ in measured), [finding for _, findings in measured for finding in findings]


def spoiled_too(findings: list[health.Finding], scores: tuple[ExtensionScore, ...]) -> list[health.Finding]:
    """Findings of which those that leave no figure of the model, or of its pairs, standing affect the plugins' as well."""
    names = {
        **dict.fromkeys(_OF_THE_MODEL, tuple(score.name for score in scores)),
        **dict.fromkeys(_OF_PAIRS, tuple(score.name for score in scores if score.per == "pair")),
    }
    return [
        replace(finding, affects=(*finding.affects, *names.get(finding.name, ())))
        if finding.severity == "invalid" else finding
        for finding in findings
    ]  # fmt: skip


def _measured(bench: Bench, plugin: Plugin, score: Score) -> tuple[ExtensionScore, list[health.Finding]]:
    name, paired = plugin.named(score), score.per == "pair"
    rows = bench.originals_as(lambda spec: spec.damaged)
    keys = bench.pair_keys(len(bench.pairs)) if paired else bench.image_keys(rows)
    arrays = bench.kept(
        f"plugin-{name}", name, keys, partial(_figures, bench, rows=rows, plugin=plugin, score=score), IMAGES_AT_ONCE,
        {"plugin": str(plugin), "per": score.per},
    )  # fmt: skip
    indices = bench.data.index[bench.pairs] if paired else bench.data.index[rows][:, None]
    values, wrong = _believed(arrays["figure"], score)
    found = ExtensionScore(
        name=name, plugin=plugin.distribution, says=score.says, per=score.per, least=float(score.least),
        most=float(score.most),
        estimate=estimate(
            values, statistic=score.statistic, unit=score.unit, higher_is_better=score.higher_is_better
        ),
        values=values, originals=indices[:, 0], targets=indices[:, 1] if paired else _NO_TARGETS,
    )  # fmt: skip
    findings = [health.finding_plugin_figures(str(plugin), name, wrong, len(values), score.per)] if wrong else []
    return found, findings


def _figures(bench: Bench, chunk: Rows, rows: Rows, plugin: Plugin, score: Score) -> Arrays:
    given = bench.pair_images(chunk) if score.per == "pair" else (bench.images[rows[chunk]],)
    with plugin.blamed(f"it measured {plugin.named(score)}"):
        with untouched(bench.ae.found, bench.seed):
            returned = score.measure(bench.ae, *given)
        return {"figure": _one_a_row(returned, len(chunk))}


def _one_a_row(returned: Any, rows: int) -> Floats:
    """Figures as float64.

    Raises:
        OptionError: there is not one real number a row.
    """
    if isinstance(returned, torch.Tensor):
        returned = returned.detach().cpu()
        returned = (returned if returned.is_complex() else returned.double()).numpy()
    array = np.asarray(returned)
    if array.shape != (rows,) or array.dtype.kind not in "fiub":
        raise OptionError(f"expected one number a row, shape ({rows},), got {array.dtype} of shape {array.shape}")
    return array.astype(np.float64)


def _believed(figures: Floats, score: Score) -> tuple[Floats, int]:
    """Figures, NaN where one cannot be, and how many those are."""
    possible = np.isfinite(figures) & (figures >= score.least) & (figures <= score.most)
    return np.where(possible, figures, np.nan), int((~possible).sum())
