"""Jacobians by copies of the rows: that no copy is mistaken for another, and what makes them give way to shared passes."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from vaeaudit.errors import GradientError
from vaeaudit.geometry.copies import forward_copies, reverse_copies
from vaeaudit.geometry.jacobians import batched_jacobian, planned


def _bent(x: Tensor) -> Tensor:
    """A function of rows `(batch, 2, 3)` with four outputs, each of which depends on all inputs."""
    weight = torch.linspace(-1, 2, 24, dtype=x.dtype).view(6, 4)
    return (x.flatten(1) @ weight).sin() + x.flatten(1).prod(1, keepdim=True)


def test_both_directions_are_the_jacobian_of_every_row(linear: ModuleType, metrics: ModuleType) -> None:
    x = linear.points(6, 5).view(5, 2, 3)
    backward, forward = reverse_copies(_bent, x, 4), forward_copies(_bent, x)
    for row in range(5):
        slow = metrics.jacobian(_bent, x[row])
        torch.testing.assert_close(backward[row], slow)
        torch.testing.assert_close(forward[row], slow)


def test_a_function_without_gradient_is_named() -> None:
    x = torch.ones(2, 3)
    for way in (lambda f: reverse_copies(f, x, 3), lambda f: forward_copies(f, x)):
        with pytest.raises(GradientError, match="pass a differentiable model"):
            way(lambda v: v.detach())


class _Hidden(torch.autograd.Function):
    """Triples; its backward pass computes outside of torch's sight, so its own derivative is missing, without an error."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # noqa: ARG004
        return 3 * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return 3 * gradient.detach()


@pytest.mark.filterwarnings("ignore:reverse mode is taken:vaeaudit.FallbackWarning")
def test_a_path_that_is_lost_when_a_backward_pass_is_differentiated_is_noticed() -> None:
    weight = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))

    def half_hidden(z: Tensor) -> Tensor:
        return z @ weight.T + _Hidden.apply(0.01 * z).repeat(1, 3)

    z = torch.ones(2, 3)
    with pytest.raises(GradientError, match="backward pass cannot be differentiated"):
        forward_copies(half_hidden, z)
    assert planned(half_hidden, z).copied
    expected = weight + 0.03 * torch.eye(3).repeat(3, 1)
    torch.testing.assert_close(batched_jacobian(half_hidden, z), expected.expand(2, -1, -1))


@pytest.mark.parametrize("outputs", [2, 9])
def test_a_model_that_shares_statistics_among_its_rows_is_differentiated_without_copies(outputs: int) -> None:
    weight = torch.randn(outputs, 5, generator=torch.Generator().manual_seed(0))
    share = torch.arange(5.0)

    def centred(x: Tensor) -> Tensor:
        return (x - (x * share).mean()) @ weight.T

    x = torch.ones(1, 5)
    assert planned(centred, x).copied
    with pytest.raises(GradientError, match="rows influence each other"):
        forward_copies(centred, x) if outputs > 5 else reverse_copies(centred, x, outputs)
    torch.testing.assert_close(batched_jacobian(centred, x)[0], weight - weight.mean(1, keepdim=True) * share)


def test_a_random_models_jacobian_is_that_of_a_single_draw() -> None:
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)

    def dropping(x: Tensor) -> Tensor:
        return (x * torch.randint(2, x.shape, generator=generator)) @ weight.T

    x = torch.ones(4, 8)
    assert planned(dropping, x).copied
    kept = batched_jacobian(dropping, x) / weight
    torch.testing.assert_close(kept, kept[:, :1].expand(-1, 3, -1))


@pytest.mark.parametrize("outputs", [2, 9])
def test_a_model_that_refuses_larger_batches_is_differentiated_without_copies(outputs: int) -> None:
    weight = torch.randn(outputs, 5, generator=torch.Generator().manual_seed(0))

    def narrow(x: Tensor) -> Tensor:
        if len(x) > 4:
            raise RuntimeError("at most four rows")
        return x @ weight.T

    x = torch.ones(4, 5)
    assert planned(narrow, x).copied
    with pytest.raises(RuntimeError, match="at most four rows"):
        reverse_copies(narrow, x, outputs)
    torch.testing.assert_close(batched_jacobian(narrow, x), weight.expand(4, -1, -1))


def test_only_small_models_within_the_memory_budget_are_copied() -> None:
    small, wide = (nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 30)) for width in (64, 8192))
    rows = torch.zeros(3, 20)
    assert planned(small, rows).copied
    assert not planned(small, rows, memory=2**10).copied
    assert not planned(wide, rows).copied


def test_a_small_models_jacobians_load_neither_torchs_compiler_nor_computer_algebra() -> None:
    code = """
import sys, torch
from vaeaudit import zoo
from vaeaudit.geometry import decoder_spectrum, encoder_spectrum
ae, (images, _) = zoo.load("mnist-vae"), zoo.images("mnist-vae")
encoder_spectrum(ae, images[:2]), decoder_spectrum(ae, torch.zeros(2, 20))
print([name for name in ("torch._dynamo", "sympy", "scipy.stats") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
