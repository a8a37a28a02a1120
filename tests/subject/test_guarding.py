"""Code that computes with the user's model cannot leave it, or the process, other than it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from vaeaudit import Autoencoder, ModelError
from vaeaudit.guarding import untouched


class _MishapError(Exception):
    """Something goes wrong inside."""


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def _shift(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[0].weight.add_(1)


def _exchange(model: nn.Sequential) -> None:
    model[0].bias = nn.Parameter(torch.zeros(3))


def _unfreeze(model: nn.Sequential) -> None:
    model.requires_grad_(True)
    model(torch.rand(5, 4)).sum().backward()


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "a weight is written": (_shift, "weights"),
    "a weight is exchanged": (_exchange, "weights"),
    "weights have another precision": (lambda model: model.double(), "weights"),
    "weights are differentiated": (_unfreeze, "weights"),
    "training mode": (lambda model: model.train(), "training mode"),
    "a part in training mode": (lambda model: model[1].train(), "training mode"),
    "a hook before": (lambda model: model[2].register_forward_pre_hook(lambda *_: None), "hooks"),
    "a hook behind": (lambda model: model.register_forward_hook(lambda *_: None), "hooks"),
    "a hook on the way back": (lambda model: model.register_full_backward_hook(lambda *_: None), "hooks"),
}


def _state(model: nn.Sequential) -> list[Any]:
    hooks = [
        (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks)) for part in model.modules()
    ]
    weights = [(id(w), w.tolist(), str(w.dtype), w.requires_grad, w.grad) for w in model.parameters()]
    buffers = {name: buffer.tolist() for name, buffer in model.named_buffers()}
    return [[part.training for part in model.modules()], hooks, weights, buffers]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_put_back_and_named(change: str) -> None:
    model, (doing, named) = _model(), CHANGES[change]
    before = _state(model)
    ae = Autoencoder(model, nn.Identity())
    with ae.at_rest(), pytest.raises(ModelError, match=rf"left the model changed \({named}\)"), untouched(ae.found, 0):
        doing(model)
    assert _state(model) == before


def test_an_error_inside_goes_before_and_the_model_is_as_it_was() -> None:
    model = _model()
    before = _state(model)
    ae = Autoencoder(model, nn.Identity())
    with ae.at_rest(), pytest.raises(_MishapError), untouched(ae.found, 0):  # noqa: PT012
        _shift(model)
        raise _MishapError
    assert _state(model) == before


def test_what_is_put_back_in_time_and_buffers_that_a_model_writes_itself_are_no_fault() -> None:
    model = _model()
    before = _state(model)
    with untouched(Autoencoder(model, nn.Identity()).found, 0):
        model[1].running_mean.add_(1)
        handle = model.register_forward_hook(lambda *_: None)
        model.train()(torch.rand(5, 4))
        model.eval()
        handle.remove()
    assert _state(model) == before


def test_weights_that_are_no_numbers_are_alike() -> None:
    model = _model()
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    with untouched(Autoencoder(model, nn.Identity()).found, 0):
        model.eval()(torch.rand(2, 4))
    assert model[0].weight[0, 0].isnan()


def test_the_process_is_as_it_was_and_chance_begins_alike_each_time() -> None:
    found = Autoencoder(_model(), nn.Identity()).found
    threads, state, drawn = torch.get_num_threads(), torch.get_rng_state(), []
    for _ in range(2):
        with untouched(found, 3):
            drawn.append(torch.rand(2).tolist())
            torch.set_grad_enabled(False)
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(threads + 1)
        assert torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float32
        assert torch.get_num_threads() == threads
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.get_rng_state(), state)
