"""A small model and all the ways in which a user may hand it over."""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Encoder and decoder in one, with dropout and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.5)), nn.Linear(2, 6)
        self.register_buffer("shift", torch.full((6,), 0.25))

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x - self.shift)  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)  # type: ignore[no-any-return]


class Wrapper:
    """A plain object around a module, that also holds one of its own methods: a cycle."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.own = self.encode

    def encode(self, x: Tensor) -> Tensor:
        return self.net.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.net.decode(z)


@dataclass(frozen=True, slots=True)
class SlottedWrapper:
    net: Net

    def encode(self, x: Tensor) -> Tensor:
        return self.net.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.net.decode(z)


class Caller:
    """An object that is called, and whose code uses a global."""

    def __call__(self, x: Tensor) -> Tensor:
        return NET.encode(x)


Both = namedtuple("Both", "net name")

torch.manual_seed(0)
NET = Net()
STRAY = Net()
HOLDER = {"nets": [NET]}


def encode(x: Tensor) -> Tensor:
    """A decoy: lambdas below mention an attribute of this name, never this function."""
    return STRAY.encode(x)


def _encode_globally(x: Tensor) -> Tensor:
    return NET.encode(x)


def _recursing(net: Net) -> Callable[..., Tensor]:
    def run(x: Tensor, *, depth: int = 1) -> Tensor:
        return run(x, depth=depth - 1) if depth else net.encode(x)

    return run


def _with_defaults(x: Tensor, net: Net = NET, *, last: Net = NET) -> Tensor:
    return net.encode(x) if net is last else x


def _nested() -> Callable[[Tensor], Tensor]:
    return lambda x: (lambda y: NET.encode(y))(x)


def _closing(net: Net) -> tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]:
    return lambda x: net.encode(x), lambda z: net.decode(z)


def _decorated(net: Net) -> Callable[[Tensor], Any]:
    @functools.wraps(net.encode)
    def run(*arguments: Tensor) -> Tensor:
        return net.encode(*arguments)

    return run


def _pair_held(both: Both) -> Callable[[Tensor], Any]:
    return lambda x: both.net.encode(x)


# how a user may hand over `Net`: name -> (encoder, decoder) of a net; globals always mean NET
WAYS: dict[str, Callable[[Net], tuple[Any, Any]]] = {
    "bound methods": lambda net: (net.encode, net.decode),
    "submodules": lambda net: (net.encoder, net.decoder),
    "closures": _closing,
    "partials": lambda net: (functools.partial(Net.encode, net), functools.partial(lambda z, of: of(z), of=net.decode)),
    "plain wrapper": lambda net: (Wrapper(net).encode, Wrapper(net).decode),
    "slotted wrapper": lambda net: (SlottedWrapper(net).encode, SlottedWrapper(net).decode),
    "named tuple": lambda net: (_pair_held(Both(net, "n")), net.decode),
    "decorated": lambda net: (_decorated(net), net.decode),
    "recursive": lambda net: (_recursing(net), net.decode),
}
GLOBALS: dict[str, Any] = {
    "lambda": lambda x: NET.encode(x),
    "function": _encode_globally,
    "function of a function": lambda x: _encode_globally(x),
    "inner lambda": _nested(),
    "defaults": _with_defaults,
    "container": lambda x: HOLDER["nets"][0].encode(x),
    "callable object": Caller(),
}
