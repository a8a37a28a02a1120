"""A plugin's score in a report: plain values, and all that is needed to read it where the plugin is not installed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaeaudit.errors import ReportError, brief
from vaeaudit.report.sampled import sample_of
from vaeaudit.report.shapes import check_shapes
from vaeaudit.samples import Sample
from vaeaudit.score_names import Kind
from vaeaudit.statistics import Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True, eq=False)
class ExtensionScore:
    """What a plugin measured, one figure an image or a pair.

    Attributes:
        name: full name, "plugin.score".
        plugin: name and version of the package that measured it.
        says: what it means; empty if the plugin does not tell.
        per: what a figure belongs to.
        least: no figure is lower, whatever the model.
        most: no figure is higher.
        estimate: the score, with its unit and direction.
        values: the figures, `(n,)`; NaN where the plugin gave none that can be.
        originals: index of each figure's image, `(n,)`.
        targets: index of each pair's target, `(n,)`; empty for a score per image.
    """

    name: str
    plugin: str
    says: str
    per: Literal["image", "pair"]
    least: float
    most: float
    estimate: Estimate
    values: Floats
    originals: Integers
    targets: Integers

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ReportError(f"the score of a plugin is called plugin.score, got {brief(self.name)}")
        if not self.least < self.most or self.estimate.statistic == "count":
            raise ReportError(f"{self.name}: a score of a plugin is a median or a mean between two different ends")
        rows = self.values.size
        check_shapes(self, {"values": (rows,), "originals": (rows,)})
        if self.targets.shape != ((rows,) if self.per == "pair" else (0,)):
            raise ReportError(f"{self.name}: expected a target for each pair and none for an image")

    @property
    def kind(self) -> Kind:
        """What bars on it must know."""
        return Kind(
            direction=self.estimate.higher_is_better, reach=(self.least, self.most),
            statistic=self.estimate.statistic, counted=f"{self.per}s",
        )  # fmt: skip

    def sample(self) -> Sample:
        """The figures behind the score."""
        targets = self.targets if self.per == "pair" else None
        return sample_of(self.values, self.name, self.originals, targets=targets)

    def distrusted(self) -> ExtensionScore:
        """The same figures, marked as not to be relied upon."""
        return replace(self, estimate=self.estimate.distrusted())
