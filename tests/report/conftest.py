"""A synthetic report whose curves, hinges and spectra are chosen, not measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vaeaudit.health import Finding
from vaeaudit.report.certificates import Certified, LipschitzBound
from vaeaudit.report.curves import Curves
from vaeaudit.report.damage import Damage
from vaeaudit.report.gallery import BallPictures, Gallery
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.local import LocalPrediction, LocalStep
from vaeaudit.report.model import AuditReport
from vaeaudit.report.movement import CHANNEL_UNITS, LatentMovement
from vaeaudit.report.provenance import Provenance
from vaeaudit.report.worst_case import EFFECTS, AttackEffects, AttackFamily, WorstCase
from vaeaudit.statistics import SMALLEST_SAMPLE, Estimate

MakeReport = Callable[..., AuditReport]
NO_FIGURE = Estimate(value=math.nan, low=-math.inf, high=math.inf, n=0)
WARNING = Finding(
    name="attack_not_converged",
    severity="warning",
    message="4 % of the optimisations stopped before they met their tolerance.",
    remedy="Allow more steps: max_iterations=2000.",
)
INVALID = Finding(
    name="gradient_masked",
    severity="invalid",
    message="A perturbed copy of the model is far easier to fool, so its gradients mislead the attack.",
    remedy="Audit the model without its quantisation step.",
    affects=("hinge", "encoder"),
)


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    """The maker of synthetic reports; see `synthetic`."""
    return synthetic


def synthetic(
    *,
    name: str = "beta-vae",
    pairs: int = 50,
    strengths: int = 24,
    censored: int = 0,
    excluded: int = 0,
    shift: float = 0.0,
    reach: float = 6.0,
    event: tuple[int, ...] = (1, 12, 12),
    gallery: bool = True,
    sections: bool = True,
    health: tuple[Finding, ...] = (WARNING,),
    seed: int = 0,
    hinges: np.ndarray[Any, Any] | None = None,
    **changes: Any,
) -> AuditReport:
    """A report of broken-stick curves.

    The last `censored` pairs do not saturate, the first `excluded` pairs are excluded; `shift` is added to
    every pair's hinge, on top of a spread that depends on the seed alone; `event` is the shape of one input;
    `sections` says whether damage and pullback scores were measured; `hinges` are each pair's own, instead
    of the spread; `changes` replace fields of the report.
    """
    curves = _curves(pairs, strengths, censored, excluded, shift, reach, seed, hinges)
    kept = np.where(curves.excluded, np.nan, 1.0)
    report = AuditReport(
        name=name,
        hinge=_estimate(curves.hinge * kept, unit="distortion", higher_is_better=True, open_above=censored > 0),
        auddc=_estimate(curves.auddc * kept, statistic="mean", unit="area", higher_is_better=True),
        linearity=_estimate(curves.linearity * kept),
        floor=_estimate(curves.floor * kept),
        reach=_estimate(curves.reach, statistic="mean", unit="input units"),
        reconstruction_error=_estimate(curves.reconstruction_error, statistic="mean", unit="input units"),
        damage=_damage(seed) if sections else None,
        encoder=_geometry("wasserstein", 11.0, 64, seed) if sections else None,
        decoder=_geometry("decoder", 4.0, 64, seed + 1) if sections else None,
        round_trip=_geometry("round_trip", 30.0, 64, seed + 2) if sections else None,
        local=_local(pairs, seed) if sections else None,
        worst_case=_worst(curves, seed) if sections else None,
        certificates=_certified(curves, seed) if sections else None,
        curves=curves,
        health=health,
        provenance=_provenance(seed),
        gallery=_gallery(curves, event, seed) if gallery else None,
    )
    return dataclasses.replace(report, **changes)


def _worst(curves: Curves, seed: int) -> WorstCase:
    """Three attacks of each kind, of which the second is the worst on most rows."""
    rng, images, radii = np.random.default_rng(seed + 7), 12, np.array([0.28, 0.56, 1.4])
    names = ("maximum_damage", "latent_kl", "random_search")
    size = np.array([0.95, 1.0, 0.7])[:, None, None] * rng.normal(1, 0.02, (3, images, 3))
    effects = {name: np.abs(rng.normal(0.5, 0.1, (images, 3))) for name in EFFECTS}
    broke = rng.uniform(0.3, 1.4, images)

    def family(kind: Any, norm: str, figures: np.ndarray[Any, Any]) -> AttackFamily:
        damage = kind == "damage"
        worst = figures.max(0) if damage else figures.min(0)
        return AttackFamily(
            kind=kind, norm=norm, radii=radii if norm == "l2" else radii / 28, attacks=names, figures=figures,
            originals=np.arange(images), targets=np.zeros(0, dtype=np.int64) if damage else np.arange(images) + 1,
            estimates=tuple(
                _estimate(one, statistic="mean" if damage else "median", higher_is_better=not damage) for one in worst.T
            ),
            shares=(figures == worst).mean(1),
        )  # fmt: skip

    return WorstCase(
        damage=family("damage", "l2", 6 * radii * size), damage_linf=family("damage", "linf", 4 * radii * size),
        gap=family("gap", "l2", 1 - 0.2 * radii * size), gap_linf=family("gap", "linf", 1 - 0.1 * radii * size),
        effects=AttackEffects(
            radii=radii, images=np.arange(images), figures=effects,
            estimates={name: tuple(_estimate(one) for one in figures.T) for name, figures in effects.items()},
            refusals={}, r=3.0, broke=broke, unbroken=np.zeros(images, dtype=bool), margin=_estimate(broke),
        ),
    )  # fmt: skip


def _estimate(
    values: np.ndarray[Any, Any], *, statistic: Any = "median", open_above: bool = False, **attributes: Any
) -> Estimate:
    """An estimate with a normal interval: quick, and good enough to be looked at."""
    values = values[~np.isnan(values)]
    if not values.size:
        return dataclasses.replace(NO_FIGURE, statistic=statistic, **attributes)
    value = float(np.median(values) if statistic == "median" else np.mean(values))
    half = 1.96 * float(np.std(values)) / math.sqrt(values.size) if values.size >= SMALLEST_SAMPLE else math.inf
    high = math.inf if open_above else value + half
    return Estimate(value=value, low=value - half, high=high, n=values.size, statistic=statistic, **attributes)


def _curves(
    pairs: int, strengths: int, censored: int, excluded: int, shift: float, reach: float, seed: int, hinges: Any
) -> Curves:
    rng = np.random.default_rng(seed)
    spread = np.clip(0.5 + 0.12 * rng.standard_normal(pairs), 0.15, 0.85) + shift
    hinge = spread if hinges is None else np.asarray(hinges, dtype=float)
    order = np.arange(pairs)
    left_out, open_ended = order < excluded, order >= pairs - censored
    reached = np.where(open_ended, 0.7 * hinge, 1.15 * hinge)
    distortion = reached[:, None] / (1 + np.geomspace(0.02, 60, strengths))[None, :]
    gap = np.maximum(0, 1 - distortion / hinge[:, None]) * 0.97 + 0.01
    gap[left_out] = np.nan
    return Curves(
        strengths=np.geomspace(1e-3, 1e3, strengths),
        distortion=distortion,
        gap=gap,
        divergence=200 * gap**2,
        objective=200 * gap**2 + distortion,
        converged=rng.random((pairs, strengths)) > 0.04,
        disagreement=np.full((pairs, strengths), 0.03),
        originals=order,
        targets=order[::-1].copy(),
        reach=reach * (1 + 0.1 * rng.standard_normal(pairs)),
        excluded=left_out,
        hinge=np.where(open_ended, reached, hinge),
        censored=open_ended,
        floor=np.full(pairs, 0.01),
        slope=0.97 / hinge,
        r_squared=np.full(pairs, 0.999),
        linearity=np.clip(0.99 + 0.004 * rng.standard_normal(pairs), 0, 1),
        auddc=hinge / 2,
        reconstruction_error=2.15 + 0.5 * np.sin(1 + order),
        evaluations=1000 + order,
        spans=10.0 + np.cos(order),
        labels=np.stack([order % 10, order[::-1] % 10], axis=1),
    )


def _damage(seed: int) -> Damage:
    rng = np.random.default_rng(seed)
    radii = np.array([0.5, 1.0, 2.0])
    displacement = radii * (2.4 + 0.5 * rng.standard_normal((32, 1))) ** 0.9
    return Damage(
        radii=radii,
        displacement=displacement,
        images=np.arange(32),
        estimates=tuple(
            _estimate(column, statistic="mean", unit="input units", higher_is_better=False) for column in displacement.T
        ),
        gains=tuple(
            _estimate(column / radius, statistic="mean", higher_is_better=False)
            for column, radius in zip(displacement.T, radii, strict=True)
        ),
        latent=_movement(0.4 * displacement),
    )


def _movement(moved: np.ndarray[Any, Any]) -> LatentMovement:
    """Four channels, of which the last hardly varies without attack and moves least under it."""
    shares = np.array([0.5, 1.5, 1.0, 0.01])
    return LatentMovement(
        moved=moved,
        estimates=tuple(
            _estimate(column, statistic="mean", unit=CHANNEL_UNITS, higher_is_better=False) for column in moved.T
        ),
        by_channel=moved[:, -1].mean() * shares,
        by_channel_errors=moved[:, -1].std(ddof=1) / math.sqrt(len(moved)) * shares,
        deviations=np.array([1.0, 4.0, 0.5, 0.004]),
        collapsed=np.array([False, False, False, True]),
    )


def _certified(curves: Curves, seed: int) -> Certified:
    """Bounds of the first pairs at a fifth of what the attack needs; those of the damage useful at the smallest budget."""
    pairs, radii = min(12, len(curves.originals)), np.array([0.5, 1.0, 2.0])
    rng = np.random.default_rng(seed)
    attacked = curves.distortion[:pairs, 0]
    distortion = attacked * (0.2 + 0.05 * rng.random(pairs))
    damage = radii**2 * (12 + rng.random((pairs, 1)))
    return Certified(
        divergence_name="kl",
        originals=curves.originals[:pairs],
        targets=curves.targets[:pairs],
        level=curves.divergence[:pairs, 0],
        distortion=distortion,
        attacked=attacked,
        radii=radii,
        clean=np.full(pairs, 200.0),
        divergence=np.linspace(150, 0, 3) * np.ones((pairs, 1)),
        damage=damage,
        attacked_damage=0.1 * damage,
        margin=np.full(pairs, 0.02),
        r=3.0,
        sampled=True,
        balls=3,
        largest_damage=12.0,
        encoder=LipschitzBound(constant=36.0, product=114.0),
        decoder=LipschitzBound(constant=226.0, product=400.0),
        refusals={},
        certified_distortion=_estimate(distortion, unit="distortion", higher_is_better=True),
        tightness=_estimate(distortion / attacked),
        damage_bounds=tuple(_estimate(column, unit="L2 of input", higher_is_better=False) for column in damage.T),
    )


def _local(pairs: int, seed: int) -> LocalPrediction:
    """Steps that fall ever shorter of the prediction, by a curvature that differs between images."""
    rng = np.random.default_rng(seed)
    radii = np.array([0.05, 0.1, 0.5, 1.0, 2.0])
    order = np.arange(pairs)
    shares = {
        name: tuple(_estimate(column) for column in figures.T)
        for name, figures in {
            "untargeted": np.linspace(0.95, 0.75, 3) - 0.1 * rng.random((pairs, 3)),
            "targeted": np.linspace(0.7, 0.4, 3) - 0.3 * rng.random((pairs, 3)),
        }.items()
    }
    return LocalPrediction(
        radii=radii,
        originals=order,
        targets=order[::-1].copy(),
        latent=_local_step("wasserstein", radii, 11.0, 0.8 + 0.4 * rng.random(pairs)),
        reconstruction=_local_step("round_trip_mean", radii, 30.0, 1.2 + 0.4 * rng.random(pairs)),
        compared=radii[2:],
        untargeted_share=np.full((pairs, 3), 0.85),
        targeted_share=np.full((pairs, 3), 0.5),
        **shares,
    )


def _local_step(metric: str, radii: np.ndarray[Any, Any], eigenvalue: float, bend: np.ndarray[Any, Any]) -> LocalStep:
    predicted = np.broadcast_to(0.9 * np.sqrt(eigenvalue) * radii, (len(bend), len(radii)))
    ratio = 1 / (1 + (bend[:, None] * radii) ** 2)
    return LocalStep(
        metric=metric,
        eigenvalue=np.full(len(bend), eigenvalue),
        predicted=predicted,
        realised=predicted * ratio,
        attained=tuple(_estimate(0.9 * column) for column in ratio.T),
        linear=tuple(_estimate(column) for column in ratio.T),
        breaks=0.5 / bend,
        censored=np.full(len(bend), False),
        breaking_budget=_estimate(0.5 / bend, unit="input units"),
    )


def _geometry(metric: str, radius: float, images: int, seed: int) -> GeometryScores:
    rng = np.random.default_rng(seed)
    eigenvalues = radius * np.exp(-0.35 * np.arange(20)) * np.exp(0.25 * rng.standard_normal((images, 20)))
    eigenvalues = -np.sort(-eigenvalues, axis=1)
    eigenvalues[:, 16:] = 0.0
    share = eigenvalues[:, :16] / eigenvalues[:, :16].sum(axis=1, keepdims=True)
    entropy = -(share * np.log(share)).sum(axis=1)
    ratio = eigenvalues[:, :16] / eigenvalues[:, :1]
    per_image = {
        "spectral_radius": eigenvalues[:, 0],
        "condition_number": np.sqrt(eigenvalues[:, 0] / eigenvalues[:, 15]),
        "von_neumann_entropy": entropy,
        "effective_rank": np.exp(entropy),
        "entropy_khan2022": -(ratio * np.log(ratio)).sum(axis=1),
        "trace": eigenvalues.sum(axis=1),
        "log_pseudo_determinant": np.log(eigenvalues[:, :16]).sum(axis=1),
    }
    lower = ("spectral_radius", "condition_number", "trace")
    estimates = {
        score: _estimate(
            figures,
            unit="nats" if score == "von_neumann_entropy" else "",
            higher_is_better=False if score in lower else None,
        )
        for score, figures in per_image.items()
    }
    return GeometryScores(
        metric=metric,
        **estimates,
        per_image=per_image,
        resolved=np.full(images, True),
        variances=np.where(np.arange(20) < 16, 0.9, 1e-5),
        variance_errors=np.full(20, 1e-6),
        active_variance=0.01,
        active_units=Estimate(value=16, low=15, high=17, n=images, unit="units", statistic="count"),
        eigenvalues=eigenvalues,
        images=np.arange(images),
    )


def _gallery(curves: Curves, event: tuple[int, ...], seed: int) -> Gallery:
    shown = np.arange(len(curves.originals))[-3:]
    columns = np.arange(len(curves.strengths))[:: -(-len(curves.strengths) // 5)]
    originals, targets = _shapes(event, len(shown), seed), _shapes(event, len(shown), seed + 1)
    weight = np.nan_to_num(1 - curves.gap[np.ix_(shown, columns)], nan=0.0)
    weight = weight.reshape(len(shown), len(columns), *(1 for _ in event))
    mixed = (1 - weight) * originals[:, None] + weight * targets[:, None]
    noise = 0.25 * weight * np.random.default_rng(seed).standard_normal(mixed.shape)
    return Gallery(
        pairs=shown,
        strengths=columns,
        bounds=(0.0, 1.0),
        originals=originals,
        targets=targets,
        original_reconstructions=0.9 * originals,
        target_reconstructions=0.9 * targets,
        adversarials=np.clip(originals[:, None] + noise, 0, 1).astype(np.float32),
        reconstructions=(0.9 * mixed).astype(np.float32),
        untargeted=_pushed(originals, seed),
    )


def _pushed(originals: np.ndarray[Any, Any], seed: int) -> BallPictures:
    """The images under noise that grows with the budget; their reconstructions move three times as far."""
    radii = np.array([0.28, 0.56, 1.4])
    noise = np.random.default_rng(seed + 9).standard_normal((len(originals), 1, *originals.shape[1:]))
    noise /= np.sqrt(np.sum(noise**2, axis=tuple(range(2, noise.ndim)), keepdims=True))
    noise = noise * radii.reshape(1, -1, *(1 for _ in originals.shape[1:]))
    return BallPictures(
        images=np.arange(len(originals)),
        radii=radii,
        displacement=3 * radii * np.array([[1.0], [1.2], [0.8]])[: len(originals)],
        originals=originals,
        original_reconstructions=0.9 * originals,
        adversarials=(originals[:, None] + noise).astype(np.float32),
        reconstructions=(0.9 * originals[:, None] + 3 * noise).astype(np.float32),
    )


def _shapes(event: tuple[int, ...], count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rings and bars: something an eye can tell apart."""
    along = [np.linspace(-1, 1, size) for size in event]
    grid = np.meshgrid(*along, indexing="ij")[-2:]
    distance = np.sqrt(np.sum(np.square(grid), axis=0))
    pictures = [
        np.exp(-(((distance - 0.3 - 0.2 * k) if seed % 2 == 0 else grid[-1] - 0.3 * (k - 1)) ** 2) / 0.03)
        for k in range(count)
    ]
    return np.stack(pictures).astype(np.float32)


def _provenance(seed: int) -> Provenance:
    return Provenance(
        preset="standard",
        seed=seed,
        settings={"divergence": "kl", "penalty": "l2_squared", "strengths": 24, "samples": 100},
        environment={"vaeaudit": "0.1.0", "torch": "2.15.0", "python": "3.11.7", "device": "cpu", "dtype": "float32"},
        weights="a3f1" * 16,
        data="09be" * 16,
        seconds={"targeted attack": 41.2, "damage": 6.4, "geometry": 3.9},
    )
