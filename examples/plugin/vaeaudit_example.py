"""A plugin of vaeaudit: a kind of model, an attack, a score and a health check of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vaeaudit.health import Check
from vaeaudit.hookspecs import Attack, HealthCheck, Score, Seen, hookimpl

if TYPE_CHECKING:  # the names of scores are needed where torch is not
    from torch import Tensor

    from vaeaudit import AuditReport, Autoencoder

LEAST_DETAIL = 0.5


@hookimpl
def recognise(model: Any, bounds: tuple[float, float] | None, name: str) -> Autoencoder | None:
    """Models with `compress` and `expand`, whose inputs are in [0, 1]. A hook takes what it needs of its arguments."""
    from vaeaudit import Autoencoder

    if not (hasattr(model, "compress") and hasattr(model, "expand")):
        return None
    return Autoencoder(model.compress, model.expand, bounds or (0.0, 1.0), name=name, modules=(model,))


@hookimpl
def attacks() -> list[Attack]:
    """Tried by the preset "thorough" beside the library's own."""
    return [Attack(name="exposure", run=exposure)]


@hookimpl
def scores() -> list[Score]:
    """Measured in every audit: `report.require(**{"example.detail": at_least(0.5)})`."""
    says = "The share of an image's total variation that its reconstruction keeps; low where the model blurs."
    return [Score(name="detail", measure=detail, least=0.0, says=says)]


@hookimpl
def checks() -> list[HealthCheck]:
    """Made of every report."""
    about = Check(
        severity="warning",
        measured="The score example.detail.",
        threshold=f"Below {LEAST_DETAIL:g}: most of the variation is gone.",
        cause="A model that was trained too little, or whose latent is too small.",
        consequence="Blurs are alike, so robustness figures are cheap.",
        remedy="Read the reconstruction error beside every other figure.",
    )
    return [HealthCheck(name="blurred", about=about, look=blurred)]


def exposure(ae: Autoencoder, images: Tensor, radius: float, norm: str, **_: int) -> Tensor:
    """All pixels brighter or darker by as much as the ball allows, whichever moves the reconstruction further.

    It has no use for the steps, restarts and seed that every attack is offered.
    """
    shift = radius if norm == "linf" else radius / images[0].numel() ** 0.5
    brighter, darker = ((images + sign * shift).clamp(*ae.bounds) for sign in (1, -1))
    clean = ae.reconstructions(images)
    further = _distance(ae.reconstructions(brighter), clean) > _distance(ae.reconstructions(darker), clean)
    return brighter.where(further.view(-1, *[1] * (images.ndim - 1)), darker)


def detail(ae: Autoencoder, images: Tensor) -> Tensor:
    """Total variation of the reconstruction over that of the image, `(batch,)`; 1 for an image without any."""
    kept, there = _variation(ae.reconstructions(images)), _variation(images)
    return (kept / there).where(there > 0, 1.0)


def blurred(report: AuditReport) -> Iterator[Seen]:
    """Warn where the median image has lost most of its variation."""
    kept = report.score("example.detail").value
    if kept < LEAST_DETAIL:
        yield Seen(severity="warning", message=f"reconstructions keep {kept:.0%} of the images' total variation.")


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).flatten(1).norm(dim=1)


def _variation(images: Tensor) -> Tensor:
    return sum(images.diff(dim=axis).abs().flatten(1).sum(1) for axis in range(2, images.ndim))  # type: ignore[return-value]
