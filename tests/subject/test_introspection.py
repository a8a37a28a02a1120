"""Modules and tensors are found behind any callable, and copied with it as they hang together."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, ModelError
from vaeaudit.introspection import copied, find

from . import ways
from .ways import GLOBALS, NET, WAYS, Net

META = torch.device("meta")


@pytest.fixture
def net() -> Net:
    """A net of its own for each test."""
    torch.manual_seed(1)
    return Net()


@pytest.mark.parametrize("way", GLOBALS)
def test_a_module_is_found_through_the_globals_of(way: str) -> None:
    assert find(GLOBALS[way]).modules == (NET,)


def test_a_submodule_beside_its_owner_is_found_once(net: Net) -> None:
    assert find(
        net.encoder, net, net.decoder[0] if isinstance(net.decoder, nn.Sequential) else net.decoder
    ).modules == (net,)


def test_loose_tensors_are_found_once_and_those_of_modules_not_again(net: Net) -> None:
    weight, loose = net.decoder.weight, torch.ones(2)
    found = find(lambda x: x @ weight + loose, net, [loose])
    assert found.modules == (net,)
    assert [id(t) for t in found.tensors] == [id(loose)]


@pytest.mark.parametrize(
    "thing", [torch.relu, math.sqrt, torch.nn.functional.relu, 3, "text", None, torch.float32, int]
)
def test_where_there_are_no_weights_none_are_found(thing: Any) -> None:
    assert not find(thing)


def test_a_half_filled_closure_is_no_obstacle() -> None:
    def run(x: Tensor) -> Tensor:
        return later(x)

    assert not find(run)
    later = Net().encode
    assert find(run)


def _twins(encoder: Any, decoder: Any) -> tuple[Any, Any]:
    """Copies of encoder and decoder, on the same device so that they can be computed with."""
    memo: dict[int, Any] = {}
    cpu = torch.device("cpu")
    return copied(encoder, cpu, memo), copied(decoder, cpu, memo)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_computes_the_same_with_weights_of_its_own(way: str, net: Net) -> None:
    net.eval()
    x = torch.rand(4, 6)
    given = WAYS[way](net)
    encoder, decoder = _twins(*given)
    before = given[1](given[0](x))
    assert torch.equal(decoder(encoder(x)), before)
    theirs = {id(p) for p in net.parameters()}
    assert theirs.isdisjoint(id(t) for _, t in find(encoder, decoder).named_state())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(decoder(encoder(x)), before)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "submodules"])
def test_what_encoder_and_decoder_share_their_copies_share(way: str, net: Net) -> None:
    encoder, decoder = _twins(*WAYS[way](net))
    (module,) = find(encoder, decoder).modules
    assert isinstance(module, Net)
    assert module is not net


@pytest.mark.parametrize("way", [way for way in GLOBALS if way != "callable object"])
def test_a_copied_function_has_globals_of_its_own(way: str) -> None:
    made = copied(GLOBALS[way], torch.device("cpu"), {})
    (module,) = find(made).modules
    assert module is not NET
    x = torch.rand(3, 6)
    torch.manual_seed(5)
    expected = GLOBALS[way](x)
    torch.manual_seed(5)
    assert torch.equal(made(x), expected)
    assert ways.NET is NET


def test_tied_weights_stay_tied(net: Net) -> None:
    weight = net.decoder.weight
    made = copied([lambda z: z @ weight.T, net], torch.device("cpu"), {})
    assert find(made[0]).tensors[0] is made[1].decoder.weight
    assert made[1].decoder.weight is not weight


def test_what_holds_no_weights_is_not_copied() -> None:
    thing = [lambda x: x + 1, {"a": 2}]
    assert copied(thing, META, {}) is thing


class Locked(nn.Linear):
    """A module that cannot be duplicated."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.lock = threading.Lock()


@pytest.mark.parametrize("make", [Locked, lambda: functools.lru_cache(NET.encode)], ids=["lock", "cache"])
def test_what_cannot_be_copied_says_so(make: Callable[[], Any]) -> None:
    with pytest.raises(ModelError, match=r"could not be copied to meta: .*Move the model to meta yourself"):
        Autoencoder(make(), nn.Linear(2, 2)).on("meta")
