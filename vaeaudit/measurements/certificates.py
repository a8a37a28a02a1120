"""Certificates of the first pairs, beside what the attacks came to."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from vaeaudit import health
from vaeaudit.certificates.certifying import Asked, Certificates, Part, certificates_of
from vaeaudit.certificates.constants import Constants
from vaeaudit.certificates.convex import newton_work
from vaeaudit.certificates.prepared import Prepared, prepare
from vaeaudit.checkpoint import Arrays
from vaeaudit.measurements.bench import BUDGETS, INPUT_UNITS, Bench, Floats, Rows, plain
from vaeaudit.pairs import half_the_median_distance
from vaeaudit.report.certificates import Certified, LipschitzBound
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage
from vaeaudit.score_names import DIRECTIONS
from vaeaudit.spec import Spec
from vaeaudit.statistics import SMALLEST_SAMPLE, estimate

_AT_ONCE = 8
_BEATEN = 1e-4
"""An attack beats its certificate by more than this share: far more than float32 rounds, and less than any fault."""
_FIGURES: dict[str, tuple[Part, ...]] = {
    "encoder": ("distortion",),
    "decoder": ("distortion", "damage", "margin"),
    "budgets": ("distortion", "divergence", "damage", "margin"),
}


def certificates(bench: Bench, curves: Curves, damage: Damage) -> tuple[Certified | None, list[health.Finding]]:
    """Certify as many of the first pairs as the preset affords; None where it affords none.

    Every pair is asked for the divergence that the targeted attack came down to at its smallest C, so that
    certificate and attack speak of the same thing.

    Args:
        bench: what is measured.
        curves: of all pairs.
        damage: of the untargeted attack.
    """
    if not bench.spec.certified:
        return None, []
    certifier = _Certifier(bench=bench)
    known = certifier.known()
    grown = bench.spec.grown(len(bench.pairs))
    pairs = min(grown.certified, len(bench.pairs))
    if known["balls"]:
        pairs = min(pairs, known["pairs"] * grown.certified // bench.spec.certified)
    level, attacked = _reached(curves, pairs)
    rows = certifier.of_pairs(level, known["balls"], pairs) if known["certified"] else {}
    found = certified_of(rows, known, curves, level, attacked, damage, r=certifier.r, divergence=bench.divergence)
    return found, health.findings_of_certificates(*_beaten(found))


def _reached(curves: Curves, pairs: int) -> tuple[Floats, Floats]:
    """Delta at the smallest C, and the smallest X at which it is as low, `(pairs,)` each."""
    divergence, distortion = curves.divergence[:pairs], curves.distortion[:pairs]
    level = divergence[:, 0]
    known = np.isfinite(level) & np.isfinite(distortion[:, 0])
    attacked = np.where(divergence <= level[:, None], distortion, np.inf).min(1)
    return np.where(known, level, 0.0), np.where(known, attacked, np.nan)


@dataclass(frozen=True, kw_only=True)
class _Certifier:
    """Certifies pairs of a bench; the model is read when the first row is missing, and then once."""

    bench: Bench

    @functools.cached_property
    def r(self) -> float:
        """Half the median distance of the plan's own pairs, which an extension does not change."""
        return half_the_median_distance(*self.bench.pair_images(np.arange(self.bench.first)))

    @functools.cached_property
    def figures(self) -> tuple[Part, ...]:
        """What is certified."""
        return _FIGURES[self.bench.spec.certified_through]

    @functools.cached_property
    def prepared(self) -> Prepared:
        """The model, read at the first of the plan's own pairs."""
        originals, _ = self.bench.pair_images(np.arange(self.bench.first))
        model = prepare(
            self.bench.ae, originals, most=self.bench.spec.certificate_work,
            parts=("encoder",) if self.figures == ("distortion",) else ("encoder", "decoder"),
            decoder_alone=False,
        )  # fmt: skip
        _, _, model.coordinates = _afforded(model, self.bench.spec, self.figures)
        return model

    def known(self) -> dict[str, Any]:
        """What is known of the model whatever the pairs, kept like a row."""
        settings = {"work": self.bench.spec.certificate_work, "figures": self.figures}
        rows = self.bench.kept("certified", "certificates", ["model"], self._of_model, 1, settings)
        known: dict[str, Any] = json.loads(str(rows["known"][0]))
        return known

    def _of_model(self, _: Rows) -> Arrays:
        with torch.no_grad():
            model = self.prepared
            balls, pairs, _coordinates = _afforded(model, self.bench.spec, self.figures)
            found = {
                "balls": balls, "pairs": pairs, "certified": model.encoder is not None,
                "largest_damage": model.largest_damage,
                "encoder": _lipschitz(model.constants("encoder")), "decoder": _lipschitz(model.constants("decoder")),
                "refusals": model.refusals,
            }  # fmt: skip
        return {"known": np.array([json.dumps(found)])}

    def of_pairs(self, levels: Floats, balls: int, pairs: int) -> Arrays:
        """Certificates of the first pairs, kept row by row."""
        settings = {
            "work": self.bench.spec.certificate_work, "figures": self.figures, "balls": balls, "r": self.r,
            "budgets": self.bench.radii(BUDGETS), "divergence": self.bench.divergence,
        }  # fmt: skip
        keys = [f"{key}:{level!r}" for key, level in zip(self.bench.pair_keys(pairs), levels.tolist(), strict=True)]
        measure = partial(self._measure, levels=levels, balls=balls)
        return self.bench.kept("certificates", "certificates", keys, measure, _AT_ONCE, settings)

    def _measure(self, chunk: Rows, levels: Floats, balls: int) -> Arrays:
        model = self.prepared
        originals, targets = (side.detach().cpu().double() for side in self.bench.pair_images(chunk))
        budgets = torch.tensor(self.bench.radii(BUDGETS), dtype=torch.float64).expand(len(chunk), -1)
        asked = Asked(
            divergence=self.bench.divergence, levels=torch.from_numpy(levels[chunk])[:, None], budgets=budgets,
            r=self.r, balls=balls, figures=self.figures,
            local=self.figures if "divergence" in self.figures else ("distortion",),
        )  # fmt: skip
        with torch.no_grad():
            found = certificates_of(model, originals, targets, asked)
        return {**_rows_of(found), "refusals": np.array([json.dumps(found.refusals)] * len(chunk))}


def _rows_of(found: Certificates) -> Arrays:
    """A row a pair; NaN where nothing is certified."""
    pairs, budgets = len(found.spans), found.budgets.shape[1]
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "distortion": (found.relative_distortion, (pairs, 1)), "clean": (found.clean_divergence, (pairs,)),
        "divergence": (found.divergence, (pairs, budgets)), "damage": (found.damage, (pairs, budgets)),
        "margin": (found.margin, (pairs,)),
    }  # fmt: skip
    return {
        name: np.full(shape, np.nan) if figures is None else plain(figures) for name, (figures, shape) in shapes.items()
    }


def _lipschitz(constants: Constants | None) -> dict[str, float] | None:
    return None if constants is None else asdict(LipschitzBound(constant=constants.mean, product=constants.product))


def _afforded(model: Prepared, spec: Spec, figures: tuple[Part, ...]) -> tuple[int, int, int]:
    """Balls around each original, pairs, and coordinates of a divergence's matrix, by their counted work.

    Local bounds are for as many pairs as the work is enough for; where these are too few for an interval, bounds over
    all inputs are given for all pairs instead.
    """
    if model.encoder is None:
        return 0, spec.certified, 0
    coordinates = sum(math.prod(step.event) for step in model.encoder.steps)
    newton, kept = newton_work(coordinates, len(BUDGETS) + 1), model.coordinates
    if coordinates > kept or newton * spec.certified > spec.certificate_work:
        newton = kept = 0
    encoder, decoder = model.work_of_encoder(), model.work_of_decoder()
    left = spec.certificate_work - encoder.once - decoder.once - 2 * (encoder.each + decoder.each)
    each = spec.certified_balls * (encoder.each + newton) + newton
    if "divergence" in figures:
        each += len(BUDGETS) * (encoder.each + decoder.each + newton) + spec.certified_balls * decoder.each
    pairs = min(spec.certified, int(max(left, 0) / max(each, 1)))
    enough = spec.certified_balls > 0 and pairs >= min(SMALLEST_SAMPLE, spec.certified)
    return (spec.certified_balls, pairs, kept) if enough else (0, spec.certified, kept)


def certified_of(
    rows: Arrays, known: dict[str, Any], curves: Curves, level: Floats, attacked: Floats, damage: Damage, *,
    r: float, divergence: str,
) -> Certified:  # fmt: skip
    """What the certificates come to.

    Args:
        rows: of `_rows_of`, of the first pairs; empty where the encoder is not certified.
        known: of the model, whatever the pairs.
        curves: of all pairs.
        level: Delta that was asked for, `(pairs,)`.
        attacked: X of the targeted attack there, `(pairs,)`.
        damage: of the untargeted attack.
        r: of the margin.
        divergence: Delta.
    """
    pairs, budgets = len(level), len(damage.radii)
    nothing = {
        "distortion": np.full((pairs, 1), np.nan), "clean": np.full(pairs, np.nan), "margin": np.full(pairs, np.nan),
        "divergence": np.full((pairs, budgets), np.nan), "damage": np.full((pairs, budgets), np.nan),
    }  # fmt: skip
    figures = {**nothing, **rows}
    distortion = figures["distortion"][:, 0]
    reasons = [json.loads(str(row)) for row in rows.get("refusals", ())]
    with np.errstate(divide="ignore", invalid="ignore"):
        tightness = np.where(attacked > 0, distortion / attacked, np.nan)
    return Certified(
        divergence_name=divergence, originals=curves.originals[:pairs], targets=curves.targets[:pairs],
        level=level, distortion=distortion, attacked=attacked, radii=damage.radii, clean=figures["clean"],
        divergence=figures["divergence"], damage=figures["damage"],
        attacked_damage=damage.displacement_of(curves.originals[:pairs]), margin=figures["margin"], r=r, sampled=True,
        balls=known["balls"], largest_damage=known["largest_damage"],
        **{role: None if known[role] is None else LipschitzBound(**known[role]) for role in ("encoder", "decoder")},
        refusals={**known["refusals"], **{part: why for row in reasons for part, why in row.items()}},
        certified_distortion=estimate(
            distortion, unit="distortion", higher_is_better=DIRECTIONS["certified_distortion"]
        ),
        tightness=estimate(tightness),
        damage_bounds=tuple(
            estimate(column, unit=INPUT_UNITS, higher_is_better=False) for column in figures["damage"].T
        ),
    )  # fmt: skip


def _beaten(found: Certified) -> tuple[int, int]:
    """At how many pairs an attack was better than its certificate: the targeted one, and the untargeted one."""
    targeted = found.distortion > found.attacked * (1 + _BEATEN)
    untargeted = found.attacked_damage > found.damage * (1 + _BEATEN)
    return int(targeted.sum()), int(untargeted.any(1).sum())
