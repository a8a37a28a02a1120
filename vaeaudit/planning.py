"""`Plan`: an audit with everything settled before it is measured, over as many pairs as are wanted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeaudit import extensions
from vaeaudit.attacks import Penalty
from vaeaudit.autoencoder import Autoencoder, Precision
from vaeaudit.checkpoint import Checkpoint, Memory
from vaeaudit.data import Images
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.identity import environment_of
from vaeaudit.measurements.bench import Bench, Progress
from vaeaudit.memory import release_cached
from vaeaudit.probe import Probe
from vaeaudit.processes.ranks import Ranks
from vaeaudit.report.model import AuditReport
from vaeaudit.report.provenance import Provenance, Work
from vaeaudit.run import Run
from vaeaudit.spec import Spec

_REMEDY = (
    "start the same audit everywhere: the same weights and code, the same images in the same order, the same settings, "
    "versions and number of threads (OMP_NUM_THREADS), on machines of one kind"
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One audit that can be measured, and extended to more pairs; made by `vaeaudit.plan`.

    Rows that were measured once, at a pair or an image, are not measured again by this plan.

    Attributes:
        subject: the model, which outside `report` is as it came.
        training: kinds of its modules that came in training mode; None if none did.
        device: where it is measured.
        crew: further devices that measure beside it; each holds a copy of the model while it does.
        data: the images.
        drawn: rows of original and target, `(most_pairs, 2)`; the first n of more pairs are the same n.
        pairs: how many are measured first. They choose the series of C, which an extension keeps.
        preset: its name.
        spec: how much to measure.
        series: of C, ascending, `(strengths,)`.
        automatic: whether the series was chosen for the model.
        divergence: as it was asked for.
        penalty: on the distortion.
        precision: of the targeted attack's rough phase; None is full.
        seed: of everything random.
        settings: as a report keeps them, but for the number of pairs.
        probed: what the model was seen to do.
        identity: all that determines the figures but how many pairs are measured, as builtin values.
        seconds: that planning took.
        suppress: names of health checks whose findings are set aside.
    """

    subject: Autoencoder
    training: tuple[str, ...] | None
    device: torch.device
    crew: tuple[torch.device, ...]
    data: Images
    drawn: NDArray[np.int64]
    pairs: int
    preset: str
    spec: Spec
    series: Tensor
    automatic: bool
    divergence: str
    penalty: Penalty
    precision: Precision | None
    seed: int
    settings: dict[str, Any]
    probed: Probe
    identity: dict[str, Any]
    seconds: dict[str, float]
    suppress: tuple[str, ...] = ()
    _memory: Memory = dataclasses.field(default_factory=dict, init=False, repr=False)

    @property
    def most_pairs(self) -> int:
        """Pairs up to which it can be extended."""
        return len(self.drawn)

    def report(
        self, pairs: int | None = None, *, checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None, ranks: Ranks | None = None,
    ) -> AuditReport:  # fmt: skip
        """Measure the first pairs.

        Args:
            pairs: how many, from `pairs` to `most_pairs`; None takes `pairs`.
            checkpoint: folder in which finished rows are kept, for a later process that plans the same.
            progress: called as `progress(measurement, finished, total)`, in the first of several processes.
            ranks: the processes that share the measurements, see `vaeaudit.together`; each has planned the same, and
                each returns the same report.

        Raises:
            OptionError: more pairs than planned, or fewer than those that chose the series; or a plugin asks for it.
            ModelError: the model has changed since it was planned, or returns non-finite values.
            RanksError: the processes have not planned the same, or another one has failed or is gone.
        """
        extensions.refuse_inside()
        count = self._checked(pairs)
        ranks = Ranks() if ranks is None else ranks
        ranks.agree(self._facts(count), _REMEDY)
        with self._copies() as copies, self.subject.at_rest(self.seed):
            if self.subject.fingerprint() != self.identity["weights"]:
                raise ModelError("the model's weights have changed since the audit was planned; plan it again")
            shown = progress if progress is not None and ranks.first else _silent
            report = self._run(count, checkpoint, shown, copies, ranks).report()
        return _of_all(report, ranks)

    def _facts(self, count: int) -> dict[str, object]:
        """What must be alike in all processes that share the measurements, down to how their machines round."""
        cuda = self.device.type == "cuda"
        kind = torch.cuda.get_device_name(self.device) if cuda else torch.backends.cpu.get_cpu_capability()
        return {
            **self.identity, "pairs to measure": count, "strengths": self.series.tolist(), "kind of machine": kind,
            "threads": 0 if cuda else torch.get_num_threads(),
        }  # fmt: skip

    @contextlib.contextmanager
    def _copies(self) -> Iterator[list[Autoencoder]]:
        """Copies of the model on the crew's devices, which let go of them afterwards.

        Their threads enter `at_rest` at the same time, which sets and restores what is the process's own; what was
        there before them is put back here, where nothing else runs.
        """
        copies = [self.subject.copy_on(device) for device in self.crew]
        with warnings.catch_warnings() if copies else contextlib.nullcontext():
            try:
                yield copies
            finally:
                copies.clear()
                for device in self.crew:
                    release_cached(device)

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

    def _run(
        self, count: int, folder: str | os.PathLike[str] | None, progress: Progress, copies: list[Autoencoder],
        ranks: Ranks,
    ) -> Run:  # fmt: skip
        rows_of = ("weights", "code", "behaviour", "versions", "dtype", "device_type", "bounds", "scale", "seed")
        key = {name: self.identity[name] for name in rows_of}
        checkpoint = Checkpoint(folder, key, self._memory, ranks)
        bench, *crew = (
            Bench(
                ae=ae, data=self.data, images=pixels_of(self.data, ae.bounds, device),
                pairs=self.drawn[:count], first=self.pairs, spec=self.spec, divergence=self.divergence,
                penalty=self.penalty, precision=self.precision, seed=self.seed, checkpoint=checkpoint, progress=progress,
            )
            for ae, device in zip((self.subject, *copies), (self.device, *self.crew), strict=True)
        )  # fmt: skip
        aside = {"suppress": list(self.suppress)} if self.suppress else {}
        provenance = Provenance(
            preset=self.preset, seed=self.seed, settings={"pairs": count, **self.settings, **aside},
            environment=self._environment(), weights=self.identity["weights"],
            data=self.identity["data"], source=self.data.source, seconds=self.seconds,
        )  # fmt: skip
        return Run(
            bench=dataclasses.replace(bench, crew=tuple(crew)),
            probed=self.probed,
            series=self.series,
            automatic=self.automatic,
            training=self.training,
            provenance=provenance,
            suppress=self.suppress,
        )

    def _environment(self) -> dict[str, str]:
        several = {"devices": str(1 + len(self.crew))} if self.crew else {}
        return {**environment_of(self.identity, self.device), **several}


def _of_all(report: AuditReport, ranks: Ranks) -> AuditReport:
    """The report that all processes return: what it took is what they took together, timed by the first."""
    own = dataclasses.asdict(report.provenance)
    told = {name: own[name] for name in ("seconds", "environment", "work")}
    heard: list[dict[str, Any]] = [json.loads(text) for text in ranks.meet(json.dumps(told).encode())]
    work = {
        name: Work(
            model_seconds=round(sum(one["work"][name]["model_seconds"] for one in heard), 3),
            gradients=sum(one["work"][name]["gradients"] for one in heard),
        )
        for name in report.provenance.work
    }
    first = {name: heard[0][name] for name in ("seconds", "environment")}
    return dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, **first, work=work))


def pixels_of(data: Images, bounds: tuple[float, float], device: torch.device) -> Tensor:
    """The images inside the bounds, where they are measured, `(n, *event)`."""
    return data.pixels.to(device).clamp(*bounds)


def _silent(measurement: str, finished: int, total: int) -> None:
    """No progress wanted."""
