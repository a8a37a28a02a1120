"""Elementwise activations: how steep a chord of each can be where its argument is known to lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MARGIN = 1e-8
_ROOT = 2.399357280520555  # where the second derivative of x sigmoid(x) vanishes: x tanh(x / 2) = 2
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """The derivative of a continuous, piecewise smooth function, enough to bound its chords on any interval.

    Between two neighbours of `turns` the derivative is monotone and continuous, so that on an interval it lies between
    its values at the ends and its one-sided values at the turns inside.

    Attributes:
        always: (least, greatest) slope on the whole line; all that is known where `derivative` is None.
        derivative: f'(u), elementwise; at a kink either side's.
        turns: where f' turns round or jumps, each with the one-sided values it takes there.
        pieces: whether f' is constant between the turns, so that it is known exactly.
        convex: f itself where it is convex: a chord from a given point is then steepest to one end of the interval.
    """

    always: tuple[float, float]
    derivative: Function | None = None
    turns: tuple[tuple[float, tuple[float, ...]], ...] = ()
    pieces: bool = False
    convex: Function | None = None

    def around(self, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the slopes of all chords from `centre` to points within `radius`, elementwise.

        Both are float64, `radius` may be infinite; the bounds have a margin for rounding where they are not exact.
        """
        low, high = centre - radius, centre + radius
        least, greatest = self._between(low, high)
        if self.convex is not None:
            known = radius.isfinite() & (radius > 0)
            low, high = torch.where(known, low, centre - 1), torch.where(known, high, centre + 1)
            here = self.convex(centre)
            slack = MARGIN * (1 + (1 + centre.abs() + here.abs()) / (high - low))
            down, up = (here - self.convex(low)) / (centre - low), (self.convex(high) - here) / (high - centre)
            least = torch.where(known & ~(least == greatest), torch.maximum(least, down - slack), least)
            greatest = torch.where(known & ~(least == greatest), torch.minimum(greatest, up + slack), greatest)
        return least, greatest

    def _between(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the greatest derivative over [low, high]."""
        bottom, top = (torch.full_like(low, side) for side in self.always)
        if self.derivative is None:
            return bottom, top
        ends = self.derivative(low), self.derivative(high)
        least, greatest = torch.minimum(*ends), torch.maximum(*ends)
        for at, values in self.turns:
            there = (low <= at) & (at <= high)
            least = torch.where(there, least.clamp(max=min(values)), least)
            greatest = torch.where(there, greatest.clamp(min=max(values)), greatest)
        slack = 0.0 if self.pieces else MARGIN * (1 + torch.maximum(least.abs(), greatest.abs()))
        known = low.isfinite() & high.isfinite()
        least = torch.where(known, torch.maximum(least - slack, bottom), bottom)
        return least, torch.where(known, torch.minimum(greatest + slack, top), top)


def _chosen(condition: Tensor, one: float, other: float, like: Tensor) -> Tensor:
    """One of two numbers, in the precision of `like`: `torch.where` of plain numbers would round them to float32."""
    return torch.where(condition, torch.full_like(like, one), torch.full_like(like, other))


def _kinked(left: float, right: float) -> Slopes:
    return Slopes(
        always=(min(left, right), max(left, right)), turns=((0.0, (left, right)),), pieces=True,
        derivative=lambda u: _chosen(u < 0, left, right, u),
        convex=(lambda u: torch.where(u < 0, left * u, right * u)) if left <= right else None,
    )  # fmt: skip


def _clipped(low: float, high: float, inside: float = 1.0) -> Slopes:
    return Slopes(
        always=(0.0, inside), turns=((low, (0.0, inside)), (high, (0.0, inside))), pieces=True,
        derivative=lambda u: _chosen((u < low) | (u > high), 0.0, inside, u),
    )  # fmt: skip


def _exponential(left: float, rate: float, right: float) -> Slopes | None:
    """Derivative `left * exp(rate u)` below 0, `right` above."""
    if left <= 0 or rate <= 0:
        return None

    def value(u: Tensor) -> Tensor:
        return torch.where(u < 0, left / rate * torch.expm1(rate * u.clamp(max=0)), right * u)

    return Slopes(
        always=(0.0, max(left, right)), turns=((0.0, (left, right)),), convex=value if left <= right else None,
        derivative=lambda u: torch.where(u < 0, left * torch.exp(rate * u.clamp(max=0)), right),
    )  # fmt: skip


def _turning(derivative: Function, at: float) -> Slopes:
    """A derivative that is least at `-at` and greatest at `at`, and monotone elsewhere."""
    least, greatest = derivative(torch.tensor([-at, at], dtype=torch.float64)).tolist()
    return Slopes(
        always=(least - MARGIN, greatest + MARGIN), derivative=derivative, turns=((-at, (least,)), (at, (greatest,)))
    )


def _gelu_slope(u: Tensor) -> Tensor:
    slope: Tensor = torch.special.ndtr(u) + u * torch.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
    return slope


def _silu_slope(u: Tensor) -> Tensor:
    s = torch.sigmoid(u)
    slope: Tensor = s * (1 + u * (1 - s))
    return slope


_SILU = _turning(_silu_slope, _ROOT)  # -0.0998 to 1.0998


def _gelu(approximate: str = "none") -> Slopes:
    # the exact form's derivative lies in -0.1290 to 1.1290, the tanh form's in -0.1295 to 1.1295
    return _turning(_gelu_slope, math.sqrt(2)) if approximate == "none" else Slopes(always=(-0.13, 1.13))


def _clamp(low: float | None = None, high: float | None = None, **ends: float) -> Slopes:
    low, high = ends.get("min", low), ends.get("max", high)
    return _clipped(-math.inf if low is None else low, math.inf if high is None else high)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Slopes | None:
    # beyond the threshold torch goes over to u, with a jump of exp(-threshold) / beta: at 20 that counts as rounding
    if beta <= 0 or threshold < 20:
        return None
    return Slopes(
        always=(0.0, 1.0), derivative=lambda u: torch.sigmoid(beta * u), convex=lambda u: F.softplus(u, beta, 40.0)
    )


def _prelu(module: nn.PReLU) -> Slopes:
    slopes = [*module.weight.detach().double().flatten().tolist(), 1.0]
    return _kinked(slopes[0], 1.0) if len(slopes) == 2 else Slopes(always=(min(slopes), max(slopes)))


_RELU = _kinked(0.0, 1.0)
_TANH = Slopes(always=(0.0, 1.0), derivative=lambda u: 1 - torch.tanh(u).square(), turns=((0.0, (1.0,)),))
_SIGMOID = Slopes(
    always=(0.0, 0.25), derivative=lambda u: torch.sigmoid(u) * torch.sigmoid(-u), turns=((0.0, (0.25,)),)
)  # fmt: skip
_SOFTSIGN = Slopes(always=(0.0, 1.0), derivative=lambda u: (1 + u.abs()).square().reciprocal(), turns=((0.0, (1.0,)),))
_LOGSIGMOID = Slopes(always=(0.0, 1.0), derivative=lambda u: torch.sigmoid(-u))
_TANHSHRINK = Slopes(always=(0.0, 1.0), derivative=lambda u: torch.tanh(u).square(), turns=((0.0, (0.0,)),))
_HARDSWISH = Slopes(
    always=(-0.5, 1.5), turns=((-3.0, (0.0, -0.5)), (3.0, (1.5, 1.0))),
    derivative=lambda u: torch.where(u < -3, 0.0, torch.where(u > 3, 1.0, (2 * u + 3) / 6)),
)  # fmt: skip
_EXP = Slopes(always=(0.0, math.inf), derivative=torch.exp, convex=torch.exp)
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _elu(alpha: float = 1.0) -> Slopes | None:
    return _exponential(alpha, 1.0, 1.0)


def _leaky(slope: float = 0.01) -> Slopes:
    return _kinked(slope, 1.0)


_SELU = _exponential(_SELU_SCALE * _SELU_ALPHA, 1.0, _SELU_SCALE)
_MODULES: dict[type[nn.Module], Callable[[Any], Slopes | None]] = {
    nn.ReLU: lambda _: _RELU,
    nn.ReLU6: lambda _: _clipped(0.0, 6.0),
    nn.LeakyReLU: lambda m: _leaky(m.negative_slope),
    nn.PReLU: _prelu,
    nn.ELU: lambda m: _elu(m.alpha),
    nn.CELU: lambda m: _exponential(1.0, 1 / m.alpha, 1.0),
    nn.SELU: lambda _: _SELU,
    nn.GELU: lambda m: _gelu(m.approximate),
    nn.SiLU: lambda _: _SILU,
    nn.Mish: lambda _: Slopes(always=(-0.12, 1.09)),
    nn.Softplus: lambda m: _softplus(m.beta, m.threshold),
    nn.Tanh: lambda _: _TANH,
    nn.Sigmoid: lambda _: _SIGMOID,
    nn.LogSigmoid: lambda _: _LOGSIGMOID,
    nn.Softsign: lambda _: _SOFTSIGN,
    nn.Tanhshrink: lambda _: _TANHSHRINK,
    nn.Hardtanh: lambda m: _clipped(m.min_val, m.max_val),
    nn.Hardsigmoid: lambda _: _clipped(-3.0, 3.0, 1 / 6),
    nn.Hardswish: lambda _: _HARDSWISH,
}
"""By exact class: a subclass may compute something else."""
_FUNCTIONS: dict[Any, Callable[..., Slopes | None]] = {}
for _names, _made in (
    ((F.relu, torch.relu, "relu", "relu_"), lambda: _RELU),
    ((F.relu6,), lambda: _clipped(0.0, 6.0)),
    ((F.leaky_relu,), _leaky),
    ((F.elu,), _elu),
    ((F.selu, torch.selu), lambda: _SELU),
    ((F.gelu,), _gelu),
    ((F.silu,), lambda: _SILU),
    ((F.softplus,), _softplus),
    ((F.tanh, torch.tanh, "tanh", "tanh_"), lambda: _TANH),
    ((F.sigmoid, torch.sigmoid, torch.special.expit, "sigmoid", "sigmoid_"), lambda: _SIGMOID),
    ((F.logsigmoid,), lambda: _LOGSIGMOID),
    ((F.softsign,), lambda: _SOFTSIGN),
    ((F.hardtanh,), lambda min_val=-1.0, max_val=1.0: _clipped(min_val, max_val)),
    ((torch.clamp, torch.clip, "clamp", "clip"), _clamp),
    ((torch.exp, "exp"), lambda: _EXP),
):  # fmt: skip
    _FUNCTIONS.update(dict.fromkeys(_names, _made))


def slopes_of_module(module: nn.Module) -> Slopes | None:
    """The slopes of an activation module, None if it is none that is known."""
    made = _MODULES.get(type(module))
    return None if made is None else made(module)


def slopes_of_function(function: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Slopes | None:
    """The slopes of an activation function or method, called with plain arguments beside its tensor; None if unknown."""
    made = _FUNCTIONS.get(function)
    if made is None:
        return None
    options = {name: value for name, value in options.items() if name != "inplace"}
    try:
        return made(*arguments, **options)
    except TypeError:
        return None
