"""Do gradients tell what the model does: held against finite differences, and against its response to other images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import micro_batched
from vaeaudit.meter import by_model

SCALES = (1 / 2, 1 / 8, 1 / 32, 1 / 128)
"""Lengths of the steps, as shares of the smallest budget of an audit."""
_RANDOM = 4
_MARGIN = 0.02
"""Steps are taken at least this share of the input range inside the bounds."""
_ROUNDINGS = 10
"""Rounding errors of an output, in units of the last place of its size."""
_RESOLVED = 10
"""A response counts where it is this many times its rounding."""
_BLIND = 1e-7
"""A coordinate is blind where its derivative is below this share of the largest."""
_UNITS = 4
"""Units of a code whose response is explained one by one."""
_TELLING = 0.1
"""Units that respond less than this share of the largest response are left out."""
_ELEMENTS = 2**24
"""Input elements of the steps that are held at once."""


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """What was seen at each point for each head: the code, its log-variance if there is one, the reconstruction.

    A head is held against a random weighted sum of its outputs, the same for all points. Errors are shares of the
    larger of what was predicted and what was measured: 0 agrees, 1 tells nothing, 2 is the opposite. NaN stands
    where the response is lost in rounding.

    Attributes:
        finite: whether the gradient is, `(points, heads)`.
        norm: its length, `(points, heads)`.
        along: error of central differences along the gradient, `(points, heads, scales)`.
        random: the same along four random directions together, `(points, heads, scales)`.
        constant: whether outputs stayed the same to the last bit along all of these although the gradient says
            otherwise, `(points, heads, scales)`.
        explained: the most that gradients can explain of the response to the partner, |g| |y - x| / |f(y) - f(x)|, g the
            longer of those at both ends, `(points, heads)`; at least 1 for a linear model. Of the code it is the median
            over the units that respond most, since a few steep units must not speak for saturated ones.
        blind: share of the outputs' response to the partner that comes from coordinates without gradient,
            `(points, heads)`.
    """

    finite: Tensor
    norm: Tensor
    along: Tensor
    random: Tensor
    constant: Tensor
    explained: Tensor
    blind: Tensor


def check_gradients(ae: Autoencoder, points: Tensor, partners: Tensor, unit: float, *, seed: int = 0) -> GradientCheck:
    """Hold gradients against the model's own responses.

    Differences are taken at the points moved a little inside the bounds, where a step has room in both directions;
    at steps of several lengths, since long ones meet bends and short ones rounding.

    Args:
        ae: the model, at rest.
        points: `(points, *event)`, inside the bounds.
        partners: another image for each point, which it is compared with, `(points, *event)`.
        unit: L2 length of which the steps are shares.
        seed: of weights and directions.
    """
    weights = _weights(ae, points[:1], seed)
    gradient = _gradients(ae, weights, points)
    base = _inside(ae, points)
    generator = torch.Generator().manual_seed(seed + 1)
    random = torch.randn(_RANDOM, points[0].numel(), generator=generator)
    random = (random / random.norm(dim=1, keepdim=True)).to(points)
    steps = unit * torch.tensor(SCALES, dtype=points.dtype, device=points.device)
    a_point = 2 * len(SCALES) * (_RANDOM + len(weights)) * points[0].numel()
    slopes = _gradients(ae, weights, base).nan_to_num(0, 0, 0)
    parts = [
        _differences(ae, weights, some, slope, random, steps)
        for some, slope in zip(*(t.split(max(1, _ELEMENTS // a_point)) for t in (base, slopes)), strict=True)
    ]
    along, scattered, constant = (torch.cat(part) for part in zip(*parts, strict=True))
    explained, blind = _responses(ae, weights, points, partners, gradient)
    return GradientCheck(
        finite=gradient.isfinite().all(2), norm=gradient.norm(dim=2), along=along, random=scattered,
        constant=constant, explained=explained, blind=blind,
    )  # fmt: skip


def heads_of(ae: Autoencoder, inputs: Tensor) -> list[Tensor]:
    """Code, log-variance if there is one, and reconstruction, `(rows, outputs)` each; gradients flow."""
    posterior = ae.encode(inputs)
    heads = [posterior.mean, ae.decode(posterior.mean)]
    if posterior.log_variance is not None:
        heads.insert(1, posterior.log_variance)
    return [head.flatten(1) for head in heads]


def _weights(ae: Autoencoder, point: Tensor, seed: int) -> list[Tensor]:
    """Of the sum that stands for each head, `(outputs,)`, float64, of about unit length."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        sizes = [head.shape[1] for head in heads_of(ae, point)]
    drawn = [torch.randn(size, generator=generator, dtype=torch.float64) / math.sqrt(size) for size in sizes]
    return [weight.to(point.device) for weight in drawn]


def _inside(ae: Autoencoder, points: Tensor) -> Tensor:
    low, high = ae.bounds
    margin = _MARGIN * (high - low) if math.isfinite(high - low) else 0.0
    return points.clamp(low + margin, high - margin)


def _gradients(ae: Autoencoder, weights: list[Tensor], inputs: Tensor) -> Tensor:
    """Gradient of each head's sum, `(rows, heads, n)`, float64; 0 where the head does not depend on the input."""

    def measure(x: Tensor) -> tuple[Tensor]:
        def sums(inputs: Tensor) -> list[Tensor]:
            return [(head.double() * weight).sum(1) for head, weight in zip(heads_of(ae, inputs), weights, strict=True)]

        return (_each_gradient(sums, x),)

    return micro_batched(measure, inputs)[0].double()


def _unit_gradients(ae: Autoencoder, units: Tensor, inputs: Tensor) -> Tensor:
    """Length of the gradient of some units of the code, chosen for each row, `(rows, units)`, float64."""

    def measure(x: Tensor, chosen: Tensor) -> tuple[Tensor]:
        def columns(inputs: Tensor) -> list[Tensor]:
            return list(ae.encode(inputs).mean.flatten(1).gather(1, chosen).unbind(1))

        return (_each_gradient(columns, x).double().norm(dim=2),)

    return micro_batched(measure, inputs, units)[0]


def _each_gradient(values: Callable[[Tensor], list[Tensor]], x: Tensor) -> Tensor:
    """Gradients of several values a row, `(rows, values, n)`; a compiled backward pass may be asked only once."""
    x = x.detach().requires_grad_()
    outputs = values(x)
    try:
        return torch.stack([_gradient(output, x, keep=True) for output in outputs], 1)
    except RuntimeError as error:
        if "retain_graph" not in str(error):
            raise
    return torch.stack([_gradient(values(x)[i], x, keep=False) for i in range(len(outputs))], 1)


def _gradient(values: Tensor, inputs: Tensor, *, keep: bool) -> Tensor:
    """Gradient of one value a row, `(rows, n)`."""
    if not values.requires_grad:
        return torch.zeros_like(inputs).flatten(1)
    total = values.sum()
    (found,) = by_model(
        lambda: torch.autograd.grad(total, inputs, retain_graph=keep, allow_unused=True), inputs, gradients=len(inputs)
    )
    return torch.zeros_like(inputs).flatten(1) if found is None else found.flatten(1)


def _responses(
    ae: Autoencoder, weights: list[Tensor], points: Tensor, partners: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """`explained` and `blind`, `(points, heads)` each."""
    apart = (partners - points).flatten(1).double().norm(dim=1)
    lengths = torch.maximum(gradient.norm(dim=2), _gradients(ae, weights, partners).norm(dim=2))
    here, there = _outputs(ae, points), _outputs(ae, partners)
    explained, blind = [], []
    for head, weight in enumerate(weights):
        change = there[head] - here[head]
        known = change.norm(dim=1) > _RESOLVED * _rounding(ae, here[head].norm(dim=1))
        share = lengths[:, head] * apart / (change @ weight).abs()
        if head == 0:
            responses, units = change.abs().topk(min(_UNITS, change.shape[1]), dim=1)
            slopes = torch.maximum(*(_unit_gradients(ae, units, x) for x in (points, partners)))
            shares = slopes * apart[:, None] / responses
            share = torch.where(responses > _TELLING * responses[:, :1], shares, torch.nan).nanmedian(1).values
        explained.append(torch.where(known, share, torch.nan))
        moved = _outputs(ae, _blended(points, partners, gradient[:, head]))[head] - here[head]
        blind.append(torch.where(known, moved.norm(dim=1) / change.norm(dim=1), torch.nan))
    return torch.stack(explained, 1), torch.stack(blind, 1)


def _blended(points: Tensor, partners: Tensor, gradient: Tensor) -> Tensor:
    """The points, with those coordinates of the partners along which they have no gradient."""
    flat = gradient.abs() <= _BLIND * gradient.abs().amax(1, keepdim=True)
    return torch.where(flat.view_as(points), partners, points)


def _outputs(ae: Autoencoder, inputs: Tensor) -> list[Tensor]:
    """Each head's outputs, `(rows, outputs)`, float64."""
    with torch.no_grad():
        return [head.double() for head in micro_batched(lambda x: tuple(heads_of(ae, x)), inputs)]


def _rounding(ae: Autoencoder, size: Tensor) -> Tensor:
    return _ROUNDINGS * torch.finfo(ae.dtype).eps * size


def _differences(
    ae: Autoencoder, weights: list[Tensor], base: Tensor, gradient: Tensor, random: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`along`, `random` and `constant` of a few points, `(points, heads, scales)` each."""
    points, heads = gradient.shape[:2]
    ways = gradient / gradient.norm(dim=2, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    ways = torch.cat([ways.to(base), random.expand(points, -1, -1)], 1)[:, :, None]
    flat = base.flatten(1)[:, None, None]
    room = torch.minimum(flat - ae.bounds[0], ae.bounds[1] - flat)
    changes = torch.maximum(torch.minimum(steps[:, None] * ways, room), -room)
    inputs = torch.stack([flat + changes, flat - changes])
    sums, sizes = _sums(ae, weights, inputs.view(-1, *base.shape[1:]))
    sums, sizes = (figure.view(*inputs.shape[:-1], heads) for figure in (sums, sizes))
    measured = (sums[0] - sums[1]) / 2
    predicted = torch.einsum("pwsn,phn->pwsh", (inputs[0].double() - inputs[1].double()) / 2, gradient)
    rounding = _RESOLVED * _rounding(ae, sizes.amax((0, 2, 3)))[:, None]
    own = torch.arange(heads, device=base.device)
    along = _error(
        predicted[:, own, :, own].movedim(0, 2)[:, None], measured[:, own, :, own].movedim(0, 2)[:, None], rounding
    )
    scattered = _error(predicted[:, heads:], measured[:, heads:], rounding)
    constant = (predicted.abs().amax(1) > rounding) & (measured == 0).all(1)
    return along.mT, scattered.mT, constant.mT


def _sums(ae: Autoencoder, weights: list[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Each head's sum, and the size of what is summed, `(rows, heads)`, float64."""

    def measure(x: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [(head.double(), weight) for head, weight in zip(heads_of(ae, x), weights, strict=True)]
        terms = [head * weight for head, weight in pairs]
        return torch.stack([t.sum(1) for t in terms], 1), torch.stack([t.square().sum(1).sqrt() for t in terms], 1)

    with torch.no_grad():
        sums, sizes = micro_batched(measure, inputs)
    return sums, sizes


def _error(predicted: Tensor, measured: Tensor, rounding: Tensor) -> Tensor:
    """Length of the difference over ways, as a share of the longer, `(points, scales, heads)`; NaN in rounding.

    Args:
        predicted: `(points, ways, scales, heads)`.
        measured: the same.
        rounding: below which a response is lost, `(points, 1, heads)`.
    """
    longer = torch.maximum(predicted.norm(dim=1), measured.norm(dim=1))
    return torch.where(longer > rounding, (predicted - measured).norm(dim=1) / longer, torch.nan)
