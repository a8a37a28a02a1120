"""Targeted attacks inside a ball, and other aims than the posterior: known optima of linear models."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.attacks import path_starts, strength_series, targeted, targeted_ball
from vaeaudit.attacks.noise import noise_of
from vaeaudit.attacks.twins import WithoutTwins
from vaeaudit.optimize import BoxLBFGS

RADII = [0.3, 1.0, 3.0]
BOX = (0.0, 1.0)
TIGHT = BoxLBFGS(tolerance=1e-11, max_evaluations=3000)
SAMPLES = 5


def _problem(model, x: Tensor, t: Tensor, aim: str) -> tuple[Tensor, Tensor, float]:
    """M, m and c with F = |M d - m|^2 + c for one pair of a model without bounds."""
    if aim == "latent":
        return *model.residual(x, t, "kl"), 0.0
    mean = model.weight @ x + model.offset
    if aim == "output":
        return model.decoder @ model.weight, t - model.decode(mean), 0.0
    posterior = model.autoencoder.posteriors(x[None])
    noise = model.std(x) * noise_of(x[None], posterior, SAMPLES, 7)[0]
    decoder, half = model.decoder, math.sqrt(0.5)
    mean_noise = noise.mean(0)
    matrix = half * torch.cat([decoder @ model.weight, model.weight])
    right = half * torch.cat([t - model.decode(mean + mean_noise), -mean])
    variance = model.log_variance
    rest = ((noise - mean_noise) @ decoder.T).square().sum(1).mean() / 2 + (variance.exp() - 1 - variance).sum() / 2
    return matrix, right, float(rest)


def _ball(aim: str) -> dict:
    return {"aim": aim, "samples": SAMPLES, "seed": 7}


@pytest.mark.parametrize("aim", ["latent", "output", "elbo"])
def test_an_l2_ball_is_searched_to_its_optimum(linear: ModuleType, balls: ModuleType, aim: str) -> None:
    model = linear.linear_gaussian(condition=5)
    x, t = linear.points(12, 3, 1), linear.points(12, 3, 2)
    found = targeted_ball(model.autoencoder, x, t, RADII, "l2", **_ball(aim), steps=150)
    assert found.aim == aim
    for pair in range(3):
        matrix, right, rest = _problem(model, x[pair], t[pair], aim)
        for j, radius in enumerate(RADII):
            best = balls.least_squares_in_ball(matrix, right, radius)
            known = float((matrix @ best - right).square().sum()) + rest
            here = float((matrix @ (found.adversarial[pair, j] - x[pair]) - right).square().sum()) + rest
            assert float(found.objective[pair, j]) == pytest.approx(here, rel=1e-9, abs=1e-12)
            assert float(found.objective[pair, j]) == pytest.approx(known, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("aim", ["latent", "output", "elbo"])
def test_a_cube_is_searched_to_its_optimum(linear: ModuleType, boxes: ModuleType, aim: str) -> None:
    model = linear.linear_gaussian(condition=5)
    x, t = linear.points(12, 2, 1), linear.points(12, 2, 2)
    found = targeted_ball(model.autoencoder, x, t, [0.1, 0.5], "linf", **_ball(aim), steps=150)
    for pair in range(2):
        matrix, right, rest = _problem(model, x[pair], t[pair], aim)
        for j, radius in enumerate((0.1, 0.5)):
            edge = torch.full((12,), radius, dtype=torch.float64).numpy()
            best = torch.from_numpy(boxes.box_least_squares(matrix.numpy(), right.numpy(), -edge, edge))
            known = float((matrix @ best - right).square().sum()) + rest
            assert float(found.objective[pair, j]) == pytest.approx(known, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("aim", ["output", "elbo"])
def test_the_penalty_form_of_every_aim_reaches_its_closed_form(linear: ModuleType, balls: ModuleType, aim: str) -> None:
    model, strengths = linear.linear_gaussian(condition=5), [0.01, 0.3, 5.0]
    x, t = linear.points(12, 3, 1), linear.points(12, 3, 2)
    found = targeted(model.autoencoder, x, t, strengths, solver=TIGHT, **_ball(aim))
    assert found.aim == aim
    for pair in range(3):
        matrix, right, rest = _problem(model, x[pair], t[pair], aim)
        for j, strength in enumerate(strengths):
            best = balls.ridge(matrix, right, strength)
            gap = float((matrix @ best - right).square().sum()) + rest
            assert float(found.objective[pair, j]) == pytest.approx(gap + strength * float(best @ best), rel=1e-6)
            assert float(found.gap[pair, j]) == pytest.approx(gap, rel=1e-3)
            posterior = model.residual(x[pair], t[pair], "kl")
            moved = found.adversarial[pair, j] - x[pair]
            latent = float((posterior[0] @ moved - posterior[1]).square().sum())
            assert float(found.divergence[pair, j]) == pytest.approx(latent, rel=1e-9)


def test_the_gap_of_the_latent_aim_is_the_divergence_and_a_series_breaks_even_at_its_middle(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=0.3, bounds=BOX)
    x, t = linear.points(12, 3, 1, bounds=BOX), linear.points(12, 3, 2, bounds=BOX)
    found = targeted(model.autoencoder, x, t, 3)
    assert torch.equal(found.gap, found.divergence)
    back = torch.linalg.pinv(model.weight)
    faithful = replace(model, decoder=back, decoder_offset=-back @ model.offset).autoencoder
    series = strength_series(faithful, x, t, 18, aim="output")
    away = (faithful.reconstruct(x) - t).square().sum(1)
    there = (faithful.reconstruct(t) - t).square().sum(1)
    assert bool((away > there).all())
    even = ((away - there) / (x - t).square().sum(1)).median()
    torch.testing.assert_close(series[9], even)
    series = strength_series(model.autoencoder, x, t, 18, aim="output")
    away = (model.autoencoder.reconstruct(x) - t).square().sum(1)
    there = (model.autoencoder.reconstruct(t) - t).square().sum(1)
    assert bool((away <= there).any()), "this decoder must do no better at the target for some pair"
    even = (torch.where(away > there, away - there, away) / (x - t).square().sum(1)).median()
    torch.testing.assert_close(series[9], even)


def test_a_bernoulli_elbo_is_that_of_a_loop_over_samples(linear: ModuleType) -> None:
    made = linear.linear_gaussian(slope=0.5)
    ae = Autoencoder(made.encode, lambda z: made.decode(z).sigmoid(), BOX, scale="log_variance")
    x, t = linear.points(12, 2, 1, bounds=BOX), linear.points(12, 2, 2, bounds=BOX)
    found = targeted_ball(
        ae, x, t, 0.2, aim="elbo", likelihood="bernoulli", samples=SAMPLES, seed=3, steps=20, divergence="mean_l2"
    )
    for pair in range(2):
        mean, log_variance = made.encode(found.adversarial[pair])
        q = torch.distributions.Normal(mean[0], (0.5 * log_variance[0]).exp())
        noise = noise_of(x[pair][None], ae.posteriors(x[:1]), SAMPLES, 3)[0]
        losses = [
            torch.nn.functional.binary_cross_entropy(
                made.decode(q.mean + q.stddev * e).sigmoid(), t[pair], reduction="sum"
            )
            for e in noise
        ]
        slow = sum(losses) / SAMPLES + torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum()
        # a probability keeps a millionth away from 0 and 1
        assert float(found.objective[pair, 0]) == pytest.approx(float(slow), rel=1e-4)


def test_noise_belongs_to_an_image_and_a_seed(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 4)
    posteriors = model.autoencoder.posteriors(x)
    noise = noise_of(x, posteriors, 3, 0)
    assert noise.shape == (4, 3, 4)
    assert torch.equal(noise_of(x.flip(0), posteriors, 3, 0), noise.flip(0))
    assert torch.equal(noise_of(x[1:2], posteriors, 3, 0), noise[1:2])
    assert not torch.equal(noise_of(x, posteriors, 3, 1), noise)
    assert len(noise.unique()) == noise.numel()


def test_a_target_inside_the_ball_is_reached(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=0.5, bounds=BOX)
    x = linear.points(12, 3, bounds=BOX)
    t = (x + 0.05).clamp(*BOX)
    for norm in ("l2", "linf"):
        found = targeted_ball(model.autoencoder, x, t, 0.3, norm)
        assert float(found.objective.max()) < 1e-12
        reached = model.autoencoder.reconstruct(found.adversarial[:, 0])
        torch.testing.assert_close(found.target_distance[:, 0], (reached - t).norm(dim=1))


def test_starts_from_a_path_lie_on_either_side_of_each_budget(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=0.3, bounds=BOX)
    x, t = linear.points(12, 3, 1, bounds=BOX), linear.points(12, 3, 2, bounds=BOX)
    path = targeted(model.autoencoder, x, t, 12)
    reach = float(path.distortion.max())
    radii = [1e-12, 0.4 * reach, 0.6 * reach, 2 * reach]
    sizes = path_starts(x, path, radii).flatten(3).norm(dim=3)
    known = path.distortion
    for pair in range(3):
        for j, radius in enumerate(radii):
            below, above = known[pair][known[pair] <= radius], known[pair][known[pair] > radius]
            inner = below.max() if len(below) else known[pair].min()
            outer = above.min() if len(above) else known[pair].max()
            assert sizes[:, pair, j].tolist() == pytest.approx([float(inner), float(outer)], rel=1e-9)


def test_in_a_ball_by_itself_climbs_that_meet_are_followed_once_and_the_optimum_is_the_same(
    linear: ModuleType, balls: ModuleType
) -> None:
    model, steps = linear.linear_gaussian(condition=5), 150
    x, t = linear.points(12, 3, 1), linear.points(12, 3, 2)
    alone = targeted_ball(model.autoencoder, x, t, 1.0, "l2", divergence="mean_l2", steps=steps)
    for pair in range(3):
        matrix, right = model.residual(x[pair], t[pair], "mean_l2")
        best = balls.least_squares_in_ball(matrix, right, 1.0)
        known = float((matrix @ best - right).square().sum())
        assert float(alone.objective[pair, 0]) == pytest.approx(known, rel=1e-4)
    assert int(alone.gradient_evaluations.max()) < 3 * steps, "four climbs by themselves take more than four times that"


def test_a_climb_near_a_higher_one_of_its_image_is_evaluated_no_more_and_others_are() -> None:
    # two starts of two images: those of the first end within a twentieth of the radius, those of the second do not
    heights = torch.tensor([1.0, 3.0, 2.0, 4.0], dtype=torch.float64)
    points = torch.tensor([[0.0], [0.9], [0.04], [0.5]], dtype=torch.float64)
    objective = WithoutTwins(
        lambda at, problem: (heights[(at[:, None] == points).all(2).int().argmax(1)], torch.ones_like(at)),
        torch.tensor([0, 1, 0, 1]), torch.ones(4, dtype=torch.float64),
    )  # fmt: skip
    for _ in range(20):
        values, gradients = objective(points)
    assert objective.evaluations.tolist() == [8, 20, 20, 20]
    assert values.tolist() == [-math.inf, 3.0, 2.0, 4.0]
    assert gradients[:, 0].tolist() == [0, 1, 1, 1]
