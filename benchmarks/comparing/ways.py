"""One way to attack: whose it is, what it recommends, and a sweep of what else may be tried."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from comparing.questions import Code, Task

Setting = Mapping[str, float]
Attack = Callable[[Task, Code, Tensor, Setting], Tensor]
"""From the pairs, their encoder, a limit for each pair `(pairs,)` and a setting to images `(pairs, *event)`."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """An attack of a toolkit, or of nobody's.

    Attributes:
        name: as a table calls it.
        package: what has to be installed; empty for a loop written by hand.
        attack: runs it.
        recommended: the toolkit's own defaults, spelt out; None where it has none.
        sweep: further settings, of which the best counts.
    """

    name: str
    package: str
    attack: Attack
    recommended: Setting | None
    sweep: Sequence[Setting]

    @property
    def version(self) -> str | None:
        """Of the package, None where it is not installed."""
        if not self.package:
            return ""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


def said(setting: Setting) -> str:
    """A setting in a cell of a table."""
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())
