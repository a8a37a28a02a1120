"""Weights that code reaches through modules and classes are found, put at rest, fingerprinted and copied."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vaeaudit import Autoencoder, ModelError
from vaeaudit.introspection import copied, find

HOLDER = """
from torch import nn
net = nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.5))
unused = nn.Linear(6, 2)
"""
USER = """
import json, torch
import reached.holder
from reached import holder
from torch import nn

class Zoo:
    net = holder.net
    unused = holder.unused

    def __init__(self): self.gain = 1.0
    def encode(self, x): return self._encode(x)
    def _encode(self, x): return Zoo.net(x)
    @classmethod
    def of_class(cls, x): return cls.net(x)
    @staticmethod
    def of_none(x): return holder.net(x)

class Heir(Zoo):
    pass

class Bare(nn.Module):
    def forward(self, x): return self.run(x)
    def run(self, x): return holder.net(x)
    def encode(self, x): return holder.net(x)

class Attribute:
    net = holder.net
    def encode(self, x): return self.net(x)

class Called:
    def __call__(self, x): return holder.net(x)

INSTANCE = Zoo()
BARE = Bare()

def by_module(x): return holder.net(x)
def by_package(x): return reached.holder.net(x)
def by_class(x): return Zoo.net(x)
def by_heir(x): return Heir.net(x)
def by_static_method(x): return Zoo.of_none(x)
def by_instance(x): return INSTANCE.encode(x)
def by_method_of_a_module(x): return BARE.encode(x)
def by_helper(x): return by_module(x)
def _closing(place): return lambda x: place.net(x)
by_closure_over_a_module, by_closure_over_a_class = _closing(holder), _closing(Zoo)
by_method, by_class_method, by_forward, by_attribute, by_call = (
    INSTANCE.encode, Zoo.of_class, Bare(), Attribute().encode, Called())
def by_nothing(x): return json.loads("2") * torch.relu(x)
"""
WAYS = (
    "by_module", "by_package", "by_class", "by_heir", "by_static_method", "by_instance", "by_method_of_a_module",
    "by_helper", "by_closure_over_a_module", "by_closure_over_a_class", "by_method", "by_class_method", "by_forward",
    "by_attribute", "by_call",
)  # fmt: skip
COPIED = ("by_module", "by_package", "by_helper", "by_closure_over_a_module")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A package of a user's, in which one module holds the weights and another uses them."""
    package = tmp_path / "reached"
    package.mkdir()
    for name, text in {"__init__": "", "holder": HOLDER, "user": USER}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("reached.user")
    for name in [name for name in sys.modules if name.split(".")[0] == "reached"]:
        del sys.modules[name]


def _decode(z: torch.Tensor) -> torch.Tensor:
    return z.repeat(1, 3)


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_found_and_nothing_beside_them(user: types.ModuleType, way: str) -> None:
    modules = find(getattr(user, way)).modules
    assert [m for m in modules if list(m.parameters())] == [user.holder.net]


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_at_rest_and_fingerprinted(user: types.ModuleType, way: str) -> None:
    ae, net = Autoencoder(getattr(user, way), _decode), user.holder.net
    x, before = torch.rand(4, 6), ae.fingerprint()
    with ae.at_rest():
        assert not net.training
        assert torch.equal(ae.encode(x).mean, ae.encode(x).mean)
    assert net.training
    with torch.no_grad():
        net[0].weight[0, 0] += 1
    assert ae.fingerprint() != before


def test_code_without_weights_has_none(user: types.ModuleType) -> None:
    assert not find(user.by_nothing)


def test_only_attributes_that_code_names_are_looked_at(user: types.ModuleType) -> None:
    assert not find(user.holder, user.Zoo, user.INSTANCE)


def test_installed_libraries_are_not_looked_into(
    user: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "reached_library.py").write_text(HOLDER)
    monkeypatch.syspath_prepend(str(place))
    user.holder = importlib.import_module("reached_library")
    assert not find(user.by_module)


@pytest.mark.parametrize("way", COPIED)
def test_a_copy_reaches_weights_of_its_own(user: types.ModuleType, way: str) -> None:
    net = user.holder.net.eval()
    x = torch.rand(4, 6)
    made = copied(getattr(user, way), torch.device("cpu"), {})
    (module,) = find(made).modules
    assert module is not net
    assert torch.equal(made(x), getattr(user, way)(x))
    assert user.holder.net is net


def test_what_a_class_holds_is_not_silently_left_on_its_device(user: types.ModuleType) -> None:
    with pytest.raises(ModelError, match="could not be copied to meta; move it yourself"):
        Autoencoder(user.by_class, nn.Linear(2, 6)).on("meta")


def test_each_part_is_searched_by_itself(user: types.ModuleType) -> None:
    def missing(encoder: Callable[..., Any], decoder: Callable[..., Any], **options: Any) -> tuple[str, ...]:
        return Autoencoder(encoder, decoder, **options).parts_without_weights

    net = nn.Linear(2, 6)
    assert missing(user.by_class, net) == ()
    assert missing(user.by_nothing, net) == ("encoder",)
    assert missing(user.by_class, _decode) == ("decoder",)
    assert missing(user.by_nothing, _decode) == ("encoder", "decoder")
    assert missing(nn.Flatten(), net) == ("encoder",)
    assert missing(user.by_nothing, _decode, modules=(net,)) == ()
