"""What torchrun tells a process in its environment: which GPU is its own, and whether it is started again after a verdict."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vaeaudit.errors import OptionError
from vaeaudit.files import make_folder, write_atomically

_VERDICT = ".vaeaudit-verdict"
_MOST_BYTES = 2**12


def take_own_gpu(environment: Mapping[str, str] = os.environ) -> None:
    """Make the process's own GPU the current one, so that a model that is made with `.cuda()` lives there."""
    own = _whole(environment, "LOCAL_RANK")
    if own < torch.cuda.device_count():
        torch.cuda.set_device(own)


def placed(settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """An audit's settings with its place in this process: of several on a machine, each has the GPU of its local rank.

    "cuda" without a number, and "all" GPUs of a machine, are then this one. A place that is named with its number is
    meant, and a model that is not told where to go stays where it lives.

    Args:
        settings: as for `vaeaudit.audit`.
        environment: of the process.

    Raises:
        OptionError: several processes on a machine are given several GPUs each.
    """
    own, beside = _whole(environment, "LOCAL_RANK"), _whole(environment, "LOCAL_WORLD_SIZE", 1)
    devices = settings.get("devices")
    if settings.get("device") == "cuda":
        return {**settings, "device": f"cuda:{own}"}
    if beside == 1 or devices is None:
        return dict(settings)
    rest = {name: value for name, value in settings.items() if name != "devices"}
    if devices == "all":
        return {**rest, "device": f"cuda:{own}"} if torch.cuda.is_available() else rest
    if any(str(device).startswith("cuda") for device in devices):
        raise OptionError(
            f"devices={list(devices)} would be taken by each of the {beside} processes on this machine; say "
            'device = "cuda", which gives each a GPU of its own, or start one process a machine (--nproc-per-node 1)'
        )
    return dict(settings)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One of the times that torchrun starts the processes of a run.

    torchrun starts all of them again when one ends with a status other than 0, as with a bar that failed. A verdict
    that was reached is written down until the last attempt, so that those after it repeat it and measure nothing.

    Attributes:
        run: torchrun's name of the run.
        count: attempts before this one.
        most: of those that may come after the first.
    """

    run: str
    count: int
    most: int

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Attempt:
        """Of this process; the first and only one where torchrun has not started it."""
        count, most = (_whole(environment, f"TORCHELASTIC_{name}") for name in ("RESTART_COUNT", "MAX_RESTARTS"))
        return cls(run=environment.get("TORCHELASTIC_RUN_ID", ""), count=count, most=most)

    def verdict_before(self, output: Path) -> int | None:
        """The exit status that an earlier attempt of this run came to; what another run left there is removed."""
        status = self._read(output / _VERDICT) if self.count else None
        if status is None or self.count >= self.most:
            with contextlib.suppress(OSError):
                (output / _VERDICT).unlink(missing_ok=True)
        return status

    def note(self, status: int, output: Path) -> None:
        """Write down an exit status, where torchrun would start the processes again because of it.

        Raises:
            StorageError: it cannot be written.
        """
        if status and self.count < self.most:
            make_folder(output)
            words = json.dumps({"run": self.run, "status": status}).encode()
            write_atomically(output / _VERDICT, lambda file: file.write(words))

    def _read(self, path: Path) -> int | None:
        try:
            with path.open("rb") as file:
                said = json.loads(file.read(_MOST_BYTES))
            return int(said["status"]) if said["run"] == self.run and 0 < int(said["status"]) < 2**7 else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # without a verdict that can be read, it is measured again


def _whole(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else default
