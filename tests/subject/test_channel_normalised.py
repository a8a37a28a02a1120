"""The distance in each channel's standard deviations: of known channels, blind to their scales, and one for a whole plan."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import vaeaudit
from vaeaudit import OptionError, attacks, zoo
from vaeaudit.divergences import NAMES, channel_normalised, deviations_in, divergence_named, latent_deviations
from vaeaudit.latent import Layout, Posterior

FREE = (-math.inf, math.inf)
SCALES = torch.tensor([0.1, 1.0, 50.0], dtype=torch.float64)


def _code(mean: Tensor, layout: Layout | None = None) -> Posterior:
    return Posterior(mean=mean, log_variance=None, layout=layout)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _distance(deviations: tuple[float, ...], a: Posterior, t: Posterior) -> Tensor:
    _, divergence = divergence_named(channel_normalised(deviations), deterministic=a.log_variance is None)
    return divergence(a, t)


def _linear(weight: Tensor) -> vaeaudit.Autoencoder:
    """z = A x, and its least-squares decoder."""
    return vaeaudit.Autoencoder(_Times(weight), _Times(torch.linalg.pinv(weight)), bounds=FREE)


class _Times(torch.nn.Module):
    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T


def test_deviations_are_those_of_each_channel_over_images_and_places() -> None:
    means = _draw(50, 3, 4, 5) * SCALES[:, None, None]
    expected = means.transpose(0, 1).flatten(1).std(1, correction=0)
    assert latent_deviations(_code(means)) == pytest.approx(expected.tolist())


def test_each_unit_of_a_vector_is_a_channel() -> None:
    means = _draw(50, 3) * SCALES
    assert latent_deviations(_code(means)) == pytest.approx(means.std(0, correction=0).tolist())


def test_groups_have_channels_of_their_own() -> None:
    grid, vector = _draw(20, 2, 3, 3), 7 * _draw(20, 4, seed=1)
    layout = Layout(shapes=((2, 3, 3), (4,)))
    deviations = latent_deviations(_code(layout.joined([grid, vector]), layout))
    assert deviations == (*latent_deviations(_code(grid)), *latent_deviations(_code(vector)))
    a, t = (_code(layout.joined([grid[rows], vector[rows]]), layout) for rows in (slice(0, 10), slice(10, 20)))
    parts = [
        _distance(latent_deviations(_code(x)), _code(x[:10]), _code(x[10:])) for x in (grid, vector)
    ]  # fmt: skip
    torch.testing.assert_close(_distance(deviations, a, t), parts[0] + parts[1])


def test_the_distance_is_the_sum_of_squares_in_deviations() -> None:
    a, t = _code(_draw(6, 3, 2, 2)), _code(_draw(6, 3, 2, 2, seed=1))
    expected = sum(
        (a.mean[:, c] - t.mean[:, c]).flatten(1).square().sum(1) / float(SCALES[c]) ** 2 for c in range(3)
    )  # fmt: skip
    torch.testing.assert_close(_distance(tuple(SCALES.tolist()), a, t), expected)


def test_a_channel_that_hardly_varies_is_not_blown_up() -> None:
    means = _draw(50, 2) * torch.tensor([1.0, 1e-9])
    deviations = latent_deviations(_code(means))
    assert deviations[1] == pytest.approx(1e-3 * deviations[0])


def test_the_name_holds_the_deviations_to_the_last_bit() -> None:
    deviations = (0.1 + 0.2, 1e-30, 12345.678901234567)
    assert deviations_in(channel_normalised(deviations)) == deviations


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: channel_normalised([]), "deviations expect a positive number for each latent channel"),
        (lambda: channel_normalised([1.0, 0.0]), "deviations expect a positive number"),
        (lambda: channel_normalised([math.inf]), "deviations expect a positive number"),
        (lambda: latent_deviations(_code(torch.ones(5, 3))), "latent means of 5 images do not vary"),
        (lambda: deviations_in("channel_normalised_l2"), "needs the latent's standard deviations"),
        (lambda: deviations_in("channel_normalised_l2:1,x"), "expects numbers after the colon, got '1,x'"),
        (lambda: _distance((1.0, 2.0), _code(_draw(2, 3)), _code(_draw(2, 3))), "holds 2 deviations, and a latent"),
    ],
)
def test_what_cannot_be_normalised_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()


def test_the_attack_reaches_the_optimum_of_a_linear_encoder() -> None:
    weight = SCALES[:, None] * _draw(3, 5, seed=2)
    ae, images = _linear(weight), _draw(40, 5, seed=3)
    deviations = latent_deviations(ae.posteriors(images))
    originals, targets, strengths = images[:4], images[4:8], [0.01, 0.1, 1.0]
    attack = attacks.targeted(ae, originals, targets, strengths, channel_normalised(deviations))
    scaled = weight / torch.tensor(deviations, dtype=torch.float64)[:, None]
    wanted = (targets - originals) @ scaled.T
    for column, strength in enumerate(strengths):
        normal = scaled.T @ scaled + strength * torch.eye(5, dtype=torch.float64)
        best = torch.linalg.solve(normal, (wanted @ scaled).T).T
        least = (best @ scaled.T - wanted).square().sum(1) + strength * best.square().sum(1)
        torch.testing.assert_close(attack.objective[:, column], least, rtol=1e-4, atol=0)
        torch.testing.assert_close(attack.distortion[:, column], best.norm(dim=1), rtol=1e-2, atol=0)


def test_scales_of_channels_change_nothing_but_under_the_plain_distance() -> None:
    weight, images = _draw(3, 5, seed=2), _draw(40, 5, seed=3)
    found = {}
    for name, scales in (("even", torch.ones(3, dtype=torch.float64)), ("uneven", SCALES)):
        ae = _linear(scales.double()[:, None] * weight)
        normalised = channel_normalised(latent_deviations(ae.posteriors(images)))
        for divergence in (normalised, "mean_l2"):
            attack = attacks.targeted(ae, images[:3], images[3:6], 6, divergence)
            found[name, divergence[:7]] = attack.distortion
    torch.testing.assert_close(found["uneven", "channel"], found["even", "channel"], rtol=1e-2, atol=1e-6)
    assert not torch.allclose(found["uneven", "mean_l2"], found["even", "mean_l2"], rtol=0.05)


def test_damage_in_the_latent_is_in_the_same_units() -> None:
    weight = SCALES[:, None] * torch.eye(3, 5, dtype=torch.float64)
    ae, deviations, radius = _linear(weight), (0.1, 2.0, 25.0), 0.3
    damage = attacks.latent_damage(ae, _draw(2, 5), radius, divergence=channel_normalised(deviations), steps=60)
    steepest = (SCALES / torch.tensor(deviations)).max()
    torch.testing.assert_close(
        damage.divergence.double(), torch.full((2, 1), float((radius * steepest) ** 2), dtype=torch.float64), rtol=1e-3, atol=0
    )  # fmt: skip


def test_a_plan_takes_the_deviations_over_all_images_whatever_the_pairs() -> None:
    ae, images = zoo.load("mnist-vae"), zoo.images("mnist-vae")
    few, more = (
        vaeaudit.plan(ae, images, "quick", pairs, strengths=4, divergence="channel_normalised_l2", most_pairs=8)
        for pairs in (2, 8)
    )
    assert few.divergence == more.divergence == few.settings["divergence"]
    assert few.identity["settings"]["divergence"] == few.divergence
    means = ae.posteriors(few.data.pixels).mean
    assert deviations_in(few.divergence) == pytest.approx(means.double().std(0, correction=0).tolist())


def test_the_option_of_tests_names_every_divergence_that_an_audit_takes() -> None:
    from pytest_vaeaudit.options import DIVERGENCES

    assert DIVERGENCES == NAMES
