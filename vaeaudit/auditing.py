"""The calls: `plan` settles an audit, and `audit` measures it at once."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vaeaudit import attacks, extensions
from vaeaudit.adapters import wrap
from vaeaudit.affording import WORK, Extent, cost_of, shortened
from vaeaudit.attacks import Penalty, Strengths
from vaeaudit.autoencoder import Autoencoder, Precision, checked_device, checked_precision, same_device
from vaeaudit.data import Images, load_images
from vaeaudit.divergences import CHANNEL_NORMALISED, channel_normalised, divergence_named, latent_deviations
from vaeaudit.errors import ModelError, OptionError, brief
from vaeaudit.health import checked_names
from vaeaudit.identity import data_identity, model_identity, settings_of
from vaeaudit.measurements.activity import varied_rows
from vaeaudit.measurements.bench import Progress
from vaeaudit.pairs import Pairs, draw_pairs, positions_named
from vaeaudit.planning import Plan, pixels_of
from vaeaudit.probe import probe
from vaeaudit.processes.ranks import Ranks
from vaeaudit.report.model import AuditReport
from vaeaudit.spec import Spec, preset_named
from vaeaudit.tradeoff import FEWEST_STRENGTHS

Devices = Sequence[str | torch.device] | Literal["all"] | None
_MOST = {"pairs": 10**6, "most_pairs": 10**6, "strengths": 10**4}
"""Thousands of hours for the smallest model."""


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
    _check_numbers(seed, most_pairs)
    _check_extent(pairs=pairs, most_pairs=most_pairs, strengths=strengths)
    checked_precision(precision)
    _check_work(work)
    extensions.active()  # whose checks can be set aside by name
    suppressed = checked_names(suppress)
    subject = wrap(ae)
    training = subject.training_modules()
    first_device, *others = places_named(device, devices)
    subject = subject.on(first_device)
    place = _place(subject, first_device)
    crew = _crew(place, others)
    _check_use_of_precision(precision, subject, crew)
    with subject.at_rest(seed):
        model = model_identity(subject, place)
        data = load_images(
            images, bounds=subject.bounds, dtype=subject.figures_dtype, seed=seed, include=positions_named(pairs),
            limit=_images_wanted(spec, pairs, most_pairs),
        )  # fmt: skip
        first, drawn = _drawn(data, pairs, most_pairs, spec, seed)
        pixels = pixels_of(data, subject.bounds, place)
        started = time.perf_counter()
        extent = Extent(
            pairs=first, strengths=_strengths_asked(strengths, spec), images=len(data), automatic=strengths is None
        )
        spec = shortened(spec, cost_of(subject, pixels), extent, WORK[preset] if work is None else work)
        probed = probe(subject, pixels, tried=spec.probed, calls=spec.asked)
        probing = time.perf_counter() - started
        used = _divergence_used(subject, pixels, divergence, spec, seed)
        rows = torch.from_numpy(drawn[:first]).to(place)
        series = attacks.strength_series(
            subject, pixels[rows[:, 0]], pixels[rows[:, 1]], spec.strengths if strengths is None else strengths,
            divergence=used, penalty=penalty,
        )  # fmt: skip
    if len(series) < FEWEST_STRENGTHS:
        raise OptionError(
            f"strengths expects at least {FEWEST_STRENGTHS} different values of C for a curve, got {len(series)}"
        )
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
        subject=subject, training=training, device=place, crew=crew, data=data, drawn=drawn, pairs=first,
        preset=preset, spec=spec,
        series=series, automatic=strengths is None, divergence=used, penalty=penalty, precision=precision, seed=seed,
        settings=settings, probed=probed, identity=identity, seconds=seconds, suppress=suppressed,
    )  # fmt: skip


def places_named(device: str | torch.device | None, devices: Devices) -> list[str | torch.device | None]:
    """The devices asked for; [None] is where the model lives.

    Raises:
        OptionError: no device, or both ways of naming one.
    """
    if devices is None:
        return [device]
    if device is not None:
        raise OptionError("device= names one device and devices= several; pass one of them")
    if devices == "all":
        return [torch.device("cuda", i) for i in range(torch.cuda.device_count())] or [None]
    if isinstance(devices, (str, torch.device)) or not isinstance(devices, Sequence) or not devices:
        raise OptionError(f"devices expects 'all' or a list such as ['cuda:0', 'cuda:1'], got {devices!r}")
    return list(devices)


def _check_use_of_precision(precision: Precision | None, subject: Autoencoder, crew: Sequence[torch.device]) -> None:
    """Refuse a precision that would be asked for in vain.

    Raises:
        OptionError: the model computes in another precision already, or tf32 is asked of several devices.
    """
    if precision is not None and subject.dtype != torch.float32:
        raise OptionError(
            f"precision={precision!r} is for float32 models, and this one computes in {subject.dtype}; leave it out"
        )
    if precision == "tf32" and crew:
        raise OptionError(
            "tf32 is one switch for the whole process, so several devices cannot use it; "
            "pass precision='bfloat16', or one device"
        )


def _crew(place: torch.device, others: Sequence[str | torch.device | None]) -> tuple[torch.device, ...]:
    """The devices that measure beside the first.

    Raises:
        OptionError: they are of another kind, or a GPU stands there twice.
    """
    if any(device is None for device in others):
        raise OptionError("devices expects names such as 'cuda:1', got None among them")
    crew = tuple(checked_device(device) for device in others if device is not None)
    for i, device in enumerate(crew):
        if device.type != place.type:
            raise OptionError(
                f"devices expects devices of one kind, since another kind rounds differently; got {place} and {device}"
            )
        if device.type != "cpu" and any(same_device(device, other) for other in (place, *crew[:i])):
            raise OptionError(f"devices names {device} twice")
    return crew


def _check_numbers(seed: Any, most_pairs: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise OptionError(f"seed expects an integer from 0 to 2**63 - 1, got {brief(seed)}")
    if most_pairs is not None and (isinstance(most_pairs, bool) or not isinstance(most_pairs, (int, np.integer))):
        raise OptionError(f"most_pairs expects a whole number or None, got {brief(most_pairs)}")


def _check_work(work: Any) -> None:
    if work is not None and (isinstance(work, bool) or not isinstance(work, (int, float)) or not work > 0):
        raise OptionError(f"work expects a positive number of multiply-adds, such as 1e15, or None, got {brief(work)}")


def _strengths_asked(strengths: Strengths, spec: Spec) -> int:
    """How many values of C a series has to begin with; what is no series counts as one value and is refused where it is made."""
    if strengths is None:
        return spec.strengths
    if isinstance(strengths, str):
        return len(attacks.STRENGTH_SERIES[strengths]()) if strengths in attacks.STRENGTH_SERIES else 1
    count = (
        strengths
        if isinstance(strengths, (int, np.integer))
        else len(strengths)
        if hasattr(strengths, "__len__")
        else 1
    )
    return max(1, int(count))


def _divergence_used(subject: Autoencoder, pixels: torch.Tensor, divergence: str, spec: Spec, seed: int) -> str:
    """The divergence with all that it needs: the channels' deviations are those over the images, whatever the pairs."""
    if divergence != CHANNEL_NORMALISED:
        return divergence
    rows = torch.from_numpy(varied_rows(len(pixels), spec.varied, seed)).to(pixels.device)
    return channel_normalised(latent_deviations(subject.posteriors(pixels[rows])))


def _check_extent(**asked: Any) -> None:
    """Refuse what no audit can measure, before anything is loaded or made for it."""
    for name, value in asked.items():
        count = value if _is_whole(value) else len(value) if hasattr(value, "__len__") else 0
        if count > _MOST[name]:
            raise OptionError(f"{name} asks for {brief(count)}, and an audit takes at most {_MOST[name]:,}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _place(subject: Autoencoder, device: str | torch.device | None) -> torch.device:
    place = subject.device or checked_device(device or "cpu")
    if place.type in ("mps", "meta"):
        raise ModelError(
            f"figures need float64, which {place.type} does not compute; audit a copy on the CPU: device='cpu'"
        )
    return place


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
