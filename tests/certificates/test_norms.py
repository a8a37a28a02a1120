"""Norms of convolutions are exact where a matrix fits, and never too small where it does not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from vaeaudit.certificates.chains import norm_of_step
from vaeaudit.certificates.graph import read_network
from vaeaudit.certificates.norms import Convolution, norm_of_matrix


def _dense_norm(layer: nn.Module, shape: tuple[int, ...]) -> float:
    rows = torch.eye(math.prod(shape), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        matrix = (layer(rows) - layer(torch.zeros_like(rows[:1]))).flatten(1)
    return float(torch.linalg.svdvals(matrix)[0])


_OPTIONS = [
    {"stride": s, "padding": p, "dilation": d, "groups": g}
    for s, p, d, g in itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2))
]


def _cases() -> list[tuple[nn.Module, tuple[int, ...]]]:
    cases: list[tuple[nn.Module, tuple[int, ...]]] = []
    for options in _OPTIONS:
        cases.append((nn.Conv1d(4, 2, 3, **options), (4, 11)))
        cases.append((nn.Conv2d(2, 4, (3, 2), **options), (2, 7, 8)))
        cases.append((nn.ConvTranspose1d(4, 2, 3, **options), (4, 6)))
        cases.append((nn.ConvTranspose2d(2, 2, 3, **options), (2, 4, 5)))
    cases.append((nn.Conv3d(1, 2, 3, stride=2, padding=1), (1, 5, 5, 5)))
    cases.append((nn.ConvTranspose3d(2, 1, 3, stride=2, padding=1, output_padding=1), (2, 3, 3, 3)))
    cases.append((nn.Conv2d(2, 3, 3, padding="same", dilation=2), (2, 6, 6)))
    return cases


def test_norms_of_convolutions_against_dense_singular_values() -> None:
    torch.manual_seed(0)
    looseness = []
    for layer, shape in _cases():
        layer = layer.double().eval()
        inputs = torch.randn(3, *shape, dtype=torch.float64)
        network = read_network(layer, [layer], inputs)
        true = _dense_norm(layer, shape)
        exact = norm_of_step(network.outputs)
        assert true <= exact <= true * (1 + 1e-7), (layer, true, exact)
        bound = network.outputs.operation.norm()
        assert bound >= true, (layer, true, bound)
        looseness.append(bound / true)
    assert torch.tensor(looseness).median() < 1.3, looseness


def test_the_frequency_bound_approaches_the_norm_on_large_images() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64)
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    bound = Convolution(weight=weight, stride=(2, 2), dilation=(1, 1), groups=1, size=(26, 26)).norm()
    assert 1 <= bound / _dense_norm(layer, (2, 24, 24)) < 1.05


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (1, 5), (4, 4)])
def test_norms_of_matrices_are_never_too_small(shape: tuple[int, int]) -> None:
    for seed in range(50):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        true = float(torch.linalg.svdvals(matrix)[0])
        assert true <= norm_of_matrix(matrix) <= true * (1 + 1e-8)


_OTHERS = [
    (nn.AvgPool2d(3, stride=2, padding=1), (2, 6, 6)),
    (nn.AdaptiveAvgPool2d(2), (2, 5, 5)),
    (nn.Upsample(scale_factor=2), (2, 3, 3)),
    (nn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 3)),
    (nn.Upsample(size=(5, 7)), (1, 3, 3)),
    (nn.ReflectionPad2d(1), (1, 4, 4)),
    (nn.PixelShuffle(2), (4, 3, 3)),
    (nn.ZeroPad2d(1), (1, 4, 4)),
    (nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), (1, 5, 5)),
    (nn.BatchNorm1d(6), (6,)),
    (nn.Unflatten(1, (2, 3)), (6,)),
]


@pytest.mark.parametrize(("layer", "shape"), _OTHERS, ids=lambda item: type(item).__name__)
def test_norms_of_other_linear_layers(layer: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    layer = layer.double().eval()
    network = read_network(layer, [layer], torch.randn(3, *shape, dtype=torch.float64))
    true = _dense_norm(layer, shape)
    assert true <= norm_of_step(network.outputs) * (1 + 1e-12)
    assert norm_of_step(network.outputs) <= true * (1 + 1e-7) or type(layer) is nn.Upsample
    if network.outputs.operation.norm is not None:
        assert network.outputs.operation.norm() >= true * (1 - 1e-12)
