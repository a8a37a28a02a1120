"""What an attack inside a ball may do: budgets, the room that the bounds leave, and the farthest point along a direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from vaeaudit.attacks.objective import checked_inputs
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError
from vaeaudit.optimize import project_l2, project_linf, stretch_l2

Norm = Literal["l2", "linf"]
NORMS: tuple[Norm, ...] = ("l2", "linf")


def checked(ae: Autoencoder, images: Tensor, radius: float | Sequence[float], norm: Norm) -> tuple[Tensor, Tensor]:
    """Images on the model's device, and ascending budgets `(budgets,)`.

    Raises:
        OptionError: unknown norm, or a budget that is not positive.
        DataError: images that cannot be attacked.
    """
    if norm not in NORMS:
        raise OptionError(f"unknown norm {norm!r}; choose one of {', '.join(NORMS)}")
    images = checked_inputs(ae, images, "images")
    radii = torch.as_tensor(radius, dtype=images.dtype, device=images.device).reshape(-1).sort().values
    if len(radii) == 0 or not bool((radii.isfinite() & (radii > 0)).all()):
        raise OptionError(f"radius expects positive numbers, got {radius!r}")
    return images, radii


def room(ae: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest distortion of every coordinate inside the bounds, `(images, n)` each."""
    flat = images.flatten(1)
    return ae.bounds[0] - flat, ae.bounds[1] - flat


def farthest(directions: Tensor, radius: Tensor, low: Tensor, high: Tensor, norm: Norm) -> Tensor:
    """The d in the ball and in the room with the largest g . d for each direction g, `(rows, n)`.

    In the L2 ball that is clip(s * g) for the largest s that fits, in the cube a corner; the budget is
    used up wherever the room allows.

    Args:
        directions: g, `(rows, n)`.
        radius: `(rows,)`.
        low: at most 0, `(rows, n)`.
        high: at least 0, `(rows, n)`.
        norm: "l2" or "linf".
    """
    if norm == "l2":
        return stretch_l2(directions, radius, low, high)
    return project_linf(radius[:, None] * directions.sign(), radius, low, high)


def lengthened(points: Tensor, radius: Tensor, low: Tensor, high: Tensor, norm: Norm) -> Tensor:
    """The budget used up in the direction of distortions `(rows, n)`; arguments as for `farthest`."""
    if norm == "l2":
        return farthest(points, radius, low, high, norm)
    factor = (radius / points.abs().amax(1)).clamp_max(torch.finfo(points.dtype).max)
    return (factor[:, None] * points).clamp(low, high)


def projection(norm: Norm) -> Callable[..., Tensor]:
    """Projection onto the ball inside the room."""
    return project_l2 if norm == "l2" else project_linf


def steepest(norm: Norm) -> Callable[[Tensor], Tensor]:
    """The ascent direction of unit length for a gradient `(rows, n)`."""
    if norm == "linf":
        return torch.sign
    return lambda g: g / g.norm(dim=1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)
