"""Divergences agree with torch, with a loop over units, and stay exact where posteriors almost coincide."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vaeaudit import OptionError
from vaeaudit.divergences import DIVERGENCES, divergence_named
from vaeaudit.latent import Posterior

Unit = Callable[[float, float, float, float], float]


def _kl(ma: float, sa: float, mt: float, st: float) -> float:
    return math.log(st / sa) + (sa**2 + (ma - mt) ** 2) / (2 * st**2) - 0.5


REFERENCES: dict[str, Unit] = {
    "kl": _kl,
    "kl_reverse": lambda ma, sa, mt, st: _kl(mt, st, ma, sa),
    "symmetric_kl": lambda ma, sa, mt, st: (_kl(ma, sa, mt, st) + _kl(mt, st, ma, sa)) / 2,
    "wasserstein": lambda ma, sa, mt, st: (ma - mt) ** 2 + (sa - st) ** 2,
    "mean_l2": lambda ma, _, mt, __: (ma - mt) ** 2,
    "kl_tabacof2016": lambda ma, sa, mt, st: (sa + (ma - mt) ** 2) / st + math.log(st**2 / sa**2) - 0.5,
}


def _posterior(*shape: int, seed: int) -> Posterior:
    mean, log_variance = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Posterior(mean=mean, log_variance=2 * log_variance)


def _slowly(unit: Unit, a: Posterior, t: Posterior) -> Tensor:
    """Sum over units by a loop."""
    parts = [p.flatten(1).tolist() for p in (a.mean, a.std, t.mean, t.std)]
    return torch.tensor(
        [sum(unit(*four) for four in zip(*rows, strict=True)) for rows in zip(*parts, strict=True)], dtype=torch.float64
    )


def _narrowed(posterior: Posterior, dtype: torch.dtype) -> Posterior:
    assert posterior.log_variance is not None
    return Posterior(mean=posterior.mean.to(dtype), log_variance=posterior.log_variance.to(dtype))


def test_the_reference_table_is_complete() -> None:
    assert REFERENCES.keys() == DIVERGENCES.keys()


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 3, 3)])
def test_a_divergence_agrees_with_a_loop_over_units(name: str, shape: tuple[int, ...]) -> None:
    a, t = _posterior(*shape, seed=1), _posterior(*shape, seed=2)
    torch.testing.assert_close(DIVERGENCES[name](a, t), _slowly(REFERENCES[name], a, t), rtol=1e-12, atol=0)


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 0.05, 0.2, 1.0, 4.0])
def test_kl_agrees_with_torch_from_adversarial_to_target(spread: float) -> None:
    t = _posterior(6, 4, seed=2)
    assert t.log_variance is not None
    step = _posterior(6, 4, seed=3)
    a = Posterior(mean=t.mean + spread * step.mean, log_variance=t.log_variance + spread * step.mean.flip(1))
    expected = kl_divergence(Normal(a.mean, a.std), Normal(t.mean, t.std)).sum(1)
    torch.testing.assert_close(DIVERGENCES["kl"](a, t), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["kl", "kl_reverse", "symmetric_kl", "wasserstein", "mean_l2"])
@pytest.mark.parametrize("difference", [1e-6, 1e-5, 1e-4, 1e-2, 0.3])
def test_float32_is_exact_however_close_the_posteriors_are(name: str, difference: float) -> None:
    t, step = _narrowed(_posterior(50, 8, seed=4), torch.float32), _posterior(50, 8, seed=5)
    assert t.log_variance is not None
    a = Posterior(
        mean=t.mean + (difference * step.mean).float(), log_variance=t.log_variance + (difference * step.mean).float()
    )
    exact = DIVERGENCES[name](_narrowed(a, torch.float64), _narrowed(t, torch.float64))
    relative = (DIVERGENCES[name](a, t).double() / exact - 1).abs().max()
    assert float(relative) < 2e-6


@pytest.mark.parametrize("name", ["kl", "kl_reverse", "symmetric_kl", "wasserstein", "mean_l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_divergence_of_equals_is_zero_with_zero_gradient(name: str, dtype: torch.dtype) -> None:
    t = _narrowed(_posterior(5, 3, seed=6), dtype)
    assert t.log_variance is not None
    a = Posterior(mean=t.mean.clone().requires_grad_(), log_variance=t.log_variance.clone().requires_grad_())
    value = DIVERGENCES[name](a, t)
    assert torch.equal(value, torch.zeros(5, dtype=dtype))
    gradients = torch.autograd.grad(value.sum(), [a.mean, a.log_variance], allow_unused=True)  # type: ignore[list-item]
    assert all(g is None or not g.any() for g in gradients)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradients_are_those_of_the_loop(name: str) -> None:
    a, t = _posterior(2, 3, seed=7), _posterior(2, 3, seed=8)
    assert a.log_variance is not None
    inputs = a.mean.requires_grad_(), a.log_variance.requires_grad_()
    assert torch.autograd.gradcheck(lambda m, v: DIVERGENCES[name](Posterior(mean=m, log_variance=v), t), inputs)


def test_kl_stays_finite_for_a_target_of_tiny_variance() -> None:
    t = Posterior(mean=torch.ones(1, 2), log_variance=torch.full((1, 2), -100.0))
    a = Posterior(mean=torch.full((1, 2), 1.0), log_variance=torch.full((1, 2), -100.0))
    assert float(DIVERGENCES["kl"](a, t)) == 0


def test_what_tabacof_2016_ran_is_smallest_at_twice_the_targets_deviation() -> None:
    st = 0.37
    t = Posterior(mean=torch.zeros(1, 1).double(), log_variance=torch.full((1, 1), 2 * math.log(st)).double())

    def at(ratio: float) -> float:
        log_variance = torch.full((1, 1), 2 * math.log(ratio * st), dtype=torch.float64)
        return float(DIVERGENCES["kl_tabacof2016"](Posterior(mean=t.mean, log_variance=log_variance), t))

    found = minimize_scalar(at, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9})
    assert found.x == pytest.approx(2, abs=1e-6)
    assert found.fun == pytest.approx(1.5 - 2 * math.log(2), abs=1e-12)
    assert round(found.fun, 4) == 0.1137
    assert at(1) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["kl", "wasserstein", "mean_l2"])
def test_deterministic_codes_are_compared_by_squared_distance(name: str) -> None:
    used, divergence = divergence_named(name, deterministic=True)
    assert used == "mean_l2"
    a, t = (Posterior(mean=_posterior(4, 3, seed=s).mean, log_variance=None) for s in (1, 2))
    torch.testing.assert_close(divergence(a, t), (a.mean - t.mean).norm(dim=1).square())


def test_the_wasserstein_distance_of_codes_is_that_of_points() -> None:
    a, t = (Posterior(mean=_posterior(4, 3, seed=s).mean, log_variance=None) for s in (1, 2))
    assert torch.equal(DIVERGENCES["wasserstein"](a, t), DIVERGENCES["mean_l2"](a, t))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_between_gaussians_a_name_is_itself(name: str) -> None:
    assert divergence_named(name, deterministic=False) == (name, DIVERGENCES[name])


@pytest.mark.parametrize("name", ["kl_reverse", "symmetric_kl", "kl_tabacof2016"])
def test_what_needs_variances_says_so(name: str) -> None:
    with pytest.raises(OptionError, match=f"divergence '{name}' needs posterior variances.*use 'mean_l2'"):
        divergence_named(name, deterministic=True)


@pytest.mark.parametrize("name", ["kl", "kl_reverse", "symmetric_kl", "wasserstein", "kl_tabacof2016"])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_gaussian_and_a_code_are_not_compared(name: str, swapped: bool) -> None:
    gaussian = _posterior(2, 3, seed=1)
    code = Posterior(mean=gaussian.mean, log_variance=None)
    both = (code, gaussian) if swapped else (gaussian, code)
    with pytest.raises(OptionError, match="this divergence needs posterior variances"):
        DIVERGENCES[name](*both)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_unknown_divergence_is_refused_with_the_known_ones(deterministic: bool) -> None:
    with pytest.raises(OptionError, match=r"unknown divergence 'js'; choose one of kl, kl_reverse, symmetric_kl"):
        divergence_named("js", deterministic=deterministic)
