"""`Plan`: an audit with everything settled before it is measured, over as many pairs as are wanted."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit.attacks import Penalty
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.checkpoint import Checkpoint, Memory
from vaeaudit.data import Images
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.identity import environment_of
from vaeaudit.measurements import Measurements, Progress
from vaeaudit.probe import Probe
from vaeaudit.report.model import AuditReport, Provenance
from vaeaudit.run import Run
from vaeaudit.spec import Spec


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One audit that can be measured, and extended to more pairs; made by `vaeaudit.plan`.

    Rows that were measured once, at a pair or an image, are not measured again by this plan.

    Attributes:
        subject: the model, which outside `report` is as it came.
        training: kinds of its modules that came in training mode; None if none did.
        device: where it is measured.
        data: the images.
        drawn: rows of original and target, `(most_pairs, 2)`; the first n of more pairs are the same n.
        pairs: how many are measured first. They choose the series of C, which an extension keeps.
        preset: its name.
        spec: how much to measure.
        series: of C, ascending, `(strengths,)`.
        automatic: whether the series was chosen for the model.
        divergence: as it was asked for.
        penalty: on the distortion.
        seed: of everything random.
        settings: as a report keeps them, but for the number of pairs.
        probed: what the model was seen to do.
        identity: all that determines the figures but how many pairs are measured, as builtin values.
        seconds: that planning took.
    """

    subject: Autoencoder
    training: tuple[str, ...] | None
    device: torch.device
    data: Images
    drawn: NDArray[np.int64]
    pairs: int
    preset: str
    spec: Spec
    series: Tensor
    automatic: bool
    divergence: str
    penalty: Penalty
    seed: int
    settings: dict[str, Any]
    probed: Probe
    identity: dict[str, Any]
    seconds: dict[str, float]
    _memory: Memory = dataclasses.field(default_factory=dict, init=False, repr=False)

    @property
    def most_pairs(self) -> int:
        """Pairs up to which it can be extended."""
        return len(self.drawn)

    def report(
        self, pairs: int | None = None, *, checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> AuditReport:  # fmt: skip
        """Measure the first pairs.

        Args:
            pairs: how many, from `pairs` to `most_pairs`; None takes `pairs`.
            checkpoint: folder in which finished rows are kept, for a later process that plans the same.
            progress: called as `progress(measurement, finished, total)`.

        Raises:
            OptionError: more pairs than planned, or fewer than those that chose the series.
            ModelError: the model has changed since it was planned, or returns non-finite values.
        """
        count = self._checked(pairs)
        with self.subject.at_rest(self.seed):
            if self.subject.fingerprint() != self.identity["weights"]:
                raise ModelError("the model's weights have changed since the audit was planned; plan it again")
            return self._run(count, checkpoint, progress or _silent).report()

    def _checked(self, pairs: int | None) -> int:
        count = self.pairs if pairs is None else pairs
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
            raise OptionError(f"pairs expects a whole number, got {pairs!r}")
        if not self.pairs <= count <= self.most_pairs:
            raise OptionError(
                f"pairs={count} is not within this plan, which measures {self.pairs} pairs and can be extended to "
                f"{self.most_pairs}; plan again with another number of pairs or most_pairs"
            )
        return int(count)

    def _run(self, count: int, folder: str | os.PathLike[str] | None, progress: Progress) -> Run:
        rows_of = ("weights", "code", "behaviour", "versions", "dtype", "device_type", "bounds", "scale", "seed")
        key = {name: self.identity[name] for name in rows_of}
        measure = Measurements(
            ae=self.subject, data=self.data, images=pixels_of(self.data, self.subject.bounds, self.device),
            pairs=self.drawn[:count], first=self.pairs, spec=self.spec, divergence=self.divergence, penalty=self.penalty,
            seed=self.seed, checkpoint=Checkpoint(folder, key, self._memory), progress=progress,
        )  # fmt: skip
        provenance = Provenance(
            preset=self.preset, seed=self.seed, settings={"pairs": count, **self.settings},
            environment=environment_of(self.subject, self.device), weights=self.identity["weights"],
            data=self.identity["data"], source=self.data.source, seconds=self.seconds,
        )  # fmt: skip
        return Run(
            measure=measure,
            probed=self.probed,
            series=self.series,
            automatic=self.automatic,
            training=self.training,
            provenance=provenance,
        )


def pixels_of(data: Images, bounds: tuple[float, float], device: torch.device) -> Tensor:
    """The images inside the bounds, where they are measured, `(n, *event)`."""
    return data.pixels.to(device).clamp(*bounds)


def _silent(measurement: str, finished: int, total: int) -> None:
    """No progress wanted."""
