"""The calls: `plan` settles an audit, and `audit` measures it at once."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import attacks, extensions
from vaeaudit.adapters import wrap
from vaeaudit.affording import WORK, Extent, cost_of, shortened
from vaeaudit.attacks import Penalty, Strengths
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.data import Images, load_images
from vaeaudit.divergences import CHANNEL_NORMALISED, channel_normalised, divergence_named, latent_deviations
from vaeaudit.errors import OptionError
from vaeaudit.health import checked_names
from vaeaudit.identity import data_identity, model_identity, settings_of
from vaeaudit.measurements.activity import varied_rows
from vaeaudit.measurements.bench import Progress
from vaeaudit.options import check_attack, check_extent, values_asked
from vaeaudit.pairs import Pairs, draw_pairs, positions_named
from vaeaudit.places import Devices, placed, places_named
from vaeaudit.planning import Plan, pixels_of
from vaeaudit.probe import probe
from vaeaudit.processes.ranks import Ranks
from vaeaudit.report.model import AuditReport
from vaeaudit.spec import Spec, preset_named


def audit(
    ae: Any,
    images: Any,
    preset: str = "standard",
    pairs: Pairs = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    *,
    devices: Devices = None,
    strengths: Strengths = None,
    divergence: str = "kl",
    penalty: Penalty = "l2_squared",
    precision: Precision | None = None,
    suppress: Sequence[str] = (),
    work: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    ranks: Ranks | None = None,
) -> AuditReport:
    """Measure how easily an autoencoder can be fooled.

    Draws original/target pairs, runs the targeted latent attack of Tabacof et al. (2016) over a
    series of C for all pairs, fits the hinge of every trade-off curve, attacks untargeted at fixed
    budgets, computes the pullback spectra of Khan and Storkey (2022), and probes the model's
    health. The model comes back exactly as it went in.

    Args:
        ae: an `Autoencoder`, or a model that `wrap` recognises.
        images: a tensor or array `(n, *event)`, a pair `(images, labels)`, a Dataset or a
            DataLoader; with labels, a pair's two images differ in label.
        preset: "quick", "standard" or "thorough".
        pairs: how many pairs, or their `(original, target)` positions; None takes the preset's
            number, or as many as there are images.
        device: where to measure; None is where the model lives. On another device a copy is measured.
        devices: several instead, of one kind, or "all" the machine's GPUs: the first as `device`, and copies of the
            model on the others, which share the pairs of the targeted attack. Figures are those of one device, to
            rounding. Without a GPU, "all" is where the model lives.
        seed: the same seed on the same machine repeats every figure.
        strengths: series of C, see `vaeaudit.attacks.targeted`; None chooses one for the model, lowers it
            further for curves that do not saturate, and makes it denser where they bend.
        divergence: between posteriors, see `vaeaudit.divergences`.
        penalty: on the distortion, "l2_squared" or "l2".
        precision: "bfloat16" or "tf32" lets the targeted attack look for its starting points in a lower precision,
            which is faster on GPUs made for it; they are polished, and every figure is measured, in the model's own.
        suppress: names of health checks (docs/health.md) whose findings are told as suppressed and invalidate nothing.
        work: multiply-adds that the audit may take, about; None takes the preset's (`vaeaudit.affording.WORK`). What
            would take more is shortened, and the report says so.
        checkpoint: folder in which finished measurements are kept, so that the same call goes on
            where a killed one stopped; delete it when the report is saved.
        progress: called as `progress(measurement, finished, total)`, in the first of several processes.
        ranks: the processes, on one machine or several, that share the measurements: `with vaeaudit.together() as
            ranks`. Each is given the same model and images, and returns the same report (docs/distributed.md).

    Returns:
        The report.

    Raises:
        DataError: images, labels or pairs that cannot be audited.
        EncoderOutputError: an encoder or decoder whose output is ambiguous.
        ModelError: a model whose parts do not fit, or that returns non-finite values.
        GradientError: a model through which no gradient flows.
        OptionError: an unknown preset, divergence, penalty, series or health check.
        RanksError: the processes were not given the same, or another one has failed or is gone.
    """
    planned = plan(
        ae, images, preset, pairs, device, seed, devices=devices, strengths=strengths, divergence=divergence,
        penalty=penalty, precision=precision, suppress=suppress, work=work,
    )  # fmt: skip
    return planned.report(checkpoint=checkpoint, progress=progress, ranks=ranks)


def plan(
    ae: Any,
    images: Any,
    preset: str = "standard",
    pairs: Pairs = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    *,
    devices: Devices = None,
    strengths: Strengths = None,
    divergence: str = "kl",
    penalty: Penalty = "l2_squared",
    precision: Precision | None = None,
    suppress: Sequence[str] = (),
    work: float | None = None,
    most_pairs: int | None = None,
) -> Plan:
    """Load the data, draw the pairs, probe the model and choose the series of C: all of an audit but measuring.

    Args:
        ae: as for `audit`, and so are the others but the last.
        images: a tensor, array, Dataset or DataLoader.
        preset: "quick", "standard" or "thorough".
        pairs: how many pairs are measured first, or their positions.
        device: where to measure.
        devices: several devices instead.
        seed: of everything random.
        strengths: series of C; None chooses one by the pairs that are measured first.
        divergence: between posteriors.
        penalty: on the distortion.
        precision: of the attack's rough phase.
        suppress: names of health checks that are set aside.
        work: multiply-adds that it may take.
        most_pairs: how many pairs the plan may be extended to; None is those that are measured first. Fewer
            where the data allow no more; without effect where the pairs themselves are given.

    Raises:
        AuditError: as `audit` does for what it is given.
    """
    began = time.perf_counter()
    spec = preset_named(preset)
    check_extent(seed=seed, pairs=pairs, most_pairs=most_pairs, strengths=strengths, work=work)
    check_attack(divergence=divergence, penalty=penalty, precision=precision)
    values = values_asked(spec.strengths if strengths is None else strengths)
    extensions.active()  # whose checks can be set aside by name
    suppressed = checked_names(suppress)
    subject = wrap(ae)
    training = subject.training_modules()
    subject, place, crew = placed(subject, places_named(device, devices), precision)
    with subject.at_rest(seed):
        model = model_identity(subject, place)
        data = load_images(
            images, bounds=subject.bounds, dtype=subject.figures_dtype, seed=seed, include=positions_named(pairs),
            limit=_images_wanted(spec, pairs, most_pairs),
        )  # fmt: skip
        first, drawn = _drawn(data, pairs, most_pairs, spec, seed)
        pixels = pixels_of(data, subject.bounds, place)
        started = time.perf_counter()
        extent = Extent(pairs=first, strengths=values, images=len(pixels), automatic=strengths is None)
        spec = shortened(spec, cost_of(subject, pixels), extent, WORK[preset] if work is None else work)
        probed = probe(subject, pixels, tried=spec.probed, calls=spec.asked)
        probing = time.perf_counter() - started
        used = _divergence_used(subject, pixels, divergence, spec, seed)
        series = _series(subject, pixels, drawn[:first], spec, strengths, used, penalty)
    name, _ = divergence_named(used, deterministic=probed.deterministic_code)
    settings = settings_of(
        subject, data, spec, strengths=strengths, divergence=name, penalty=penalty, precision=precision
    )
    identity = {
        **model, "behaviour": probed.behaviour, **data_identity(data, drawn[:first]), "preset": preset,
        "settings": settings, "seed": seed, "suppress": list(suppressed),
    }  # fmt: skip
    seconds = {"planning": round(time.perf_counter() - began - probing, 3), "probe": round(probing, 3)}
    return Plan(
        subject=subject, training=training, device=place, crew=crew, data=data, drawn=drawn, pairs=first, preset=preset,
        spec=spec, series=series, automatic=strengths is None, divergence=used, penalty=penalty, precision=precision,
        seed=seed, settings=settings, probed=probed, identity=identity, seconds=seconds, suppress=suppressed,
    )  # fmt: skip


def _images_wanted(spec: Spec, pairs: Pairs, most_pairs: int | None) -> int:
    """Images to load: the preset's, or one for each pair there may be."""
    if pairs is not None and not isinstance(pairs, (int, np.integer)):
        return spec.images
    return max(spec.images, int(pairs or 0), int(most_pairs or 0))


def _drawn(data: Images, pairs: Pairs, most_pairs: int | None, spec: Spec, seed: int) -> tuple[int, NDArray[np.int64]]:
    """How many pairs are measured first, and all that may be."""
    first = draw_pairs(data, pairs, default=spec.pairs, seed=seed)
    if most_pairs is None or (pairs is not None and not isinstance(pairs, (int, np.integer))):
        return len(first), first
    if most_pairs < len(first):
        raise OptionError(f"most_pairs expects at least the {len(first)} pairs first measured, got {most_pairs}")
    return len(first), draw_pairs(data, min(int(most_pairs), len(data)), default=spec.pairs, seed=seed)


def _divergence_used(subject: Autoencoder, pixels: torch.Tensor, divergence: str, spec: Spec, seed: int) -> str:
    """The divergence with all that it needs: the channels' deviations are those over the images, whatever the pairs."""
    if divergence != CHANNEL_NORMALISED:
        return divergence
    rows = torch.from_numpy(varied_rows(len(pixels), spec.varied, seed)).to(pixels.device)
    return channel_normalised(latent_deviations(subject.posteriors(pixels[rows])))


def _series(
    subject: Autoencoder, pixels: torch.Tensor, pairs: NDArray[np.int64], spec: Spec, strengths: Strengths,
    divergence: str, penalty: Penalty,
) -> torch.Tensor:  # fmt: skip
    """The values of C asked for, or chosen for these pairs."""
    rows = torch.from_numpy(pairs).to(pixels.device)
    return attacks.strength_series(
        subject, pixels[rows[:, 0]], pixels[rows[:, 1]], spec.strengths if strengths is None else strengths,
        divergence=divergence, penalty=penalty,
    )  # fmt: skip
