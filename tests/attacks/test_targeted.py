"""The targeted attack: closed-form optima on linear-Gaussian models, and what must hold on any model."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, DataError, GradientError, OptionError
from vaeaudit.attacks import TargetedAttack, strength_series, targeted
from vaeaudit.optimize import BoxLBFGS

STRENGTHS = [1e-3, 1e-2, 0.1, 0.5, 2.0, 20.0]
TIGHT = BoxLBFGS(tolerance=1e-11, max_evaluations=3000)
BOX = (0.0, 1.0)


def _attack(model, originals: Tensor, targets: Tensor, strengths=STRENGTHS, **options) -> TargetedAttack:
    return targeted(model.autoencoder, originals, targets, strengths, solver=options.pop("solver", TIGHT), **options)


def _pairs(linear: ModuleType, count: int = 3, *, n: int = 12, bounds=(-math.inf, math.inf)) -> tuple[Tensor, Tensor]:
    return linear.points(n, count, 1, bounds=bounds), linear.points(n, count, 2, bounds=bounds)


@pytest.mark.parametrize("divergence", ["kl", "symmetric_kl", "wasserstein", "mean_l2"])
def test_the_optimum_without_active_bounds_is_the_closed_form(linear: ModuleType, divergence: str) -> None:
    model = linear.linear_gaussian(condition=10)
    x, t = _pairs(linear)
    found = _attack(model, x, t, divergence=divergence)
    for pair in range(len(x)):
        for j, strength in enumerate(STRENGTHS):
            best = model.optimal_attack(x[pair], t[pair], strength, divergence, "l2_squared")
            known = model.objective(x[pair], t[pair], best, strength, divergence, "l2_squared")
            assert float(found.objective[pair, j]) == pytest.approx(known, rel=1e-6)
            assert float(found.distortion[pair, j]) == pytest.approx(float(best.norm()), rel=1e-3)
            torch.testing.assert_close(found.adversarial[pair, j] - x[pair], best, rtol=0, atol=2e-3 * best.norm())
    assert bool(found.converged.all())


def test_the_default_solver_settings_come_within_a_thousandth_of_the_closed_form(linear: ModuleType) -> None:
    model = linear.linear_gaussian(condition=10)
    x, t = _pairs(linear)
    found = targeted(model.autoencoder, x, t, STRENGTHS)
    for pair in range(len(x)):
        for j, strength in enumerate(STRENGTHS):
            best = model.optimal_attack(x[pair], t[pair], strength, "kl", "l2_squared")
            known = model.objective(x[pair], t[pair], best, strength, "kl", "l2_squared")
            assert float(found.objective[pair, j]) == pytest.approx(known, rel=1e-3)


def test_the_unsquared_penalty_reaches_its_own_closed_form(linear: ModuleType) -> None:
    model = linear.linear_gaussian(condition=3)
    x, t = _pairs(linear)
    strengths = [1e-2, 0.1, 0.5]
    found = _attack(model, x, t, strengths, penalty="l2")
    for pair in range(len(x)):
        span = float((x[pair] - t[pair]).norm())
        for j, strength in enumerate(strengths):
            best = model.optimal_attack(x[pair], t[pair], strength, "kl", "l2")
            known = model.objective(x[pair], t[pair], best, strength, "kl", "l2")
            # the norm is smoothed at zero on a scale of 1e-4 spans, which moves its minimum by less than that
            assert float(found.objective[pair, j]) == pytest.approx(known, rel=1e-6, abs=1e-5 * strength * span)


@pytest.mark.parametrize("condition", [2.0, 30.0])
def test_with_active_bounds_no_tight_scipy_run_ends_lower(
    linear: ModuleType, boxes: ModuleType, condition: float
) -> None:
    model = linear.linear_gaussian(condition=condition, bounds=BOX)
    x, t = _pairs(linear, bounds=BOX)
    found = _attack(model, x, t, STRENGTHS[:4])
    touched = (found.adversarial == 0) | (found.adversarial == 1)
    assert touched.any(), "the bounds must matter for this test to say anything"
    for pair in range(len(x)):
        weight, shift = (part.numpy() for part in model.residual(x[pair], t[pair], "kl"))
        for j, strength in enumerate(STRENGTHS[:4]):

            def objective(d, strength=strength, weight=weight, shift=shift):
                residual = weight @ d - shift
                return residual @ residual + strength * d @ d, 2 * weight.T @ residual + 2 * strength * d

            origin = x[pair].numpy()
            slow = boxes.minimize_in_box(objective, np.zeros_like(origin), -origin, 1 - origin)
            assert float(found.objective[pair, j]) <= slow.fun * (1 + 1e-6)
            assert float(found.objective[pair, j]) == pytest.approx(slow.fun, rel=1e-5)


@pytest.fixture(scope="module")
def curve(linear: ModuleType) -> TargetedAttack:
    """Three pairs in a box, over a long series."""
    model = linear.linear_gaussian(condition=10, slope=0.5, bounds=BOX)
    return _attack(model, *_pairs(linear, bounds=BOX), torch.logspace(-6, 4, 21))


def test_distortion_falls_and_divergence_rises_with_the_strength(curve: TargetedAttack) -> None:
    slack = 1e-6 * curve.distortion.max()
    assert bool((curve.distortion.diff(dim=1) <= slack).all())
    assert bool((curve.divergence.diff(dim=1) >= -1e-6 * curve.divergence.max()).all())
    assert bool((curve.objective.diff(dim=1) >= 0).all())
    assert bool((curve.distortion[:, 0] > 10 * curve.distortion[:, -1]).all())


def test_adversarials_lie_inside_the_bounds_exactly(curve: TargetedAttack) -> None:
    assert float(curve.adversarial.min()) == 0
    assert float(curve.adversarial.max()) == 1


def test_every_reported_figure_is_that_of_the_adversarial_itself(linear: ModuleType, curve: TargetedAttack) -> None:
    model = linear.linear_gaussian(condition=10, slope=0.5, bounds=BOX)
    x, t = _pairs(linear, bounds=BOX)
    moved = (curve.adversarial - x[:, None]).norm(dim=2)
    torch.testing.assert_close(curve.distortion, moved)
    torch.testing.assert_close(curve.relative_distortion, moved / (x - t).norm(dim=1)[:, None])
    normal = torch.distributions.Normal
    goal = normal(t @ model.weight.T + model.offset, (0.5 * (t @ model.slope.T + model.log_variance)).exp())
    for j in range(len(curve.strengths)):
        mean, log_variance = model.encode(curve.adversarial[:, j])
        delta = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), goal).sum(1)
        torch.testing.assert_close(curve.divergence[:, j], delta, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(curve.objective[:, j], delta + curve.strengths[j] * moved[:, j].square())


def test_neither_the_order_of_pairs_nor_their_company_matters(linear: ModuleType) -> None:
    model = linear.linear_gaussian(condition=10, slope=0.3, bounds=BOX)
    x, t = _pairs(linear, 5, bounds=BOX)
    together = _attack(model, x, t)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = _attack(model, x[order], t[order])
    alone = _attack(model, x[2:3], t[2:3])
    # float64, solved to 1e-11: other batch sizes round differently, and the optimum is flat in d
    torch.testing.assert_close(shuffled.objective, together.objective[order], rtol=1e-8, atol=0)
    torch.testing.assert_close(shuffled.adversarial, together.adversarial[order], rtol=0, atol=1e-4)
    torch.testing.assert_close(alone.objective[0], together.objective[2], rtol=1e-8, atol=0)
    torch.testing.assert_close(alone.adversarial[0], together.adversarial[2], rtol=0, atol=1e-4)


def test_the_two_penalties_trace_one_curve(linear: ModuleType) -> None:
    model = linear.linear_gaussian(condition=3)
    x, t = _pairs(linear, 1)
    squared = _attack(model, x, t, torch.logspace(-3, 2, 41), penalty="l2_squared")
    plain = _attack(model, x, t, [0.05, 0.2, 0.8], penalty="l2")
    width, depth = squared.distortion[0].flip(0).numpy(), squared.divergence[0].flip(0).numpy()
    for moved, left in zip(plain.distortion[0].numpy(), plain.divergence[0].numpy(), strict=True):
        assert width[0] < moved < width[-1]
        assert np.interp(moved, width, depth) == pytest.approx(left, rel=0.02, abs=0.01 * depth.max())


def test_deterministic_codes_are_compared_by_squared_l2(linear: ModuleType) -> None:
    model = linear.linear_gaussian(condition=3, deterministic=True)
    x, t = _pairs(linear)
    found = _attack(model, x, t)
    assert found.divergence_name == "mean_l2"
    for j, strength in enumerate(STRENGTHS):
        best = model.optimal_attack(x[0], t[0], strength, "mean_l2", "l2_squared")
        known = model.objective(x[0], t[0], best, strength, "mean_l2", "l2_squared")
        assert float(found.objective[0, j]) == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize("divergence", ["symmetric_kl", "kl_tabacof2016"])
def test_a_divergence_between_variances_is_refused_for_deterministic_codes(linear: ModuleType, divergence: str) -> None:
    model = linear.linear_gaussian(deterministic=True)
    with pytest.raises(OptionError, match=f"'{divergence}' needs posterior variances"):
        _attack(model, *_pairs(linear), divergence=divergence)


def test_the_variant_of_paper_a_settles_where_its_arithmetic_says(linear: ModuleType) -> None:
    model = linear.linear_gaussian(k=4)
    x, t = _pairs(linear, 1)
    found = _attack(model, x, t, [0.0], divergence="kl_tabacof2016")
    # with constant variances the means meet, which leaves 1/2 a unit (definitions 2.2)
    assert float(found.divergence) == pytest.approx(4 * 0.5, rel=1e-6)


def test_the_named_series_is_that_of_paper_a_for_one_image(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    series = strength_series(model.autoencoder, *_pairs(linear), "tabacof2016")
    expected = np.logspace(-20, 20, 100, base=2) / 100  # the code of paper A weighs the divergence by 100
    np.testing.assert_allclose(series.numpy(), expected, rtol=1e-12)


def test_the_automatic_series_is_centred_on_the_break_even_strength(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x, t = _pairs(linear, 5)
    series = strength_series(model.autoencoder, x, t, 18, divergence="mean_l2")
    even = ((x - t) @ model.weight.T).square().sum(1) / (x - t).square().sum(1)
    assert len(series) == 18
    assert float(series[0] / even.median()) == pytest.approx(2**-9)
    assert float(series[-2] / even.median()) == pytest.approx(2**7)
    np.testing.assert_allclose(np.diff(np.log2(series[:-1].numpy())), 1.0)
    assert len(strength_series(model.autoencoder, x, t)) == 24


def test_the_automatic_series_leaves_no_area_out_near_no_distortion(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    found = _attack(model, *_pairs(linear, 5), 17)
    smallest = found.relative_distortion.amin(1)
    assert bool((smallest < 2e-3).all()), "the area left of it counts as none"


def test_strengths_given_in_any_order_come_back_ascending(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x, t = _pairs(linear)
    found = _attack(model, x, t, [2.0, 1e-3, 0.1])
    assert found.strengths.tolist() == [1e-3, 0.1, 2.0]
    assert bool((found.distortion.diff(dim=1) < 0).all())


def test_a_pair_of_equal_images_stays_where_it_is(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=0.5)
    x, t = _pairs(linear)
    t[1] = x[1]
    found = _attack(model, x, t)
    assert not found.distortion[1].any()
    assert not found.divergence[1].any()
    assert bool(found.converged[1].all())
    assert bool(found.relative_distortion[1].isfinite().all())
    assert bool((found.distortion[[0, 2]] > 0).all())


@pytest.mark.parametrize("penalty", ["l2_squared", "l2"])
def test_a_strength_of_zero_reaches_the_target_and_a_huge_one_stays(linear: ModuleType, penalty: str) -> None:
    model = linear.linear_gaussian(condition=3)
    x, t = _pairs(linear)
    found = _attack(model, x, t, [0.0, 1e12], penalty=penalty)
    stay = ((x - t) @ model.residual(x[0], t[0], "kl")[0].T).square().sum(1)
    assert bool((found.divergence[:, 0] < 1e-8 * stay).all())
    torch.testing.assert_close(found.divergence[:, 1], stay, rtol=1e-6, atol=0)
    assert bool((found.distortion[:, 1] < 1e-6).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "kld"}, "unknown divergence 'kld'; choose one of kl, kl_reverse, symmetric_kl"),
        ({"penalty": "l1"}, "unknown penalty 'l1'; choose one of l2_squared, l2"),
        ({"strengths": "tabacof"}, "unknown strengths 'tabacof'; choose one of tabacof2016"),
        ({"strengths": []}, "strengths expects a list of finite numbers C >= 0"),
        ({"strengths": [1.0, -1.0]}, "strengths expects a list of finite numbers C >= 0"),
        ({"strengths": [1.0, math.inf]}, "strengths expects a list of finite numbers C >= 0"),
        ({"strengths": [[1.0]]}, "strengths expects a list of finite numbers C >= 0"),
        ({"strengths": 0}, "strengths expects"),
    ],
)
def test_options_that_cannot_be_used_are_refused(linear: ModuleType, options: dict, message: str) -> None:
    model = linear.linear_gaussian()
    with pytest.raises(OptionError, match=message):
        _attack(model, *_pairs(linear), **({"strengths": STRENGTHS} | options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t: (x[:1], t), r"one shape .* got \(1, 12\) and \(3, 12\)"),
        (lambda x, t: (x[:0], t[:0]), "at least one row"),
        (lambda x, t: (x[0], t[0]), r"expect the shape \(batch, \*event\)"),
        (lambda x, t: (x * math.nan, t), "must be finite, got NaN or infinite"),
        (lambda x, t: (x, t * math.inf), "must be finite, got NaN or infinite"),
        (lambda x, t: (x, t * 255), r"range over .*, outside the bounds \[0, 1\]"),
    ],
)
def test_images_that_cannot_be_used_are_refused(linear: ModuleType, change, message: str) -> None:
    model = linear.linear_gaussian(bounds=BOX)
    with pytest.raises(DataError, match=message):
        _attack(model, *change(*_pairs(linear, bounds=BOX)))


class _Dropping(nn.Module):
    """A module with everything that an attack could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        self.back = nn.Linear(3, 6)
        self.back.weight.requires_grad_(False)


def test_the_model_comes_back_as_it_was() -> None:
    torch.manual_seed(0)
    model = _Dropping().train()
    model.layers[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    ae = Autoencoder(model.layers, model.back, bounds=BOX)
    state = torch.random.get_rng_state()
    x, t = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(1))
    first, second = (targeted(ae, x, t, [0.01, 1.0]) for _ in range(2))
    assert torch.equal(first.adversarial, second.adversarial)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert model.layers[3].training
    assert not model.layers[1].training
    assert [(p.requires_grad, p.grad) for p in model.parameters()] == flags
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        expected = (model.layers(first.adversarial[:, 0]) - model.layers(t)).square().sum(1)
    torch.testing.assert_close(first.divergence[:, 0].float(), expected, msg="measured with dropout at work")


def test_inputs_are_not_written_to(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x, t = _pairs(linear)
    kept = x.clone(), t.clone()
    _attack(model, x, t)
    assert torch.equal(x, kept[0])
    assert torch.equal(t, kept[1])


@pytest.mark.parametrize(
    "encoder",
    [
        lambda x: (x[:, :2] * 2).detach(),
        lambda x: x[:, :2].sign().detach() + 0.0,
        lambda x: torch.from_numpy(x.detach().numpy()[:, :2].copy()),
    ],
)
def test_a_detached_encoder_is_named_instead_of_attacked(encoder) -> None:
    x, t = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(0)) - 0.5
    ae = Autoencoder(encoder, lambda z: z @ torch.ones(2, 6), bounds=(-1.0, 1.0))
    with pytest.raises(GradientError, match="no gradient flows"):
        targeted(ae, x, t, [0.1])


def test_an_encoder_that_ignores_its_input_leaves_nothing_to_attack() -> None:
    x, t = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(0))
    ae = Autoencoder(lambda x: 0 * x[:, :2], lambda z: z @ torch.ones(2, 6))
    with pytest.raises(GradientError, match="same posterior, so there is nothing to attack"):
        targeted(ae, x, t)


def test_events_of_any_shape_keep_it(linear: ModuleType) -> None:
    model = linear.linear_gaussian(n=12)
    x, t = _pairs(linear)
    flat = _attack(model, x, t)
    ae = Autoencoder(lambda v: model.encode(v.flatten(1)), lambda z: model.decode(z).view(-1, 3, 2, 2), model.bounds)
    shaped = targeted(ae, x.view(-1, 3, 2, 2), t.view(-1, 3, 2, 2), STRENGTHS, solver=TIGHT)
    assert shaped.adversarial.shape == (3, len(STRENGTHS), 3, 2, 2)
    torch.testing.assert_close(shaped.adversarial.flatten(2), flat.adversarial)
