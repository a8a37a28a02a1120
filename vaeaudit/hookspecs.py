"""What another package can add to an audit: the hooks, and what they return.

A plugin is a module with functions marked `@hookimpl` and named as those here, which its package announces under the
entry point group `vaeaudit`. `examples/plugin/` is a complete one; docs/extending.md tells the whole.

Nothing here imports torch, so that a plugin's module can be read for the names of its scores alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import pluggy

from vaeaudit.errors import OptionError, brief
from vaeaudit.health.catalogue import Check
from vaeaudit.health.finding import Severity

if TYPE_CHECKING:
    from vaeaudit.autoencoder import Autoencoder
    from vaeaudit.latent import Scale
    from vaeaudit.report.model import AuditReport

PROJECT = "vaeaudit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Aim = Literal["untargeted", "targeted"]
Per = Literal["image", "pair"]
Bounds = tuple[float, float]
_NORMS = ("l2", "linf")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def checked_name(owner: str, name: object) -> str:
    """A name of small letters, digits and underscores, such as can stand in TOML and in a table.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(f"{owner} expects a name of small letters, digits and underscores, got {brief(name)}")
    return name


def _checked(owner: str, what: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        raise OptionError(f"{owner}: {what} expects one of {', '.join(map(str, choices))}, got {brief(value)}")


def _called(owner: str, function: object) -> None:
    if not callable(function):
        raise OptionError(f"{owner} expects a function, got {brief(function)}")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack inside a ball, tried beside the library's own by the preset `thorough`.

    What it returns is measured here: whether it is finite, of the right shape, inside the ball and inside the bounds
    is looked at, and a row where it is not counts as not attacked and is told in an INVALID finding.

    Attributes:
        name: reports show it as "plugin.name".
        run: `run(ae, images, radius, norm, *, steps, restarts, seed)`, and of a targeted attack
            `run(ae, originals, targets, radius, norm, *, steps, restarts, seed)`: attacked images `(batch, *event)` of
            `(batch, *event)`, no farther than `radius` in `norm`. A row must not depend on the others of its batch.
        aim: "untargeted", away from what the model makes of the image, or "targeted", towards that of the target.
        norms: in which of "l2" and "linf" it knows balls.
    """

    name: str
    run: Callable[..., Any]
    aim: Aim = "untargeted"
    norms: tuple[str, ...] = _NORMS

    def __post_init__(self) -> None:
        owner = f"Attack {checked_name('Attack', self.name)!r}"
        _called(owner, self.run)
        _checked(owner, "aim", self.aim, get_args(Aim))
        if not isinstance(self.norms, tuple) or not self.norms:
            raise OptionError(f"{owner}: norms expects a tuple of {' and '.join(_NORMS)}, got {brief(self.norms)}")
        for norm in self.norms:
            _checked(owner, "norms", norm, _NORMS)


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure an image or a pair, estimated with its interval, and held against bars as the library's own are.

    Attributes:
        name: bars, tables and files call it "plugin.name".
        measure: `measure(ae, images)`, and of a score per pair `measure(ae, originals, targets)`: one figure a row,
            `(batch,)`. The model is at rest. A row must not depend on the others of its batch, nor on a random state.
        per: whether a figure belongs to an "image" or a "pair".
        unit: of the figures; empty for a pure number.
        higher_is_better: True if a higher figure is more robust, False if a lower one is, None without direction.
        statistic: how the figures are combined, "median" or "mean".
        least: no figure is lower, whatever the model.
        most: no figure is higher.
        says: what it means, in a sentence.
    """

    name: str
    measure: Callable[..., Any]
    per: Per = "image"
    unit: str = ""
    higher_is_better: bool | None = None
    statistic: Literal["median", "mean"] = "median"
    least: float = -math.inf
    most: float = math.inf
    says: str = ""

    def __post_init__(self) -> None:
        owner = f"Score {checked_name('Score', self.name)!r}"
        _called(owner, self.measure)
        _checked(owner, "per", self.per, get_args(Per))
        _checked(owner, "statistic", self.statistic, ("median", "mean"))
        if not (self.higher_is_better is None or isinstance(self.higher_is_better, bool)):
            raise OptionError(f"{owner}: higher_is_better expects a bool or None, got {brief(self.higher_is_better)}")
        if not self.least < self.most:
            raise OptionError(f"{owner}: least must lie below most, got {self.least} and {self.most}")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a health check saw.

    Attributes:
        severity: "info" for the record, "warning" to read before quoting a figure, "invalid" where the scores it
            affects must not decide anything.
        message: what was seen, with its figures.
        affects: scores that it makes untrustworthy, by full name or room ("encoder"); only for "invalid".
    """

    severity: Severity
    message: str
    affects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _checked("Seen", "severity", self.severity, get_args(Severity))
        if not isinstance(self.message, str) or not self.message:
            raise OptionError(f"Seen expects a message, got {brief(self.message)}")
        if not isinstance(self.affects, tuple) or (self.severity == "invalid") != bool(self.affects):
            raise OptionError(
                f"Seen expects a tuple of the scores it affects where it is invalid, and none otherwise; "
                f"got {self.severity!r} with {brief(self.affects)}"
            )


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A look at what was measured, which may speak against trusting it.

    Attributes:
        name: findings, and `suppress`, call it "plugin.name".
        about: what it measures, from where on it speaks, and what its findings mean.
        look: `look(report)`, of an `AuditReport` that holds every other finding: what it saw, each a `Seen`.
    """

    name: str
    about: Check
    look: Callable[[AuditReport], Iterable[Seen]]

    def __post_init__(self) -> None:
        owner = f"HealthCheck {checked_name('HealthCheck', self.name)!r}"
        _called(owner, self.look)
        if not isinstance(self.about, Check):
            raise OptionError(f"{owner}: about expects a vaeaudit.health.Check, got {brief(self.about)}")


@hookspec(firstresult=True)
def recognise(model: object, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:
    """Make a model an `Autoencoder`, for `vaeaudit.wrap` and everything that takes a model.

    The first plugin that returns one settles it; plugins are asked before the adapters of vaeaudit, which come through
    this hook too. What the user said of bounds, scale and name holds whatever the plugin makes of it.

    Args:
        model: the model, anything.
        bounds: lower and upper end of valid inputs; None leaves it to the plugin.
        scale: what the second member of a plain pair is; None leaves it to the plugin.
        name: to be shown in reports; empty leaves it to the plugin.

    Returns:
        The autoencoder, or None for a model of another kind.
    """


@hookspec
def attacks() -> Sequence[Attack]:  # type: ignore[empty-body]
    """Attacks to be tried beside the library's own; asked once, when the plugin is registered."""


@hookspec
def scores() -> Sequence[Score]:  # type: ignore[empty-body]
    """Scores to be measured in every audit; asked once, when the plugin is registered."""


@hookspec
def checks() -> Sequence[HealthCheck]:  # type: ignore[empty-body]
    """Health checks of every audit; asked once, when the plugin is registered."""
