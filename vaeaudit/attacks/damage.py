"""Untargeted attacks inside a ball: the most damage to the reconstruction, and the spectral step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from vaeaudit.attacks.objective import checked_inputs, gradient_of
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import micro_batched
from vaeaudit.divergences import divergence_named
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.geometry import encoder_spectrum, round_trip_spectrum
from vaeaudit.optimize import ascend, project_l2, project_linf, stretch_l2

Norm = Literal["l2", "linf"]
NORMS: tuple[Norm, ...] = ("l2", "linf")
GUIDED_UNITS = 64
_LINEAR = 0.02
"""Share of the smallest budget at which the model counts as linear."""
SPECTRAL_METRICS = ("wasserstein", "fisher", "mean", "round_trip")


@dataclass(frozen=True, kw_only=True)
class MaximumDamage:
    """What an attack inside a ball found.

    Attributes:
        radii: budgets, ascending, `(budgets,)`.
        adversarial: x + d, `(images, budgets, *event)`.
        distortion: the norm of d, `(images, budgets)`.
        displacement: L2(r(x + d) - r(x)) of the mean reconstructions, input units, `(images, budgets)`.
        divergence: KL(q(z|x+d) || q(z|x)), or the squared L2 distance of deterministic codes,
            `(images, budgets)`.
        converged: whether the last accepted step gained less than 0.1 %, `(images, budgets)`;
            always true for a closed-form step.
        gradient_evaluations: spent on each image, `(images,)`.
        norm: "l2" or "linf".
    """

    radii: Tensor
    adversarial: Tensor
    distortion: Tensor
    displacement: Tensor
    divergence: Tensor
    converged: Tensor
    gradient_evaluations: Tensor
    norm: Norm

    @property
    def objective(self) -> Tensor:
        """What was maximised: the displacement."""
        return self.displacement


def maximum_damage(
    ae: Autoencoder,
    images: Tensor,
    radius: float | Sequence[float],
    norm: Norm = "l2",
    *,
    steps: int = 40,
    restarts: int = 1,
    starts: Tensor | None = None,
    seed: int = 0,
) -> MaximumDamage:
    """Move the mean reconstruction as far as a budget of distortion allows (definitions row 15).

    Projected ascent on L2(r(x + d) - r(x)) over the ball and the bounds, from random directions and
    from `starts`; each budget also starts from what the smaller one found, so that damage never
    falls as the budget grows.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or several, input units.
        norm: "l2" or "linf".
        steps: gradient evaluations for each start.
        restarts: random starts, each tried in both directions.
        starts: further starting directions, `(starts, images, *event)`; None takes the round trip's leading
            eigenvector in both directions, where there are few enough latent units to afford it.
        seed: seed of the random starts.

    Raises:
        OptionError: unknown norm, or a budget that is not positive.
        GradientError: no gradient reaches the input.
    """
    if steps < 1 or restarts < 0:
        raise OptionError(f"maximum_damage expects steps >= 1 and restarts >= 0, got {steps} and {restarts}")
    images, radii = _checked(ae, images, radius, norm)
    directions = _directions(images, _guides(ae, images) if starts is None else starts, restarts, seed)
    with ae.at_rest(seed):
        distortions, gains = _climb(ae, images, radii, norm, directions, steps)
    spent = torch.full(
        (len(images),), (steps + 1) * len(directions) * (len(radii) + 1), dtype=torch.long, device=images.device
    )
    return _result(ae, images, distortions, radii, norm, gains < 1e-3, spent)


def spectral(
    ae: Autoencoder, images: Tensor, radius: float | Sequence[float], metric: str = "wasserstein", norm: Norm = "l2"
) -> MaximumDamage:
    """Step along the dominant eigenvector of a pullback metric (Khan and Storkey 2022; definitions row 24).

    Both signs are tried and the one that displaces the reconstruction more is kept. The step is
    clipped to the bounds and stretched until the budget is used up or every coordinate is at a bound.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        radius: one budget or several, input units.
        metric: one of `SPECTRAL_METRICS`.
        norm: "l2", or "linf", which moves every coordinate by the sign of the eigenvector.

    Raises:
        OptionError: unknown metric or norm, or a budget that is not positive.
    """
    images, radii = _checked(ae, images, radius, norm)
    vectors = leading_directions(ae, images, metric)
    with ae.at_rest():
        clean = ae.reconstructions(images)
        best = torch.stack([_signed_step(ae, images, clean, vectors, r, norm) for r in radii], 1)
    done = torch.ones(best.shape[:2], dtype=torch.bool, device=images.device)
    return _result(
        ae, images, best, radii, norm, done, torch.zeros(len(images), dtype=torch.long, device=images.device)
    )


def _guides(ae: Autoencoder, images: Tensor) -> Tensor | None:
    with ae.at_rest():
        units = ae.examine(images[:1]).mean.numel()
    if units > GUIDED_UNITS:
        return None
    try:
        vectors = leading_directions(ae, images, "round_trip")
    except ModelError:
        return None
    return torch.stack([vectors, -vectors])


def leading_directions(ae: Autoencoder, images: Tensor, metric: str) -> Tensor:
    """Dominant eigenvector of a metric at each image, `(images, n)`.

    Raises:
        OptionError: unknown metric.
    """
    if metric not in SPECTRAL_METRICS:
        raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(SPECTRAL_METRICS)}")
    if metric == "round_trip":
        spectrum = round_trip_spectrum(ae, images, top=1, eigenvectors=True)
    else:
        spectrum = encoder_spectrum(ae, images, metric, top=1, eigenvectors=True)
    assert spectrum.eigenvectors is not None
    return spectrum.eigenvectors[:, 0].flatten(1).to(images)


def _checked(ae: Autoencoder, images: Tensor, radius: float | Sequence[float], norm: Norm) -> tuple[Tensor, Tensor]:
    if norm not in NORMS:
        raise OptionError(f"unknown norm {norm!r}; choose one of {', '.join(NORMS)}")
    images = checked_inputs(ae, images, "images")
    radii = torch.as_tensor(radius, dtype=images.dtype, device=images.device).reshape(-1).sort().values
    if len(radii) == 0 or not bool((radii.isfinite() & (radii > 0)).all()):
        raise OptionError(f"radius expects positive numbers, got {radius!r}")
    return images, radii


def _directions(images: Tensor, starts: Tensor | None, restarts: int, seed: int) -> Tensor:
    """Starting directions of unit length, `(starts, images, n)`; the random ones are the same for all images."""
    n = images[0].numel()
    noise = torch.randn(max(restarts, 0 if starts is not None else 1), n, generator=torch.Generator().manual_seed(seed))
    noise = torch.cat([noise, -noise])
    directions = noise.to(images)[:, None].expand(-1, len(images), -1)
    if starts is not None:
        directions = torch.cat([starts.to(images).reshape(-1, len(images), n), directions])
    lengths: Tensor = torch.linalg.vector_norm(directions, dim=2, keepdim=True)
    return directions / lengths.clamp_min(torch.finfo(images.dtype).tiny)


def _box(ae: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    flat = images.flatten(1)
    return ae.bounds[0] - flat, ae.bounds[1] - flat


def _climb(
    ae: Autoencoder, images: Tensor, radii: Tensor, norm: Norm, directions: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Best distortion of each image at each budget `(images, budgets, n)`, and its last gain.

    A first climb inside a tiny ball, where the model is as good as linear, is a power iteration
    towards the leading direction of the round trip; each ball then starts from the best of the
    given directions, of what the smaller ball found, and of that stretched.
    """
    count = len(directions)
    repeated = images.repeat(count, *[1] * (images.ndim - 1))
    low, high = _box(ae, repeated)
    clean = ae.reconstructions(images).repeat(count, *[1] * (images.ndim - 1))
    given = directions.flatten(0, 1)
    found, gains = [], []
    start = _step(given, (_LINEAR * radii[0]).expand(len(repeated)), low, high, norm)
    for r in torch.cat([_LINEAR * radii[:1], radii]):
        radius = r.expand(len(repeated))
        for candidate in (_step(given, radius, low, high, norm), _step(start, radius, low, high, norm)):
            start = _better(ae, repeated, clean, start, candidate)
        best = ascend(
            partial(_displacement, ae, repeated, clean), start, radius,
            project=partial(_project(norm), radius=radius, lower=low, upper=high), steepest=_steepest(norm), steps=steps,
        )  # fmt: skip
        start = best.point
        top = best.value.view(count, -1).argmax(0)
        chosen = torch.arange(len(images), device=images.device)
        found.append(best.point.view(count, len(images), -1)[top, chosen])
        gains.append(best.last_gain.view(count, -1)[top, chosen])
    return torch.stack(found[1:], 1), torch.stack(gains[1:], 1)


def _better(ae: Autoencoder, images: Tensor, clean: Tensor, a: Tensor, b: Tensor) -> Tensor:
    first, second = (_measured(ae, images, clean, d) for d in (a, b))
    return torch.where((first >= second)[:, None], a, b)


def _measured(ae: Autoencoder, images: Tensor, clean: Tensor, distortions: Tensor) -> Tensor:
    moved = ae.reconstructions(images + distortions.view_as(images))
    distance: Tensor = torch.linalg.vector_norm((moved - clean).flatten(1), dim=1)
    return distance


def _displacement(ae: Autoencoder, images: Tensor, clean: Tensor, distortions: Tensor) -> tuple[Tensor, Tensor]:
    """Displacement of the reconstruction and its gradient; the gradient is 0 where nothing is displaced."""

    def measure(d: Tensor, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        inputs = d.detach().requires_grad_()
        squares = (ae.reconstruct(x + inputs.view_as(x)) - before).flatten(1).square().sum(1)
        gradient = gradient_of(squares, inputs)
        norm = squares.detach().sqrt()
        return norm, gradient / (2 * norm).clamp_min(torch.finfo(norm.dtype).tiny)[:, None]

    norm, gradient = micro_batched(measure, distortions, images, clean)
    return norm, gradient


def _steepest(norm: Norm) -> Callable[[Tensor], Tensor]:
    if norm == "linf":
        return torch.sign
    return lambda g: g / g.norm(dim=1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)


def _project(norm: Norm) -> Callable[..., Tensor]:
    return project_l2 if norm == "l2" else project_linf


def _step(directions: Tensor, radius: Tensor, low: Tensor, high: Tensor, norm: Norm) -> Tensor:
    if norm == "l2":
        return stretch_l2(directions, radius, low, high)
    return project_linf(radius[:, None] * directions.sign(), radius, low, high)


def _signed_step(ae: Autoencoder, images: Tensor, clean: Tensor, vectors: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    low, high = _box(ae, images)
    reach = radius.expand(len(images))
    forward, backward = (_step(sign * vectors, reach, low, high, norm) for sign in (1.0, -1.0))
    return _better(ae, images, clean, forward, backward)


def _result(
    ae: Autoencoder, images: Tensor, distortions: Tensor, radii: Tensor, norm: Norm, converged: Tensor, spent: Tensor
) -> MaximumDamage:
    shape = (len(images), len(radii), *images.shape[1:])
    adversarial = (images[:, None] + distortions.view(shape)).clamp(*ae.bounds)
    moved = (adversarial - images[:, None]).flatten(2).double()
    with ae.at_rest():
        clean = ae.reconstructions(images)
        after = ae.reconstructions(adversarial.flatten(0, 1)).reshape(len(images), len(radii), -1)
        divergence = _latent_divergence(ae, images, adversarial)
    displacement = (after - clean.flatten(1)[:, None]).double().norm(dim=2)
    converged = converged & displacement.isfinite()
    return MaximumDamage(
        radii=radii, adversarial=adversarial, displacement=displacement, divergence=divergence,
        distortion=moved.norm(dim=2) if norm == "l2" else moved.abs().amax(2),
        converged=converged, gradient_evaluations=spent, norm=norm,
    )  # fmt: skip


def _latent_divergence(ae: Autoencoder, images: Tensor, adversarial: Tensor) -> Tensor:
    """Delta(q(z|x+d), q(z|x)), `(images, budgets)`."""
    clean, attacked = ae.posteriors(images), ae.posteriors(adversarial.flatten(0, 1))
    rows = torch.arange(len(images), device=images.device).repeat_interleave(adversarial.shape[1])
    _, divergence = divergence_named("kl", deterministic=clean.log_variance is None)
    return divergence(attacked, clean[rows]).double().view(adversarial.shape[:2])
