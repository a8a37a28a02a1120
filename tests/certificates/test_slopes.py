"""No chord of an activation is steeper, or less steep, than the slopes it is given."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vaeaudit.certificates.slopes import slopes_of_function, slopes_of_module

_MODULES = [
    nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(1.7), nn.PReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(),
    nn.Mish(), nn.Softplus(), nn.Softplus(3.0), nn.ELU(), nn.ELU(0.5), nn.ELU(1.8), nn.CELU(0.7), nn.SELU(), nn.Hardtanh(-0.5, 2.0),
    nn.ReLU6(), nn.Hardsigmoid(), nn.Hardswish(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(),
]  # fmt: skip


@pytest.mark.parametrize("module", _MODULES, ids=str)
def test_chords_stay_within_their_slopes(module: nn.Module) -> None:
    module = module.double()
    slopes = slopes_of_module(module)
    assert slopes is not None
    generator = torch.Generator().manual_seed(0)
    centre = 3 * torch.randn(20000, generator=generator, dtype=torch.float64)
    radius = 10 ** (3 * torch.rand(20000, generator=generator, dtype=torch.float64) - 2)
    least, greatest = slopes.around(centre, radius)
    assert (least >= slopes.always[0]).all()
    assert (greatest <= slopes.always[1]).all()
    with torch.no_grad():
        for share in (-1, -0.63, -0.2, -0.01, 0.01, 0.3, 0.8, 1):
            other = centre + share * radius
            chord = (module(other) - module(centre)) / (other - centre)
            jump = 2.1e-9 if isinstance(module, nn.Softplus) else 0.0  # torch's own, at its threshold
            slack = (jump + 1e-13) * (1 + centre.abs() + other.abs()) / (other - centre).abs()
            assert (chord >= least - slack).all()
            assert (chord <= greatest + slack).all()


@pytest.mark.parametrize("module", _MODULES, ids=str)
def test_slopes_everywhere_hold_and_are_nearly_reached(module: nn.Module) -> None:
    slopes = slopes_of_module(module)
    assert slopes is not None
    grid = torch.linspace(-12, 12, 200001, dtype=torch.float64)
    with torch.no_grad():
        values = module.double()(grid)
    chords = values.diff() / grid.diff()
    assert slopes.always[0] - 1e-9 <= chords.min()
    assert chords.max() <= slopes.always[1] + 1e-9
    assert max(map(abs, slopes.always)) <= float(chords.abs().max()) + 0.03


def test_known_constants() -> None:
    silu, gelu = slopes_of_module(nn.SiLU()), slopes_of_module(nn.GELU())
    assert silu is not None
    assert gelu is not None
    assert silu.always[1] == pytest.approx(1.09983936)
    assert gelu.always[1] == pytest.approx(1.12890434)


def test_a_stable_relu_is_exactly_linear() -> None:
    slopes = slopes_of_module(nn.ReLU())
    assert slopes is not None
    centre = torch.tensor([-2.0, 2.0, 0.5, -0.5], dtype=torch.float64)
    least, greatest = slopes.around(centre, torch.ones(4, dtype=torch.float64))
    assert least[:2].tolist() == greatest[:2].tolist() == [0, 1]
    assert greatest[2] == 1
    assert least[2] == pytest.approx(0.5, abs=1e-6)
    assert greatest[3] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    "module", [nn.Softplus(1.0, 1.0), nn.ELU(-1.0), nn.Hardshrink(), nn.Softmax(1), nn.GLU(), nn.RReLU()], ids=str
)
def test_others_have_no_slopes(module: nn.Module) -> None:
    assert slopes_of_module(module) is None


def test_subclasses_are_not_taken_for_their_parents() -> None:
    class Steeper(nn.ReLU):
        def forward(self, u):  # type: ignore[no-untyped-def]
            return 5 * super().forward(u)

    assert slopes_of_module(Steeper()) is None


def test_functions_with_arguments() -> None:
    leaky = slopes_of_function(F.leaky_relu, (0.3,), {"inplace": True})
    assert leaky is not None
    assert leaky.always == (0.3, 1.0)
    assert slopes_of_function(torch.exp, (), {}).always == (0.0, math.inf)  # type: ignore[union-attr]
    assert slopes_of_function(F.softmax, (1,), {}) is None
