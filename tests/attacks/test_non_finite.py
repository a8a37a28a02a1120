"""Where a model returns NaN or infinity inside a ball, attacks say so for the images and budgets that it concerns."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.attacks import TARGETED_IN_BALL, UNTARGETED, BallAttack, maximum_damage
from vaeaudit.attacks.balls import Norm
from vaeaudit.attacks.search import random_search

NAMES = [*UNTARGETED, *TARGETED_IN_BALL]
N = 4
LIMIT = 2.0
FREE = (-math.inf, math.inf)


def _nan(code: Tensor) -> Tensor:
    return torch.where(code > LIMIT, torch.nan, code)


def _infinite(code: Tensor) -> Tensor:
    return torch.where(code > LIMIT, torch.inf, code)


def _nan_slope(code: Tensor) -> Tensor:
    """The value is right everywhere; beyond the limit the chain rule multiplies 0 by infinity."""
    left = LIMIT - code
    return code + 0 * (left + left.abs()).sqrt()


def _model(breaks: Callable[[Tensor], Tensor]) -> Autoencoder:
    """The code is the inputs' sum, halved, and breaks where it exceeds the limit; a budget of r moves it by r."""
    row = torch.full((1, N), 0.5, dtype=torch.float64)

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        code = breaks(x @ row.T)
        return code, code.sin() / 9 - 1

    return Autoencoder(encode, lambda z: z @ row, FREE, scale="log_variance")


def _images() -> Tensor:
    """Codes of 0, which is 2 from the limit, and of -9, which no budget takes there."""
    return torch.tensor([[0.0], [-4.5]], dtype=torch.float64).expand(2, N).contiguous()


def _run(name: str, ae: Autoencoder, radii: list[float], norm: Norm) -> BallAttack:
    settings = {"steps": 4, "restarts": 1, "seed": 0, "starts": None}
    if name in UNTARGETED:
        return UNTARGETED[name](ae, _images(), radii, norm, **settings)
    return TARGETED_IN_BALL[name](ae, _images(), _images() + 0.8, radii, norm, **settings)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("breaks", [_nan, _infinite, _nan_slope])
def test_damage_says_for_which_images_and_budgets_the_model_broke_down(
    breaks: Callable[[Tensor], Tensor], norm: Norm
) -> None:
    radii = [0.2, 0.5, 3.0, 4.0] if norm == "l2" else [0.1, 0.25, 1.5, 2.0]
    found = maximum_damage(_model(breaks), _images(), radii, norm)
    assert found.non_finite.tolist() == [[False, False, True, True], [False] * 4]
    if breaks is not _infinite:
        assert bool(found.displacement.isfinite().all())
    assert not maximum_damage(_model(lambda code: code), _images(), radii, norm).non_finite.any()


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_says_it_and_none_of_a_sound_model(name: str) -> None:
    norm: Norm = "l2" if name in UNTARGETED else "linf"
    radii = [0.2, 4.0] if norm == "l2" else [0.1, 2.0]
    broken, sound = _run(name, _model(_nan), radii, norm), _run(name, _model(lambda code: code), radii, norm)
    assert broken.non_finite[:, 0].tolist() == [False, False]
    # the first target's code is 1.6 more: an attack that makes straight for it need not come beyond the limit
    assert name not in UNTARGETED or bool(broken.non_finite[0, 1])
    assert not broken.non_finite[1, 1]
    assert bool(broken.displacement.isfinite().all() & broken.objective.isfinite().all())
    assert not sound.non_finite.any()


def _nan_strip(code: Tensor) -> Tensor:
    return torch.where((code > 0.5) & (code < 1.4), torch.nan, code)


def _nan_slope_strip(code: Tensor) -> Tensor:
    inside = (code - 0.5) * (1.4 - code)
    return code + 0 * (inside.abs() - inside).sqrt()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("breaks", [_nan_strip, _nan_slope_strip])
def test_a_lowered_goal_that_leads_into_nan_is_told(breaks: Callable[[Tensor], Tensor], norm: Norm) -> None:
    """The model breaks down in a strip of codes on the way to the target: no ball that ends before it meets it."""
    sound, island = _model(lambda code: code), _model(breaks)
    x, t = _images()[:1], _images()[:1] + 0.8
    attack = TARGETED_IN_BALL["target_mean_l2"]
    settings = {"steps": 6, "restarts": 0, "seed": 0, "starts": None}
    radii = [0.4, 1.2] if norm == "l2" else [0.2, 0.6]
    found = attack(island, x, t, radii, norm, **settings)
    assert found.non_finite.tolist() == [[False, True]]
    assert bool(found.objective.isfinite().all())
    assert not attack(sound, x, t, radii, norm, **settings).non_finite.any()


@pytest.mark.parametrize("breaks", [_nan, _infinite])
def test_a_search_without_gradients_says_it_too(breaks: Callable[[Tensor], Tensor]) -> None:
    found = random_search(_model(breaks), _images(), 2.0, "linf", queries=60)
    assert found.non_finite.tolist() == [True, False]
    assert bool(found.displacement.isfinite().all())
    assert not random_search(_model(lambda code: code), _images(), 2.0, "linf", queries=60).non_finite.any()


def test_company_and_order_do_not_change_what_is_told() -> None:
    both = torch.cat([_images(), _images().flip(0)])
    together = maximum_damage(_model(_nan), both, 4.0).non_finite[:, 0]
    assert together.tolist() == [True, False, False, True]
