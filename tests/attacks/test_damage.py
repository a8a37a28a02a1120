"""Untargeted attacks: on a linear model the most damage is the radius times the largest singular value."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, DataError, GradientError, OptionError
from vaeaudit.attacks import as_starts, leading_directions, maximum_damage, spectral
from vaeaudit.attacks.noise import noise_of

RADII = [0.1, 0.7, 2.0]
BOX = (0.0, 1.0)


def _displacement(ae: Autoencoder, images: Tensor, adversarial: Tensor) -> Tensor:
    """L2(r(x + d) - r(x)), `(images, budgets)`."""
    clean = ae.reconstruct(images).flatten(1)
    return torch.stack(
        [(ae.reconstruct(a).flatten(1) - clean).norm(dim=1) for a in adversarial.transpose(0, 1)], 1
    ).double()  # fmt: skip


@pytest.fixture(scope="module")
def bent() -> Autoencoder:
    """A smooth non-linear model in float64 whose two signs of a direction do different damage."""
    generator = torch.Generator().manual_seed(0)
    inward, outward = torch.randn(2, 5, 16, generator=generator, dtype=torch.float64) / 3
    return Autoencoder(
        lambda x: (2 * (x - 0.4) @ inward.T).exp().log1p(), lambda z: (z @ outward).tanh(), bounds=BOX
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_the_maximum_l2_damage_of_a_linear_model_is_its_largest_singular_value(linear: ModuleType, seed: int) -> None:
    model = linear.linear_gaussian(seed=seed)
    found = maximum_damage(model.autoencoder, linear.points(12, 3, seed), RADII, steps=300)
    for j, radius in enumerate(RADII):
        assert found.displacement[:, j].tolist() == pytest.approx([model.optimal_step(radius)] * 3, rel=1e-6)
        assert found.distortion[:, j].tolist() == pytest.approx([radius] * 3, rel=1e-12)
    assert bool(found.converged.all())


def test_the_default_budget_of_steps_comes_within_a_percent(linear: ModuleType) -> None:
    model = linear.linear_gaussian(n=40, k=6)
    found = maximum_damage(model.autoencoder, linear.points(40, 3), 1.0)
    assert bool((found.displacement[:, 0] > 0.99 * model.optimal_step(1.0)).all())


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_round_trip_step_is_optimal_on_a_linear_model(linear: ModuleType, deterministic: bool) -> None:
    model = linear.linear_gaussian(deterministic=deterministic)
    found = spectral(model.autoencoder, linear.points(12, 3), RADII, metric="round_trip")
    for j, radius in enumerate(RADII):
        assert found.displacement[:, j].tolist() == pytest.approx([model.optimal_step(radius)] * 3, rel=1e-6)


def test_an_encoder_metrics_step_moves_the_mean_by_its_largest_singular_value(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 3)
    largest = float(torch.linalg.matrix_norm(model.weight, 2))
    for metric in ("mean", "wasserstein"):
        found = spectral(model.autoencoder, x, 0.7, metric=metric)
        moved = ((found.adversarial[:, 0] - x) @ model.weight.T).norm(dim=1)
        torch.testing.assert_close(moved, torch.full_like(moved, 0.7 * largest))
    whitened = (-0.5 * model.log_variance).exp()[:, None] * model.weight
    found = spectral(model.autoencoder, x, 0.7, metric="fisher")
    moved = ((found.adversarial[:, 0] - x) @ whitened.T).norm(dim=1)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.7 * float(torch.linalg.matrix_norm(whitened, 2))))


def test_leading_directions_are_the_top_eigenvectors(linear: ModuleType, metrics: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x = linear.points(12, 3)
    for metric in ("mean", "wasserstein", "fisher"):
        vectors = leading_directions(model.autoencoder, x, metric)
        for row in range(3):
            slow = torch.linalg.eigh(model.encoder_metric(x[row], metric))[1][:, -1]
            assert abs(float(vectors[row] @ slow)) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("attack", ["maximum", "spectral"])
def test_no_attack_leaves_the_bounds_or_its_budget_and_figures_are_those_of_the_image(
    linear: ModuleType, bent: Autoencoder, attack: str, norm: str
) -> None:
    x = linear.points(16, 4, bounds=BOX)
    x[0, :8], x[0, 8:] = 0, 1
    run = maximum_damage if attack == "maximum" else spectral
    found = run(bent, x, RADII, norm=norm)
    assert float(found.adversarial.min()) >= 0
    assert float(found.adversarial.max()) <= 1
    moved = found.adversarial - x[:, None]
    length = moved.norm(dim=2) if norm == "l2" else moved.abs().amax(2)
    torch.testing.assert_close(found.distortion, length)
    assert bool((length <= found.radii * (1 + 1e-12)).all())
    torch.testing.assert_close(found.displacement, _displacement(bent, x, found.adversarial))
    assert bool((found.displacement[:, 0] > 0).all())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_damage_never_falls_as_the_budget_grows(linear: ModuleType, bent: Autoencoder, norm: str) -> None:
    found = maximum_damage(bent, linear.points(16, 4, bounds=BOX), torch.logspace(-2, 1, 12).tolist(), norm, steps=5)
    assert bool((found.displacement.diff(dim=1) >= -1e-12).all())
    assert bool((found.displacement[:, -1] > 2 * found.displacement[:, 0]).all())


def test_the_step_is_lengthened_until_the_budget_is_used_up_despite_the_bounds(
    linear: ModuleType, bent: Autoencoder
) -> None:
    found = spectral(bent, linear.points(16, 4, bounds=BOX), [0.1, 0.5])
    torch.testing.assert_close(found.distortion, found.radii.expand(4, 2))
    assert ((found.adversarial == 0) | (found.adversarial == 1)).any()


def test_the_sign_of_the_spectral_step_is_the_one_that_does_more_of_what_it_is_after(
    linear: ModuleType, bent: Autoencoder
) -> None:
    free = Autoencoder(bent.encoder, bent.decoder, bounds=(-math.inf, math.inf))
    x = linear.points(16, 8, bounds=BOX)
    codes = Autoencoder(bent.encoder, lambda z: z, bounds=(-math.inf, math.inf))
    for metric, measured in (("round_trip_mean", free), ("mean", codes)):
        found = spectral(free, x, 1.0, metric)
        torch.testing.assert_close(found.opposite, 2 * x[:, None] - found.adversarial)
        kept, other = (_displacement(measured, x, steps) for steps in (found.adversarial, found.opposite))
        torch.testing.assert_close(found.realised, kept)
        assert bool((kept >= other).all())
        assert bool((kept > 1.01 * other).any())
    # a mirrored copy, whose eigenvectors may well come out with the other sign
    mirror = Autoencoder(lambda v: free.encode(-v).mean, free.decoder, free.bounds)
    torch.testing.assert_close(spectral(mirror, -x, 1.0).displacement, spectral(free, x, 1.0).displacement)


def test_the_linf_maximum_of_a_linear_row_is_its_l1_norm() -> None:
    row = torch.tensor([[0.5, -2.0, 0.0, 1.5]], dtype=torch.float64)
    ae = Autoencoder(lambda x: x @ row.T, lambda z: z @ torch.eye(1, 4, dtype=torch.float64), (-math.inf, math.inf))
    x = torch.zeros(1, 4, dtype=torch.float64)
    for found in (maximum_damage(ae, x, 0.3, "linf"), spectral(ae, x, 0.3, "round_trip", "linf")):
        assert float(found.displacement) == pytest.approx(0.3 * 4.0, rel=1e-9)
        assert found.norm == "linf"


def test_no_random_point_of_the_ball_does_more_damage(linear: ModuleType, bent: Autoencoder) -> None:
    x = linear.points(16, 3, bounds=BOX)
    found = maximum_damage(bent, x, 0.8, restarts=3, steps=60)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(3, 500, 16, generator=generator, dtype=torch.float64)
    noise = 0.8 * noise / noise.norm(dim=2, keepdim=True)
    shaken = (x[:, None] + noise).clamp(0, 1)
    assert bool((_displacement(bent, x, shaken).amax(1) < found.displacement[:, 0]).all())
    assert bool((spectral(bent, x, 0.8).displacement <= found.displacement * (1 + 1e-9)).all())


def test_a_start_at_the_optimum_is_kept_and_counts_as_converged(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 3)
    starts = leading_directions(model.autoencoder, x, "round_trip")[None]
    found = maximum_damage(model.autoencoder, x, 1.0, restarts=0, starts=starts)
    assert found.displacement[:, 0].tolist() == pytest.approx([model.optimal_step(1.0)] * 3, rel=1e-6)
    assert bool(found.converged.all())


def test_an_attack_stopped_on_its_way_up_says_so(linear: ModuleType, bent: Autoencoder) -> None:
    x = linear.points(16, 4, bounds=BOX)
    assert not maximum_damage(bent, x, 0.9, steps=1).converged.any()
    assert maximum_damage(bent, x, 0.9, steps=300).converged.all()


def test_budgets_come_back_ascending_and_images_do_not_disturb_each_other(
    linear: ModuleType, bent: Autoencoder
) -> None:
    x = linear.points(16, 4, bounds=BOX)
    together = maximum_damage(bent, x, [0.9, 0.2])
    assert together.radii.tolist() == pytest.approx([0.2, 0.9])
    alone = maximum_damage(bent, x[2:3], [0.2, 0.9])
    torch.testing.assert_close(alone.displacement[0], together.displacement[2], rtol=1e-9, atol=0)
    again = maximum_damage(bent, x, [0.9, 0.2])
    assert torch.equal(again.adversarial, together.adversarial)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l1"}, "unknown norm 'l1'; choose one of l2, linf"),
        ({"radius": 0.0}, "radius expects positive numbers, got 0.0"),
        ({"radius": [1.0, -1.0]}, "radius expects positive numbers"),
        ({"radius": [1.0, math.inf]}, "radius expects positive numbers"),
        ({"radius": []}, "radius expects positive numbers"),
    ],
)
@pytest.mark.parametrize("attack", [maximum_damage, spectral])
def test_options_that_cannot_be_used_are_refused(linear: ModuleType, attack, options: dict, message: str) -> None:
    model = linear.linear_gaussian()
    with pytest.raises(OptionError, match=message):
        attack(model.autoencoder, linear.points(12, 2), **({"radius": 1.0} | options))


def test_an_unknown_metric_is_refused_and_fisher_needs_variances(linear: ModuleType) -> None:
    x = linear.points(12, 2)
    with pytest.raises(OptionError, match="unknown metric 'wasserstien'; choose one of wasserstein, fisher, mean"):
        spectral(linear.linear_gaussian().autoencoder, x, 1.0, metric="wasserstien")
    with pytest.raises(OptionError, match="fisher metric needs posterior variances"):
        spectral(linear.linear_gaussian(deterministic=True).autoencoder, x, 1.0, metric="fisher")


@pytest.mark.parametrize("attack", [maximum_damage, spectral])
def test_images_that_cannot_be_attacked_are_refused(linear: ModuleType, attack) -> None:
    ae = linear.linear_gaussian(bounds=(0.0, 1.0)).autoencoder
    for images, message in (
        (torch.zeros(0, 12), "images expect the shape"),
        (torch.zeros(12), "images expect the shape"),
        (torch.full((2, 12), math.nan), "images must be finite"),
        (torch.full((2, 12), 2.0), r"images range over \[2, 2\], outside the bounds \[0, 1\]"),
    ):
        with pytest.raises(DataError, match=message):
            attack(ae, images, 1.0)


@pytest.mark.parametrize("attack", [maximum_damage, spectral])
def test_a_model_without_gradients_is_named(attack) -> None:
    ae = Autoencoder(lambda x: x.detach()[:, :2], lambda z: z @ torch.ones(2, 6))
    with pytest.raises(GradientError, match="no gradient flows"):
        attack(ae, torch.rand(2, 6, generator=torch.Generator().manual_seed(0)), 1.0)


def _sampled(bent: Autoencoder, log_variance: float) -> Autoencoder:
    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = bent.encoder(x)
        return mean, log_variance + 0.3 * mean

    return Autoencoder(encode, bent.decoder, bounds=BOX, scale="log_variance")


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_sampled_damage_without_variance_is_that_of_the_mean(linear: ModuleType, bent: Autoencoder, norm: str) -> None:
    x = linear.points(16, 3, bounds=BOX)
    still = _sampled(bent, -400)
    sampled, mean = (maximum_damage(still, x, [0.2, 0.6], norm, samples=n, steps=20) for n in (3, 0))
    torch.testing.assert_close(sampled.adversarial, mean.adversarial, rtol=0, atol=1e-7)
    torch.testing.assert_close(sampled.objective, mean.displacement, rtol=1e-9, atol=0)
    codes = maximum_damage(bent, x, 0.6, norm, samples=3, steps=5)
    assert codes.samples == 0, "a deterministic code has nothing to sample"
    assert torch.equal(codes.objective, codes.displacement)


def test_sampled_damage_is_the_mean_over_samples_and_more_than_the_mean_attack_does_to_them(
    linear: ModuleType, bent: Autoencoder
) -> None:
    x = linear.points(16, 3, bounds=BOX)
    loose = _sampled(bent, -1.0)
    mean = maximum_damage(loose, x, [0.3, 0.6], steps=60)
    found = maximum_damage(loose, x, [0.3, 0.6], steps=60, samples=6, seed=4, starts=as_starts(x, mean))
    noise = noise_of(x, loose.posteriors(x), 6, 4)
    for row in range(3):
        clean = loose.reconstruct(x[row][None])[0]

        def expected(image: Tensor, clean=clean, row=row) -> float:
            q = loose.encode(image[None])
            draws = [loose.decode(q.mean + q.std * e)[0] - clean for e in noise[row]]
            return sum(float(d.norm()) for d in draws) / 6

        for j in range(2):
            assert float(found.objective[row, j]) == pytest.approx(expected(found.adversarial[row, j]), rel=1e-9)
            assert float(found.objective[row, j]) >= expected(mean.adversarial[row, j]) * (1 - 1e-12)
    assert bool((found.objective > found.displacement).any()), "the spread must matter for this test to say anything"
