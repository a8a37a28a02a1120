"""The figures of a run as builtin values: what the page says is computed from these alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.papers.keeping import versions

from .measuring import Trial
from .settings import DUELS, Duel
from .study import Study

Results = dict[str, Any]
_DIGITS = 5
_PAIRWISE = (
    "hinge", "censored", "floor", "slope", "r_squared", "linearity", "auddc", "reach", "excluded",
    "reconstruction_error",
)  # fmt: skip


def collected(study: Study) -> Results:
    """Train and attack whatever is not on disk yet, and take the figures together."""
    duels = {duel.name: _duel(study, duel) for duel in study.duels()}
    classifiers = {name: study.classified(name) for name in ("mnist", "svhn")}
    return {
        "setting": dataclasses.asdict(study.setting),
        "versions": versions(),
        "duels": duels,
        "pending": [duel.name for duel in DUELS if duel.name not in duels],
        "classifiers": {
            name: {key: plain(values) for key, values in trial.items()}
            for name, trial in classifiers.items()
            if trial is not None
        },
    }


def _duel(study: Study, duel: Duel) -> Results:
    data = study.images(duel.vae.data)
    assert data is not None
    trials = study.trials(duel)
    pairs = np.array(data.pairs(study.setting.pairs))
    attacks: Results = {"vae": {}, "ae": {}}
    for (role, attack), trial in trials.items():
        attacks[role][attack] = _trial(trial, data.test.numpy()[pairs], data.bounds)
    found: Results = {
        "title": duel.title, "reference": duel.reference, "published_pairs": data.published, "pairs": pairs.tolist(),
        "attacks": attacks,
    }  # fmt: skip
    if duel.reference == "mnist" and study.setting.audit is not None:
        found["audits"] = {
            role: _audit(study.audited(model)) for role, model in (("vae", duel.vae), ("ae", duel.ae))
        }  # fmt: skip
    return found


def _trial(trial: Trial, ends: NDArray[np.float32], bounds: tuple[float, float]) -> Results:
    curves = trial.curves
    shares = np.clip((trial.reconstruction - bounds[0]) / (bounds[1] - bounds[0]), 0, 1)
    grey = (4 * shares * (1 - shares)).reshape(*curves.distortion.shape, -1).mean(2)
    return {
        "strengths": plain(curves.strengths), "distortion": plain(curves.distortion), "gap": plain(curves.gap),
        "own": plain(trial.own), "grey": plain(grey), "widening": plain(trial.widening),
        "disagreement": plain(np.median(np.minimum(curves.disagreement, 1e9), axis=1)),
        "converged": float(curves.converged.mean()), "evaluations": int(curves.evaluations.sum()),
        "best": _best(trial, ends).tolist(), **{name: plain(getattr(curves, name)) for name in _PAIRWISE},
    }  # fmt: skip


def _best(trial: Trial, ends: NDArray[np.float32]) -> NDArray[np.int64]:
    """Index of the last C, from the least upwards, before the reconstruction comes nearer to the original, `(pairs,)`.

    The paper's rule for the pictures; `ends` are originals and targets, `(pairs, 2, *event)`.
    """
    shape = (*trial.curves.distortion.shape, -1)
    decoded = trial.reconstruction.reshape(shape)
    to_original, to_target = (
        np.linalg.norm(decoded - ends[:, end].reshape(len(ends), 1, -1), axis=2) for end in (0, 1)
    )
    nearer = to_target >= to_original
    first = np.where(nearer.any(1), nearer.argmax(1), shape[1])
    return np.asarray(np.maximum(first - 1, 0), np.int64)


def _audit(report: Any) -> Results:
    """What the library's own audit says on the same pairs, by score; and its findings."""
    scores = {
        name: [plain(np.array(value)) for value in (found.value, found.low, found.high)]
        for name, found in report.scores().items()
        if "." not in name
    }
    findings = [finding.message for finding in report.health if finding.severity != "info"]
    return {"preset": report.provenance.preset, "strengths": int(report.curves.strengths.size), "scores": scores,
            "findings": findings}  # fmt: skip


def plain(values: NDArray[Any]) -> Any:
    """Builtin numbers to five digits; None where there is none."""
    if values.dtype.kind in "biu":
        return values.tolist()
    if values.ndim:
        return [plain(value) for value in values]
    value = float(values)
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def array(values: Any) -> NDArray[np.float64]:
    """Numbers of a results file, NaN where there is none."""
    return np.array(values, dtype=np.float64)
