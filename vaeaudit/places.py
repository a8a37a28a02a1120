"""Where an audit measures: the devices asked for, and what none of them can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from vaeaudit.autoencoder import Autoencoder, Precision, checked_device, same_device
from vaeaudit.errors import ModelError, OptionError

Devices = Sequence[str | torch.device] | Literal["all"] | None


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


def placed(
    subject: Autoencoder, places: Sequence[str | torch.device | None], precision: Precision | None
) -> tuple[Autoencoder, torch.device, tuple[torch.device, ...]]:
    """A subject on the first of some places, where that is, and the devices that measure beside it.

    Args:
        subject: the model; on another device than its own, a copy of it is placed.
        places: from `places_named`.
        precision: asked for, of the attack's rough phase.

    Raises:
        OptionError: devices that cannot share an audit, or a precision that would be asked for in vain.
        ModelError: a device that does not compute in float64.
    """
    first, *others = places
    subject = subject.on(first)
    place = _place(subject, first)
    crew = _crew(place, others)
    _check_use_of_precision(precision, subject, crew)
    return subject, place, crew


def _place(subject: Autoencoder, device: str | torch.device | None) -> torch.device:
    place = subject.device or checked_device(device or "cpu")
    if place.type in ("mps", "meta"):
        raise ModelError(
            f"figures need float64, which {place.type} does not compute; audit a copy on the CPU: device='cpu'"
        )
    return place


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
