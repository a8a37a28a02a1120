"""The linear layers, functions and methods that are known here, each without its offset; and maxima over windows."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaeaudit.certificates.norms import MARGIN, Convolution, norm_of_matrix, overlap, work_of_norm
from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.certificates.steps import Linear, Maximum, RowMap

Arguments = tuple[Any, ...]
Options = Mapping[str, Any]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_RESHAPING = (nn.Flatten, nn.Unflatten)
_REARRANGING = (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d)
_OF_UNKNOWN_NORM = (
    nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.ReplicationPad1d, nn.ReplicationPad2d,
    nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def unchanged_module(module: nn.Module) -> bool:
    """Whether a module gives back what it takes, in evaluation mode.

    Raises:
        NotCertifiedError: a dropout in training mode.
    """
    if type(module) in _DROPOUTS and module.training:
        raise NotCertifiedError("it is in training mode, where it is random; call eval() first")
    return type(module) is nn.Identity or type(module) in _DROPOUTS


def linear_module(module: nn.Module, taken: tuple[int, ...], given: tuple[int, ...]) -> Linear | None:
    """The linear part of a module that maps rows of shape `taken` to rows of shape `given`; None if none is known.

    Raises:
        NotCertifiedError: a normalisation by statistics of the batch.
    """
    kind: type[nn.Module] = type(module)
    if kind in _RESHAPING:
        return reshape(given)
    if kind in _REARRANGING:
        return Linear(apply=module, norm=lambda: 1.0, simple=True)
    if kind in _OF_UNKNOWN_NORM:
        return Linear(apply=module)
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        return Linear(
            apply=lambda u: F.linear(u, module.weight), norm=lambda: norm_of_matrix(module.weight.detach()), simple=True,
            work=work_of_norm(*module.weight.shape),
        )  # fmt: skip
    if isinstance(module, _CONVOLUTIONS) and kind in _CONVOLUTIONS:
        return _convolved(module, taken)
    if isinstance(module, _TRANSPOSED) and kind in _TRANSPOSED:
        return _convolved(module, given)
    if isinstance(module, _BATCH_NORMS) and kind in _BATCH_NORMS:
        return _batch_norm(module)
    if isinstance(module, nn.Upsample) and kind is nn.Upsample:
        return _resized(module, str(module.mode), taken, given)
    if kind is nn.UpsamplingNearest2d:
        return _resized(module, "nearest", taken, given)
    return None


def _without_bias(module: Any) -> RowMap:
    bare = copy.copy(module)
    bare._parameters = {**module._parameters, "bias": None}
    made: RowMap = bare
    return made


def _convolved(module: Any, larger: tuple[int, ...]) -> Linear:
    """A convolution, given the shape on the side of the (untransposed) convolution's input."""
    convolution = _convolution(module, larger)
    if convolution is None:
        return Linear(apply=_without_bias(module))
    return Linear(apply=_without_bias(module), norm=convolution.norm, work=convolution.work)


def _convolution(module: Any, larger: tuple[int, ...]) -> Convolution | None:
    """What a bound by the weight alone needs; None where there is none."""
    if module.padding_mode != "zeros":
        return None
    if isinstance(module.padding, str):
        padding = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    else:
        padding = [2 * p for p in module.padding]
    size = tuple(n + p for n, p in zip(larger[1:], padding, strict=True))
    if len(size) != len(module.stride):
        return None
    return Convolution(
        weight=module.weight, stride=module.stride, dilation=module.dilation, groups=module.groups, size=size
    )


def _batch_norm(module: Any) -> Linear:
    if module.training or module.running_mean is None or module.running_var is None:
        raise NotCertifiedError(
            "it normalises by the statistics of the batch, so that an input's code depends on its company; "
            "call eval(), and keep track_running_stats"
        )
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.detach().double()
    return Linear(
        apply=lambda u: u * scale.view(-1, *[1] * (u.ndim - 2)),
        norm=lambda: float(scale.abs().max()) * (1 + MARGIN),
        simple=True,
    )


def _resized(apply: RowMap, mode: str, taken: tuple[int, ...], given: tuple[int, ...]) -> Linear:
    if mode != "nearest":
        return Linear(apply=apply)
    copies = math.prod(math.ceil(b / a) for a, b in zip(taken[1:], given[1:], strict=True))
    return Linear(apply=apply, norm=lambda: math.sqrt(copies) * (1 + MARGIN))


def window_maximum(module: nn.Module) -> Maximum | None:
    """The pooling of a module, None if it is none.

    |max(u) - max(v)| <= max|u - v| <= L2(u - v) over a window, and so many windows share an element.
    """
    if type(module) not in _MAXIMA or getattr(module, "return_indices", False):
        return None
    found: Any = module
    axes = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}[type(found)]
    sides = [_each(value, axes) for value in (found.kernel_size, found.stride or found.kernel_size, found.dilation)]
    return Maximum(constant=math.sqrt(math.prod(overlap(k, s, d) for k, s, d in zip(*sides, strict=True))))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (int(value),) * axes if isinstance(value, int) else tuple(int(v) for v in value)


def reshape(given: tuple[int, ...]) -> Linear:
    """Each row in another shape."""
    return Linear(apply=lambda u: u.reshape(len(u), *given), norm=lambda: 1.0, simple=True)


_RESHAPES = {
    torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten,
    "flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as",
}  # fmt: skip
_SELECTIONS = {
    torch.chunk, torch.split, torch.tensor_split, torch.permute, torch.transpose, torch.flip, torch.narrow, torch.unbind,
    torch.select, torch.movedim, torch.swapaxes, F.pixel_shuffle, F.pixel_unshuffle, torch.neg, operator.neg,
    "chunk", "split", "tensor_split", "permute", "transpose", "flip", "narrow", "unbind", "select", "movedim",
    "swapaxes", "neg",
}  # fmt: skip
_LINEAR = {
    torch.mean, torch.sum, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d, torch.cumsum, "mean", "sum", "cumsum",
}  # fmt: skip
_WITH_BIAS = {
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
}  # fmt: skip
_QUOTIENTS = {operator.truediv, operator.itruediv, torch.div, "div"}
_PRODUCTS = {operator.mul, operator.matmul, operator.imul, torch.mul, torch.matmul, "mul", "matmul"}
PASSES = {"contiguous", "clone", "detach", "float", "double", torch.clone, torch.detach, F.dropout, "requires_grad_"}
"""What gives back what it takes; a functional dropout must say that it is not training."""
SUMS = {
    operator.add: 1.0, operator.iadd: 1.0, torch.add: 1.0, "add": 1.0,
    operator.sub: -1.0, operator.isub: -1.0, torch.sub: -1.0, "sub": -1.0,
}  # fmt: skip
"""Sign of the second summand."""
MERGES = {torch.cat, torch.concat, torch.concatenate}
IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv}


def linear_function(
    function: Any, arguments: Arguments, options: Options, value: Any
) -> Linear | tuple[Linear, ...] | None:
    """The linear part of a function or method in the one argument that varies, whose place is marked by `VARYING`.

    Args:
        function: the function, or a method's name.
        arguments: what it is called with, `VARYING` in place of the tensor that depends on the input.
        options: its keyword arguments.
        value: what it gave, which tells a reshape's shape and the number of pieces.
    """
    if function in _RESHAPES:
        return reshape(tuple(value.shape[1:]))
    if not _is_linear(function, arguments, options):
        return None
    return _applied(function, *_without_offset(function, arguments, options), value)


def _is_linear(function: Any, arguments: Arguments, options: Options) -> bool:
    """Whether a function is linear, but for an offset, in the argument that varies."""
    varies_first = arguments[:1] == (VARYING,)
    if function in _WITH_BIAS:
        return varies_first
    if function in _QUOTIENTS:
        return varies_first and not options
    if function is operator.getitem:
        return varies_first and _plain_index(arguments[1])
    return function in _PRODUCTS | _SELECTIONS | _LINEAR | {F.pad, F.interpolate}


def _without_offset(function: Any, arguments: Arguments, options: Options) -> tuple[Arguments, Options]:
    """What a function is called with, but for its bias, or for the value that a padding has."""
    if function in _WITH_BIAS:
        return (*arguments[:2], None, *arguments[3:]), {name: it for name, it in options.items() if name != "bias"}
    if function is F.pad:
        named = {**options, **dict(zip(("mode", "value"), arguments[2:], strict=False))}
        return arguments[:2], {name: it for name, it in named.items() if name != "value"}
    return arguments, options


class _Varying:
    """Stands for the tensor that depends on the model's input."""


VARYING = _Varying()


def _plain_index(index: Any) -> bool:
    """Whether an index keeps all rows and takes no element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return parts[0] in (slice(None), Ellipsis) and all(
        p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts
    )


def _applied(function: Any, arguments: Arguments, options: Options, value: Any) -> Linear | tuple[Linear, ...]:
    def call(u: Tensor) -> Any:
        filled = [u if argument is VARYING else argument for argument in arguments]
        named = {name: u if option is VARYING else option for name, option in options.items()}
        return (
            getattr(filled[0], function)(*filled[1:], **named)
            if isinstance(function, str)
            else function(*filled, **named)
        )

    isometric = function in _SELECTIONS or function is operator.getitem
    norm = (lambda: 1.0) if isometric else None
    if isinstance(value, Tensor):
        norm = norm or _product_norm(function, arguments)
        return Linear(apply=call, norm=norm, simple=norm is not None, work=_product_work(function, arguments))
    return tuple(Linear(apply=_piece(call, i), norm=norm, simple=True) for i in range(len(value)))


def _piece(call: Callable[[Tensor], Any], position: int) -> RowMap:
    return lambda u: call(u)[position]


def _product_norm(function: Any, arguments: Arguments) -> Callable[[], float] | None:
    """Products with a number."""
    numbers = [a for a in arguments if isinstance(a, (int, float))]
    if function in (operator.mul, torch.mul, "mul") and len(numbers) == 1:
        return lambda: abs(float(numbers[0])) * (1 + MARGIN)
    if function in (operator.truediv, torch.div, "div") and len(numbers) == 1:
        return lambda: (1 + MARGIN) / abs(float(numbers[0]))
    if function is F.linear and isinstance(arguments[1], Tensor):
        weight = arguments[1]
        return lambda: norm_of_matrix(weight.detach())
    return None


def _product_work(function: Any, arguments: Arguments) -> float:
    """Multiply-adds of that norm, which a functional linear layer takes."""
    weight = arguments[1] if function is F.linear else None
    return work_of_norm(*weight.shape) if isinstance(weight, Tensor) and weight.ndim == 2 else 0.0
