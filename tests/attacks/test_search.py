"""The search without gradients: in the ball and the bounds, the same for an image whatever its company, and hard to fool."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, DataError, OptionError
from vaeaudit.attacks.balls import Norm
from vaeaudit.attacks.search import random_search

SHAPES = ((3, 8, 6), (5, 7), (30,), (2, 3, 2, 2))


def _model(shape: tuple[int, ...], latent: int = 3) -> Autoencoder:
    generator = torch.Generator().manual_seed(1)
    n = math.prod(shape)
    down = torch.randn(n, latent, generator=generator, dtype=torch.float64) / math.sqrt(n)
    up = torch.randn(latent, n, generator=generator, dtype=torch.float64)
    return Autoencoder(lambda x: (x.flatten(1) @ down).tanh(), lambda z: (z @ up).sigmoid().view(-1, *shape))


def _images(shape: tuple[int, ...], count: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("norm", "radius"), [("l2", 0.7), ("linf", 0.1)])
def test_what_is_found_lies_in_the_ball_and_in_the_bounds(shape: tuple[int, ...], norm: Norm, radius: float) -> None:
    ae, images = _model(shape), _images(shape)
    found = random_search(ae, images, radius, norm, queries=60)
    assert (found.distortion <= radius * (1 + 1e-6)).all()
    assert ((found.adversarial >= 0) & (found.adversarial <= 1)).all()
    moved = (ae.reconstruct(found.adversarial) - ae.reconstruct(images)).flatten(1).norm(dim=1)
    assert torch.allclose(moved, found.displacement)
    assert (found.displacement > 0).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_an_image_gets_the_same_alone_and_in_company(norm: Norm) -> None:
    ae, images, targets = _model((1, 6, 6)), _images((1, 6, 6)), _images((1, 6, 6), seed=1)
    radii = torch.linspace(0.1, 0.3, len(images))
    together = random_search(ae, images, radii, norm, queries=50, targets=targets)
    alone = random_search(ae, images[2:3], radii[2:3], norm, queries=50, targets=targets[2:3])
    assert torch.equal(together.adversarial[2:3], alone.adversarial)


def test_more_queries_never_find_less_and_seeds_differ() -> None:
    """On a linear model of one direction the squares approach what no attack can exceed."""
    weight = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 16)
    ae = Autoencoder(lambda x: x.flatten(1) @ weight.T, lambda z: (z @ weight).view(-1, 1, 4, 4), bounds=(-9, 9))
    images = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    best = float(0.5 * weight.norm() ** 2)
    found = [float(random_search(ae, images, 0.5, queries=count).displacement[0]) for count in (16, 128, 1024)]
    assert found[0] < found[1] < found[2] <= best * (1 + 1e-9)
    assert found[2] > 0.8 * best
    again, other = (random_search(ae, images, 0.5, queries=128, seed=seed) for seed in (0, 1))
    assert float(again.displacement[0]) == found[1]
    assert not torch.equal(again.adversarial, other.adversarial)


def test_in_a_cube_the_squares_find_the_corner() -> None:
    weight = torch.ones(1, 16, dtype=torch.float64)
    ae = Autoencoder(lambda x: x.flatten(1) @ weight.T, lambda z: (z @ weight).view(-1, 1, 4, 4), bounds=(-9, 9))
    found = random_search(ae, torch.zeros(1, 1, 4, 4, dtype=torch.float64), 0.25, "linf", queries=400)
    assert float(found.displacement) == pytest.approx(0.25 * 16 * 4)


def test_targets_within_the_ball_are_reached_and_others_approached() -> None:
    ae, images, targets = _model((30,)), _images((30,)), _images((30,), seed=1)
    apart = (targets - images).norm(dim=1)
    reached = random_search(ae, images, apart * 1.01, queries=8, targets=targets)
    assert (reached.divergence < 1e-12).all()
    stay = (ae.encode(images).mean - ae.encode(targets).mean).square().sum(1)
    one = random_search(ae, images, apart / 4, queries=1, targets=targets)
    many = random_search(ae, images, apart / 4, queries=300, targets=targets)
    assert (many.divergence < one.divergence).all()
    assert (many.divergence < stay).all()


@pytest.mark.parametrize("queries", [1, 7, 50])
def test_the_model_is_asked_as_often_as_said(queries: int) -> None:
    rows: list[int] = []

    def encode(x: Tensor) -> Tensor:
        rows.extend(map(hash, map(bytes, x.numpy())))
        return x.flatten(1)[:, :2].clone()

    ae = Autoencoder(encode, lambda z: torch.cat([z, z], 1))
    random_search(ae, _images((4,), 1), 0.2, queries=queries)
    assert len(set(rows)) <= queries + 2  # the image, and what was found, measured once more


def test_a_step_that_no_gradient_sees_is_found() -> None:
    ae = Autoencoder(lambda x: (x.flatten(1).mean(1, keepdim=True) > 0.5).double() + 0 * x.flatten(1)[:, :1],
                     lambda z: z.expand(-1, 9).clone().view(-1, 3, 3))  # fmt: skip
    found = random_search(ae, torch.full((1, 3, 3), 0.45, dtype=torch.float64), 0.3, queries=64)
    assert float(found.displacement) == 3.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"norm": "l1"}, OptionError, "unknown norm 'l1'"),
        ({"queries": 0}, OptionError, "queries expects a whole number of at least 1, got 0"),
        ({"queries": True}, OptionError, "queries expects"),
        ({"radius": 0.0}, OptionError, "radius expects a positive number"),
        ({"radius": torch.ones(2)}, OptionError, "one for each of 5 images"),
        ({"targets": torch.ones(5, 4)}, DataError, "targets expect the shape of the images"),
        ({"divergence": "nearness"}, OptionError, "unknown divergence"),
    ],
)
def test_what_cannot_be_searched_is_an_error(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"radius": 0.1, **changes}
    with pytest.raises(error, match=message):
        random_search(_model((30,)), _images((30,)), **arguments)
