"""Gradients held against responses: what sound models give is known, and each lie shows where it must."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.probe import SCALES, GradientCheck, check_gradients

N, K = 12, 3
UNIT = 0.01 * math.sqrt(N)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


DOWN, UP = _draw(N, K, seed=1) / math.sqrt(N), _draw(K, N, seed=2)
POINTS = torch.rand(6, N, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
PARTNERS = POINTS.roll(1, 0)


def _checked(
    encode: Callable[[Tensor], Tensor | tuple[Tensor, Tensor]], decode: Callable[[Tensor], Tensor] = lambda z: z @ UP,
    *, bounds: tuple[float, float] = (0.0, 1.0), dtype: torch.dtype = torch.float64,
) -> GradientCheck:  # fmt: skip
    weight = torch.nn.Linear(1, 1).to(dtype)  # tells the model's precision
    ae = Autoencoder(encode, decode, bounds=bounds, modules=(weight,))
    with ae.at_rest():
        return check_gradients(ae, POINTS.to(dtype), PARTNERS.to(dtype), UNIT)


def test_a_linear_model_agrees_at_every_length_and_is_explained_as_computed() -> None:
    seen = _checked(lambda x: x @ DOWN)
    assert seen.along.shape == seen.random.shape == seen.constant.shape == (6, 2, len(SCALES))
    assert seen.along.max() < 1e-10
    assert seen.random.max() < 1e-8
    assert not seen.constant.any()
    assert seen.finite.all()
    change = PARTNERS - POINTS
    units = (DOWN.norm(dim=0) * change.norm(dim=1, keepdim=True) / (change @ DOWN).abs()).sort(1).values
    assert torch.allclose(seen.explained[:, 0], units[:, 1])  # the median of all three
    assert (seen.explained >= 1 - 1e-9).all()
    assert (seen.blind == 0).all()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-math.inf, math.inf), (0.0, math.inf)])
def test_a_smooth_float32_model_agrees_at_some_length(bounds: tuple[float, float]) -> None:
    down, up = DOWN.float(), UP.float()
    seen = _checked(
        lambda x: ((x @ down).tanh(), x @ down), lambda z: (z @ up).sigmoid(), bounds=bounds, dtype=torch.float32
    )
    assert seen.along.shape[1] == 3
    assert seen.along.nan_to_num(9).amin(2).max() < 1e-2
    assert seen.random.nan_to_num(9).amin(2).max() < 1e-2


def test_every_input_stays_in_the_bounds() -> None:
    extremes: list[Tensor] = []

    def encode(x: Tensor) -> Tensor:
        extremes.append(torch.stack([x.detach().min(), x.detach().max()]))
        return x @ DOWN

    _checked(encode)
    seen = torch.stack(extremes)
    assert seen.min() >= 0
    assert seen.max() <= 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_the_error_is_the_share_that_is_hidden(share: float) -> None:
    seen = _checked(lambda x: (1 - share) * (x @ DOWN) + share * (x @ DOWN).detach())
    known = torch.full_like(seen.random, share)
    assert torch.allclose(seen.random, known, atol=1e-8)
    if share < 1:
        assert torch.allclose(seen.along[:, 0], known[:, 0], atol=1e-8)
    assert torch.allclose(seen.norm, (1 - share) * _checked(lambda x: x @ DOWN).norm)


def test_a_gradient_of_the_wrong_sign_is_twice_wrong() -> None:
    seen = _checked(lambda x: 2 * (x @ DOWN).detach() - x @ DOWN)
    assert torch.allclose(seen.along, torch.full_like(seen.along, 2.0))


def test_a_head_that_does_not_respond_is_not_judged() -> None:
    seen = _checked(lambda x: (x @ DOWN, torch.full((len(x), K), -1.0, dtype=x.dtype)))
    assert seen.explained[:, 1].isnan().all()
    assert seen.blind[:, 1].isnan().all()
    assert seen.along[:, 1].isnan().all()
    assert not seen.constant[:, 1].any()


def test_blind_inputs_count_by_what_they_do() -> None:
    """Half of the inputs are hidden; their share of the response to the partner is what is measured."""
    mask = torch.zeros(N, dtype=torch.float64)
    mask[: N // 2] = 1
    seen = _checked(lambda x: (x * mask + (x * (1 - mask)).detach()) @ DOWN)
    change = PARTNERS - POINTS
    expected = ((change * (1 - mask)) @ DOWN).norm(dim=1) / (change @ DOWN).norm(dim=1)
    assert torch.allclose(seen.blind[:, 0], expected)


def test_saturated_units_are_not_spoken_for_by_steep_ones() -> None:
    def encode(x: Tensor) -> Tensor:
        steep = torch.tensor([1e4, 1e4, 1.0], dtype=x.dtype)
        return (steep * (x @ DOWN - middle)).tanh()

    middle = (POINTS @ DOWN).mean(0)
    flipped = ((encode(POINTS) * encode(PARTNERS)) < 0)[:, :2].any(1)
    assert flipped.any()
    assert (_checked(encode).explained[flipped, 0] < 1e-6).all()
    smooth = _checked(lambda x: (x @ DOWN - middle).tanh()).explained[:, 0]
    assert (smooth > 0.5).all()


def test_rounding_with_the_gradient_passed_through_is_constant_at_short_steps_alone() -> None:
    grid = 64.0

    def encode(x: Tensor) -> Tensor:
        return (x + ((x * grid).round() / grid - x).detach()) @ DOWN

    ae = Autoencoder(encode, lambda z: z @ UP)
    on_grid = (POINTS * grid).round() / grid
    with ae.at_rest():
        fine = check_gradients(ae, on_grid.clamp(0.1, 0.9), PARTNERS, UNIT / 100)
        coarse = check_gradients(ae, on_grid, PARTNERS, 100 * UNIT)
    assert fine.constant[:, :, -1].double().mean() > 0.5
    assert not coarse.constant[:, :, 0].any()
    assert coarse.random[:, 0, 0].median() < 0.3


def test_a_ripple_agrees_at_short_steps_alone() -> None:
    seen = _checked(lambda x: x @ DOWN + 0.05 * torch.sin(3000 * (x @ DOWN)))
    assert seen.along[:, 0, 0].min() > 0.7
    assert seen.random[:, 0, -1].median() < 0.3


def test_a_point_gets_the_same_alone_and_in_company() -> None:
    ae = Autoencoder(lambda x: (x @ DOWN).tanh(), lambda z: (z @ UP).sigmoid())
    with ae.at_rest():
        together = check_gradients(ae, POINTS, PARTNERS, UNIT)
        alone = check_gradients(ae, POINTS[2:3], PARTNERS[2:3], UNIT)
    for name in ("along", "random", "explained", "blind", "norm"):
        assert torch.allclose(getattr(together, name)[2:3], getattr(alone, name), rtol=1e-6, atol=1e-9)


def test_a_gradient_that_is_not_finite_is_seen() -> None:
    seen = _checked(lambda x: x @ DOWN + (x[:, :1] - x[:, :1].detach()).abs().sqrt())
    assert not seen.finite[:, 0].any()
