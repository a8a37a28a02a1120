"""Likelihood and ELBO under attacked latents: slow loops, and a linear model whose true posterior is known."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from vaeaudit import Autoencoder, DataError, ModelError, OptionError, batches
from vaeaudit.effects import LikelihoodDegradation, likelihood_degradation

IMAGES, BUDGETS, SAMPLES = 3, 2, 5
KEYS = [(0, i, 7 - i) for i in range(IMAGES)]


def _inputs(linear: ModuleType, images: int = IMAGES) -> tuple[Tensor, Tensor]:
    x = linear.points(12, images, 1)
    return x, x[:, None] + 0.5 * linear.points(12, images * BUDGETS, 2).view(images, BUDGETS, 12)


def _latents(model, inputs: Tensor, key: tuple[int, ...]) -> Tensor:
    """Samples of one input's posterior, `(samples, latent)`."""
    noise = torch.from_numpy(np.random.default_rng(key).standard_normal((SAMPLES, 4), dtype=np.float32)).double()
    mean, log_variance = (part[0] for part in model.encode(inputs[None]))
    return mean + (0.5 * log_variance).exp() * noise


def _hold(found: LikelihoodDegradation, slow) -> None:
    """Figures against `slow(image, budget)`, log p of each sample; budget None is the clean image."""
    for i in range(IMAGES):
        clean = slow(i, None)
        assert float(found.clean[i]) == pytest.approx(float(clean.mean()), rel=1e-9)
        for j in range(BUDGETS):
            after = slow(i, j)
            assert float(found.attacked[i, j]) == pytest.approx(float(after.mean()), rel=1e-9)
            assert float(found.drop[i, j]) == pytest.approx(float((clean - after).mean()), rel=1e-6)
            error = float((clean - after).std()) / math.sqrt(SAMPLES)
            assert float(found.drop_error[i, j]) == pytest.approx(error, rel=1e-6)
            relative = ((after - clean).abs() / clean.abs()).mean()
            assert float(found.relative[i, j]) == pytest.approx(float(relative), rel=1e-6)


@pytest.mark.parametrize("std", [None, 2.0])
def test_the_gaussian_is_that_of_a_slow_loop_over_the_same_noise(linear: ModuleType, std: float | None) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, moved = _inputs(linear)
    found = likelihood_degradation(model.autoencoder, x, moved, std=std, samples=SAMPLES, keys=KEYS)

    def slow(i: int, j: int | None) -> Tensor:
        z = _latents(model, x[i] if j is None else moved[i, j], KEYS[i])
        return Normal(model.decode(z), std or 1.0).log_prob(x[i]).sum(1)

    _hold(found, slow)
    assert found.perfect is not None
    ideal = 12 * Normal(0.0, std or 1.0).log_prob(torch.tensor(0.0)).double()
    torch.testing.assert_close(found.perfect, ideal.expand(IMAGES))


def _bernoulli(linear: ModuleType, low: float, high: float):
    """A model with pixels between two bounds, whose logits are those of one with pixels in [0, 1]."""
    model = linear.linear_gaussian(slope=1.0)
    unit = Autoencoder(
        lambda x: model.encode((x - low) / (high - low)),
        lambda z: low + (high - low) * torch.sigmoid(model.decode(z)),
        bounds=(low, high), scale="log_variance", modules=(torch.nn.Linear(1, 1).double(),),
    )  # fmt: skip
    return model, unit


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (-0.42, 2.82)])
def test_the_bernoulli_is_that_of_a_slow_loop_whatever_the_bounds(linear: ModuleType, bounds) -> None:
    low, high = bounds
    model, ae = _bernoulli(linear, low, high)
    x = linear.points(12, IMAGES, bounds=(0.0, 1.0))
    moved = linear.points(12, IMAGES * BUDGETS, 1, bounds=(0.0, 1.0)).view(IMAGES, BUDGETS, 12)
    found = likelihood_degradation(
        ae, low + (high - low) * x, low + (high - low) * moved, likelihood="bernoulli", samples=SAMPLES, keys=KEYS
    )

    def slow(i: int, j: int | None) -> Tensor:
        r = torch.sigmoid(model.decode(_latents(model, x[i] if j is None else moved[i, j], KEYS[i])))
        return (x[i] * r.log() + (1 - x[i]) * (1 - r).log()).sum(1)

    _hold(found, slow)
    assert found.perfect is not None
    torch.testing.assert_close(found.perfect, (x * x.log() + (1 - x) * (1 - x).log()).sum(1))
    assert found.deviance_ratio is not None
    assert bool((found.deviance_ratio > 0).all())


def test_pixels_that_leave_the_bounds_by_rounding_alone_are_inside() -> None:
    """0.1 is larger in float32 than in float64."""
    ae = Autoencoder(lambda x: x, lambda z: z, (-0.1, 0.1), modules=(torch.nn.Linear(1, 1),))
    x = torch.tensor([[0.1, -0.1, 0.0]])
    found = likelihood_degradation(ae, x, x[:, None], likelihood="bernoulli")
    assert float(found.clean) == pytest.approx(-math.log(2))


def _full_kl(mean: Tensor, variance: Tensor, true_mean: Tensor, true: Tensor) -> Tensor:
    """KL of a diagonal Gaussian to one with any covariance."""
    inverse = torch.linalg.inv(true)
    shift = mean - true_mean
    trace = (inverse.diagonal() * variance).sum()
    return 0.5 * (trace + shift @ inverse @ shift - len(mean) + true.logdet() - variance.log().sum())


def test_the_elbo_drops_by_as_much_as_the_attack_leaves_the_true_posterior(linear: ModuleType) -> None:
    """log p(x) - ELBO = KL(q || p(z|x)), and p(z|x) of a linear decoder under a standard normal prior is Gaussian."""
    model = linear.linear_gaussian()
    x, moved = _inputs(linear)
    found = likelihood_degradation(model.autoencoder, x, moved, std=0.7, samples=4000)
    b, noise = model.decoder, 0.7**2
    true = torch.linalg.inv(torch.eye(4, dtype=torch.float64) + b.T @ b / noise)
    evidence = torch.distributions.MultivariateNormal(
        model.decoder_offset, noise * torch.eye(12, dtype=torch.float64) + b @ b.T
    )
    variance = model.log_variance.exp()
    for i in range(IMAGES):
        centre = true @ b.T @ (x[i] - model.decoder_offset) / noise
        clean = _full_kl(model.encode(x[i])[0], variance, centre, true)
        assert float(found.clean_elbo[i]) == pytest.approx(float(evidence.log_prob(x[i]) - clean), rel=0.02)
        for j in range(BUDGETS):
            attacked = _full_kl(model.encode(moved[i, j])[0], variance, centre, true)
            miss = float(found.elbo_drop[i, j] - (attacked - clean))
            assert abs(miss) < 5 * float(found.drop_error[i, j])
            assert float(found.drop_error[i, j]) < 0.1 * abs(float(attacked - clean)) + 0.2


def test_what_is_not_attacked_loses_nothing(linear: ModuleType) -> None:
    x, _ = _inputs(linear)
    found = likelihood_degradation(linear.linear_gaussian().autoencoder, x, x[:, None], samples=SAMPLES)
    assert found.deviance_ratio is not None
    for figure in (found.drop, found.drop_error, found.relative, found.elbo_drop, found.deviance_ratio - 1):
        assert figure.tolist() == [[0.0]] * IMAGES


def test_drop_and_deviance_ratio_are_free_of_constants_that_the_relative_figure_depends_on(linear: ModuleType) -> None:
    model = linear.linear_gaussian(deterministic=True)
    x, moved = _inputs(linear)
    one, other = (likelihood_degradation(model.autoencoder, x, moved, std=std) for std in (1.0, 3.0))
    assert one.deviance_ratio is not None
    assert other.deviance_ratio is not None
    errors = [(model.decode(model.encode(y)) - x.view(IMAGES, -1, 12)).square().sum(2) for y in (x[:, None], moved)]
    torch.testing.assert_close(one.deviance_ratio, errors[1] / errors[0])
    torch.testing.assert_close(other.deviance_ratio, errors[1] / errors[0])
    torch.testing.assert_close(one.drop, 9 * other.drop)
    assert not torch.allclose(one.relative, other.relative, rtol=0.1)


def test_a_quotient_by_figures_of_both_signs_is_none() -> None:
    """log N(x; x + sigma eps, 0.3^2) of four pixels is about 0 at sigma^2 = 0.0513, and positive at a smaller one."""
    x = torch.zeros(1, 4, dtype=torch.float64)
    for variance, defined in ((0.0513, False), (0.001, True)):
        log_variance = torch.full((1, 4), math.log(variance), dtype=torch.float64)
        ae = Autoencoder(
            lambda y, spread=log_variance: (y, spread.expand_as(y)),
            lambda z: z,
            modules=(torch.nn.Linear(1, 1).double(),),
        )
        found = likelihood_degradation(ae, x, x[:, None] + 0.2, std=0.3, samples=50)
        assert found.relative.isfinite().tolist() == [[defined]]
        assert found.drop.isfinite().all()


def test_a_deterministic_code_has_a_reconstruction_term_alone(linear: ModuleType) -> None:
    model = linear.linear_gaussian(deterministic=True)
    x, moved = _inputs(linear)
    found = likelihood_degradation(model.autoencoder, x, moved)
    assert (found.samples, found.clean_kl, found.attacked_kl) == (1, None, None)
    assert not found.drop_error.any()
    assert torch.equal(found.elbo_drop, found.drop)
    torch.testing.assert_close(found.clean, Normal(model.decode(model.encode(x)), 1.0).log_prob(x).sum(1))


def test_a_decoder_with_a_spread_of_its_own_is_taken_at_its_word(linear: ModuleType) -> None:
    model = linear.linear_gaussian(deterministic=True)

    def decode(z: Tensor) -> Normal:
        return Normal(model.decode(z), (0.1 * z.sum(1, keepdim=True)).exp().expand(-1, 12))

    ae = Autoencoder(model.encode, decode, bounds=linear.FREE, modules=(torch.nn.Linear(1, 1).double(),))
    x, moved = _inputs(linear)
    found = likelihood_degradation(ae, x, moved)
    torch.testing.assert_close(found.clean, decode(model.encode(x)).log_prob(x).sum(1))
    assert found.perfect is None
    assert found.deviance_ratio is None
    fixed = likelihood_degradation(ae, x, moved, std=2.0)
    torch.testing.assert_close(fixed.clean, Normal(model.decode(model.encode(x)), 2.0).log_prob(x).sum(1))


def test_neither_order_nor_company_nor_chunks_matter(linear: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, moved = _inputs(linear, 6)

    def measured(rows: list[int]) -> LikelihoodDegradation:
        return likelihood_degradation(model.autoencoder, x[rows], moved[rows], samples=SAMPLES)

    together, shuffled, alone = measured(list(range(6))), measured([4, 0, 3]), measured([2])
    for name in ("clean", "attacked", "drop_error", "relative", "clean_kl"):
        assert torch.equal(getattr(shuffled, name), getattr(together, name)[[4, 0, 3]])
        assert torch.equal(getattr(alone, name), getattr(together, name)[[2]])
    other = likelihood_degradation(model.autoencoder, x, moved, samples=SAMPLES, seed=1)
    assert not (other.clean == together.clean).any()
    monkeypatch.setitem(batches._MOST_ELEMENTS, "cpu", 3 * 12)
    chunked = likelihood_degradation(linear.linear_gaussian(slope=1.0).autoencoder, x, moved, samples=SAMPLES)
    torch.testing.assert_close(chunked.attacked, together.attacked)


def test_what_makes_no_sense_is_refused(linear: ModuleType) -> None:
    ae = linear.linear_gaussian().autoencoder
    x, moved = _inputs(linear)
    with pytest.raises(OptionError, match="likelihood expects one of gaussian, bernoulli, got 'poisson'"):
        likelihood_degradation(ae, x, moved, likelihood="poisson")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="finite bounds"):
        likelihood_degradation(ae, x, moved, likelihood="bernoulli")
    with pytest.raises(OptionError, match="std expects a positive number"):
        likelihood_degradation(ae, x, moved, std=0.0)
    with pytest.raises(OptionError, match="at least 1, got 0"):
        likelihood_degradation(ae, x, moved, samples=0)
    with pytest.raises(OptionError, match="keys expect one an image, 3, got 1"):
        likelihood_degradation(ae, x, moved, keys=KEYS[:1])
    with pytest.raises(DataError, match="expect the shape"):
        likelihood_degradation(ae, x, moved[:2])
    beyond = linear.linear_gaussian(bounds=(0.0, 1.0)).autoencoder
    inside = linear.points(12, 2, bounds=(0.0, 1.0))
    with pytest.raises(ModelError, match="end the decoder with a sigmoid"):
        likelihood_degradation(beyond, inside, inside[:, None], likelihood="bernoulli")
    flat = Autoencoder(beyond.encoder, lambda z: beyond.decoder(z)[:, :6], modules=(torch.nn.Linear(1, 1).double(),))
    with pytest.raises(ModelError, match=r"expect the shape of an image, \(12,\), got \(6,\)"):
        likelihood_degradation(flat, inside, inside[:, None])
