"""Lipschitz constants of a whole model, and of each of its layers for the reader."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vaeaudit.certificates.chains import norm_of_step
from vaeaudit.certificates.heads import Heads
from vaeaudit.certificates.propagation import Propagation
from vaeaudit.certificates.steps import Elementwise, Linear, Maximum, Step, steps_before


@dataclass(frozen=True, kw_only=True)
class LayerConstant:
    """An upper bound of one layer's Lipschitz constant, L2 to L2.

    Attributes:
        layer: the module's path or the function's name.
        kind: its class or name.
        constant: the bound; the exact spectral norm of a linear layer small enough for its matrix.
    """

    layer: str
    kind: str
    constant: float


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Upper bounds of Lipschitz constants, L2 to L2, that hold for all inputs.

    Attributes:
        mean: of the posterior's mean, the code, or the reconstruction.
        second: of the second head (`scale` says what it is); None without one.
        scale: "log_variance", "variance" or "std"; None without a second head.
        product: what multiplying the layers' constants gives for the mean: never below `mean` by more than rounding.
        layers: each layer's own constant; reshapes and the like, whose constant is 1, are left out.
    """

    mean: float
    second: float | None
    scale: str | None
    product: float
    layers: tuple[LayerConstant, ...]


def constants_of(heads: Heads, propagation: Propagation) -> Constants:
    """The constants of a model.

    Args:
        heads: the model.
        propagation: over all inputs.

    Raises:
        NotCertifiedError: no finite bound.
    """
    mean = propagation.constant(heads.mean)
    product = _product(heads.mean, propagation.widest)
    return Constants(
        mean=min(mean, product), scale=heads.scale, product=product,
        second=None if heads.second is None else propagation.of(heads.second).constant,
        layers=tuple(_layers(heads, propagation.widest)),
    )  # fmt: skip


def _layers(heads: Heads, widest: int) -> list[LayerConstant]:
    steps = {step: None for head in heads.steps for step in steps_before(head)}
    found = {}
    for step in steps:
        constant = _own(step, widest)
        if constant is not None and not (isinstance(step.operation, Linear) and constant == 1):
            found[step.layer, step.kind, constant] = LayerConstant(layer=step.layer, kind=step.kind, constant=constant)
    return list(found.values())


def _own(step: Step, widest: int) -> float | None:
    if isinstance(step.operation, Linear):
        return norm_of_step(step, widest)
    if isinstance(step.operation, Elementwise):
        return max(abs(slope) for slope in step.operation.slopes.always)
    return step.operation.constant if isinstance(step.operation, Maximum) else None


def _product(step: Step, widest: int) -> float:
    totals: dict[Step, float] = {}
    for now in steps_before(step):
        own = _own(now, widest)
        before = sum(totals[source] for source in now.inputs) if now.inputs else 1.0
        totals[now] = before if own is None else own * before
    return totals[step] if math.isfinite(totals[step]) else math.inf
