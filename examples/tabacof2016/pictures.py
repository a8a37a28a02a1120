"""Pictures of a run for its page: what the attack made of a few pairs, at the paper's best C and over the whole series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeaudit.report.pictures import picture

from .measuring import Trial
from .results import Results
from .settings import Duel
from .study import Study

PAIRS = 2
FRAMES = 34
Floats = NDArray[np.float32]


def frames(study: Study, duel: Duel, results: Results) -> Results:
    """The pictures behind the slider, as addresses of PNG images, by pair and model; plain values.

    Both models are shown at the same values of C, of which at most `FRAMES` are taken.
    """
    data = study.images(duel.vae.data)
    assert data is not None
    trials = {role: study.trial(model, "latent") for role, model in (("vae", duel.vae), ("ae", duel.ae))}
    series = trials["vae"].curves.strengths
    shown = series[np.unique(np.linspace(0, len(series) - 1, min(FRAMES, len(series))).round().astype(int))]
    pairs = []
    for pair, (original, target) in enumerate(data.pairs(study.setting.pairs)[:PAIRS]):
        ends = {"original": data.test[original].numpy(), "target": data.test[target].numpy()}
        picked = {role: results["attacks"][role]["latent"]["best"][pair] for role in trials}
        pairs.append({
            "title": f"pair {pair + 1}: a {data.test_labels[original]} into a {data.test_labels[target]}",
            **{name: address(event, data.bounds) for name, event in ends.items()},
            "best": {
                role: int(nearest(shown, trial.curves.strengths[[picked[role]]])[0]) for role, trial in trials.items()
            },
            "models": {role: _shown(trial, pair, shown, data.bounds) for role, trial in trials.items()},
        })  # fmt: skip
    return {"strengths": [float(f"{strength:.4g}") for strength in shown], "pairs": pairs}


def _shown(trial: Trial, pair: int, strengths: NDArray[np.float64], bounds: tuple[float, float]) -> Results:
    """Pictures and figures of one model at these C; its own series may hold more or fewer of them."""
    at = nearest(trial.curves.strengths, strengths)
    return {
        "adversarial": [address(trial.adversarial[pair, i], bounds) for i in at],
        "reconstruction": [address(trial.reconstruction[pair, i], bounds) for i in at],
        "distortion": [_number(trial.curves.distortion[pair, i]) for i in at],
        "gap": [_number(trial.curves.gap[pair, i]) for i in at],
    }


def nearest(series: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index into a series of C of what lies nearest to each wanted one, by its ratio."""
    return np.asarray(np.abs(np.log(series) - np.log(wanted)[:, None]).argmin(1), np.int64)


def address(event: Floats, bounds: tuple[float, float]) -> str:
    """An image as the address of a PNG inside the page."""
    element = picture(event, bounds, "")
    return str(element).split('src="', 1)[1].split('"', 1)[0]


def _number(value: float) -> float | None:
    return float(f"{value:.3g}") if np.isfinite(value) else None
