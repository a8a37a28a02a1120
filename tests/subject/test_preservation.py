"""After `at_rest` the model and the process are exactly as they were, also when an error came in between."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder


class Stateful(nn.Module):
    """Writes its buffers in every forward pass: one in place, one anew, one that did not exist."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        self.back = nn.Linear(2, 4)
        self.register_buffer("calls", torch.zeros(3))
        self.register_buffer("last", torch.zeros(1))
        self.register_buffer("absent", None)

    def encode(self, x: Tensor) -> Tensor:
        self.calls += 1  # type: ignore[operator]
        self.last = x.detach().mean()[None]
        self.absent = torch.ones(1)
        self.register_buffer("new", torch.ones(1))
        return self.layers(x)  # type: ignore[no-any-return]


def _busy(ae: Autoencoder) -> None:
    """What audits do and more: compute, draw random numbers, back-propagate, change flags."""
    x = torch.rand(5, 4, requires_grad=True)
    ae.decode(ae.encode(x).mean + torch.randn(5, 2)).sum().backward()
    assert x.grad is not None
    random.random()
    np.random.rand()
    torch.rand(3)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark


class _MishapError(Exception):
    """Something goes wrong in the middle of an audit."""


Run = Callable[[Autoencoder], None]


def _smoothly(ae: Autoencoder) -> None:
    with ae.at_rest():
        _busy(ae)


def _interrupted(ae: Autoencoder) -> None:
    with contextlib.suppress(_MishapError), ae.at_rest():
        _busy(ae)
        raise _MishapError


@pytest.fixture(params=[_smoothly, _interrupted], ids=["smoothly", "with an error inside"])
def run(request: pytest.FixtureRequest) -> Run:
    """An audit that goes through, and one that breaks off."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def model() -> Stateful:
    """A model in mixed modes, half frozen, with gradients and statistics of its own."""
    torch.manual_seed(0)
    model = Stateful()
    model.layers(torch.rand(7, 4)).sum().backward()
    model.layers[1].eval()
    model.layers[0].weight.requires_grad_(False)
    return model


@pytest.fixture
def ae(model: Stateful) -> Autoencoder:
    """The model as bound methods."""
    return Autoencoder(model.encode, model.back)


def _state(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that an audit must leave alone."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {
        "identity": [(name, id(t), t.device, t.dtype, t.requires_grad) for name, t in tensors],
        "values": [t.detach().tolist() for _, t in tensors],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "modes": [(name, child.training) for name, child in model.named_modules()],
        "buffers": [(name, list(child._buffers)) for name, child in model.named_modules()],
        "hooks": [(dict(c._forward_hooks), dict(c._backward_hooks)) for c in model.modules()],
    }


def test_the_model_is_as_it_was(model: Stateful, ae: Autoencoder, run: Run) -> None:
    model.layers[0].register_forward_hook(lambda *_: None)
    before = _state(model)
    assert len({mode for _, mode in before["modes"]}) == 2
    assert len({row[-1] for row in before["identity"]}) == 2
    assert any(g is not None for g in before["gradients"])
    run(ae)
    assert _state(model) == before


def test_inside_every_submodule_evaluates_and_every_weight_is_frozen(model: Stateful, ae: Autoencoder) -> None:
    with ae.at_rest():
        assert not any(child.training for child in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        assert ae.encode(torch.rand(2, 4, requires_grad=True)).mean.requires_grad


def test_a_model_that_overrides_train_is_restored_all_the_same(run: Run) -> None:
    class Stubborn(Stateful):
        def train(self, mode: bool = True) -> Stubborn:
            super().train(mode)
            self.layers[1].training = False
            return self

    model = Stubborn().train()
    before = _state(model)
    run(Autoencoder(model.encode, model.back))
    assert _state(model) == before


def test_loose_tensors_are_frozen_inside_and_as_they_were_afterwards(run: Run) -> None:
    weight = torch.rand(4, 2, requires_grad=True)
    count = torch.zeros(1)

    def encode(x: Tensor) -> Tensor:
        count.add_(1)
        assert not weight.requires_grad
        return x @ weight

    run(Autoencoder(encode, lambda z: z @ weight.T))
    assert weight.requires_grad
    assert weight.grad is None
    assert float(count) == 0


def _draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_global_random_states_are_as_they_were(ae: Autoencoder, run: Run) -> None:
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    expected = _draws()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    run(ae)
    assert _draws() == expected


def test_inside_global_randomness_follows_the_seed(ae: Autoencoder) -> None:
    def inside(seed: int) -> list[float]:
        with ae.at_rest(seed):
            return _draws()

    first = inside(7)
    _draws()
    assert inside(7) == first
    assert all(a != b for a, b in zip(inside(8), first, strict=True))
    inside(2**63 - 1)


FLAGS = [(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")]
NEWER = hasattr(torch.backends.cudnn, "conv")
FLAGS.append((torch.backends.cuda.matmul, "allow_tf32"))


@pytest.fixture
def flags() -> Iterator[None]:
    """Put the numerical flags back, whatever a test does to them."""
    newer = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn) if NEWER else ()
    every = [*FLAGS, *((place, "fp32_precision") for place in newer)]
    before = [(place, name, getattr(place, name)) for place, name in every]
    yield
    for place, name, value in before:
        setattr(place, name, value)


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("value", [True, False])
def test_numerical_flags_are_as_they_were(ae: Autoencoder, run: Run, value: bool) -> None:
    for place, name in FLAGS:
        setattr(place, name, value)
    run(ae)
    assert [getattr(place, name) for place, name in FLAGS] == [value] * len(FLAGS)


@pytest.mark.usefixtures("flags")
def test_inside_float32_is_float32_and_convolutions_are_deterministic(ae: Autoencoder) -> None:
    for place, name in FLAGS:
        setattr(place, name, name != "deterministic")
    with ae.at_rest():
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        with torch.backends.cudnn.flags(enabled=False):  # as a model's forward pass may do
            pass


@pytest.mark.usefixtures("flags")
@pytest.mark.skipif(not NEWER, reason="torch before 2.9 has the old switches only")
@pytest.mark.parametrize("setting", ["tf32", "ieee"])
@pytest.mark.parametrize("place", ["cuda.matmul", "cudnn.conv", "cudnn.rnn"])
def test_the_newer_precision_settings_are_as_they_were(ae: Autoencoder, run: Run, place: str, setting: str) -> None:
    module: Any = torch.backends
    for part in place.split("."):
        module = getattr(module, part)
    module.fp32_precision = setting
    run(ae)
    assert module.fp32_precision == setting
    with ae.at_rest():
        assert module.fp32_precision != "tf32"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_flow_inside_whatever_mode_the_caller_is_in(
    model: Stateful, ae: Autoencoder, run: Run, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    before = _state(model)
    with mode():
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        run(ae)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == modes
    assert _state(model) == before


def test_autocast_is_off_inside(ae: Autoencoder) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with ae.at_rest():
            assert not torch.is_autocast_enabled("cpu")
            assert ae.encoder(torch.rand(2, 4)).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")


def test_an_eval_that_fails_leaves_modes_as_they_were() -> None:
    class Refusing(Stateful):
        def eval(self) -> Refusing:
            self.layers.eval()
            raise _MishapError("no evaluation")

    model = Refusing()
    with pytest.raises(_MishapError, match="no evaluation"), Autoencoder(model.encode, model.back).at_rest():
        pass
    assert all(child.training for child in model.modules())
    assert all(p.requires_grad for p in model.parameters())
